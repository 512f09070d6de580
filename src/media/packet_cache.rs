//! The last packets of one layer in plain text: what is forwarded from, and what is sent again from,
//! for all subscribers.

use crate::rtp::RtpPacket;

/// One packet, without what each subscriber sees differently.
#[derive(Default)]
pub(crate) struct CachedPacket {
    /// Extended sequence number of the publisher.
    pub(crate) index: u64,
    /// Of the publisher.
    pub(crate) timestamp: u32,
    /// As in the header.
    pub(crate) marker: bool,
    /// How loud it is (RFC 6464): the element of the header extension.
    pub(crate) level: Option<u8>,
    /// A key frame begins here.
    pub(crate) key: bool,
    /// Sound with redundancy (RFC 2198).
    pub(crate) redundant: bool,
    /// Between packets of different runs some were not forwarded to anybody.
    pub(crate) run: u32,
    /// Without padding.
    pub(crate) payload: Vec<u8>,
    filled: bool,
}

/// A ring of packets, found by their index.
pub(crate) struct PacketCache {
    entries: Vec<CachedPacket>,
    capacity: usize,
}

impl PacketCache {
    /// Remembers up to `capacity` packets; memory is taken as they come.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity: capacity.max(1) }
    }

    /// The packet of this index, if it is still there.
    pub(crate) fn get(&self, index: u64) -> Option<&CachedPacket> {
        let entry = self.entries.get(self.place(index))?;
        (entry.filled && entry.index == index).then_some(entry)
    }

    /// Remembers a packet in place of an older one; not if it is itself too old. `payload` is what of
    /// the packet is to be forwarded.
    pub(crate) fn put(
        &mut self,
        index: u64,
        packet: &RtpPacket<'_>,
        payload: &[u8],
    ) -> Option<&mut CachedPacket> {
        let place = self.place(index);
        while self.entries.len() <= place {
            self.entries.push(CachedPacket::default());
        }
        let entry = self.entries.get_mut(place)?;
        if entry.filled && entry.index > index {
            return None;
        }
        entry.filled = true;
        entry.index = index;
        entry.timestamp = packet.timestamp();
        entry.marker = packet.marker();
        entry.payload.clear();
        entry.payload.extend_from_slice(payload);
        Some(entry)
    }

    /// Forgets all packets: others will have their indices.
    pub(crate) fn clear(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.filled = false);
    }

    fn place(&self, index: u64) -> usize {
        (index % self.capacity as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_packet_is_kept_until_overwritten() {
        let mut history = PacketCache::new(4);
        let bytes = [0x80, 96, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 9];
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert!(history.get(0).is_none());
        for index in [6, 7, 9, 8, 10] {
            assert!(history.put(index, &packet, &[index as u8]).is_some());
        }
        assert!(history.put(6, &packet, &[0]).is_none(), "too late");

        assert!(history.get(6).is_none());
        assert_eq!(history.get(10).unwrap().payload, [10]);
        assert_eq!(history.get(7).unwrap().payload, [7]);
        assert!(history.get(11).is_none());
        history.clear();
        assert!(history.get(10).is_none());
        assert!(history.put(2, &packet, &[2]).is_some());
    }
}
