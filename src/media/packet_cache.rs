//! Packet cache: the last packets of one layer, decrypted. All subscribers are served from it, both for
//! forwarding and for retransmission.

use crate::rtp::RtpPacket;

/// A packet without the fields that differ between subscribers.
#[derive(Default)]
pub(crate) struct CachedPacket {
    /// Extended sequence number in the publisher's stream.
    pub(crate) index: u64,
    /// RTP timestamp in the publisher's stream.
    pub(crate) timestamp: u32,
    /// The marker bit of the RTP header.
    pub(crate) marker: bool,
    /// The byte of the audio level header extension (RFC 6464).
    pub(crate) audio_level: Option<u8>,
    /// A key frame starts with this packet.
    pub(crate) is_key_frame: bool,
    /// The payload is audio with redundancy (RFC 2198).
    pub(crate) is_red: bool,
    /// Number of the forwarding segment: between packets of different segments, packets were withheld from
    /// all subscribers.
    pub(crate) segment: u32,
    /// The payload without padding.
    pub(crate) payload: Vec<u8>,
    is_filled: bool,
}

/// A ring of packets, addressed by their index.
pub(crate) struct PacketCache {
    entries: Vec<CachedPacket>,
    capacity: usize,
}

impl PacketCache {
    /// A cache of up to `capacity` packets; memory is allocated as they arrive.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity: capacity.max(1) }
    }

    /// The packet with this index, if it is still cached.
    pub(crate) fn get(&self, index: u64) -> Option<&CachedPacket> {
        let entry = self.entries.get(self.slot(index))?;
        (entry.is_filled && entry.index == index).then_some(entry)
    }

    /// Stores a packet in place of an older one; `None` if it is itself too old. `payload` is the part to
    /// forward.
    pub(crate) fn insert(
        &mut self,
        index: u64,
        packet: &RtpPacket<'_>,
        payload: &[u8],
    ) -> Option<&mut CachedPacket> {
        let slot = self.slot(index);
        while self.entries.len() <= slot {
            self.entries.push(CachedPacket::default());
        }
        let entry = self.entries.get_mut(slot)?;
        if entry.is_filled && entry.index > index {
            return None;
        }
        entry.is_filled = true;
        entry.index = index;
        entry.timestamp = packet.timestamp();
        entry.marker = packet.marker();
        entry.payload.clear();
        entry.payload.extend_from_slice(payload);
        Some(entry)
    }

    /// Forgets all packets; their indices may be used for others.
    pub(crate) fn clear(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.is_filled = false);
    }

    fn slot(&self, index: u64) -> usize {
        (index % self.capacity as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_packet_is_kept_until_overwritten() {
        let mut cache = PacketCache::new(4);
        let bytes = [0x80, 96, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 9];
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert!(cache.get(0).is_none());
        for index in [6, 7, 9, 8, 10] {
            assert!(cache.insert(index, &packet, &[index as u8]).is_some());
        }
        assert!(cache.insert(6, &packet, &[0]).is_none(), "too late");

        assert!(cache.get(6).is_none());
        assert_eq!(cache.get(10).unwrap().payload, [10]);
        assert_eq!(cache.get(7).unwrap().payload, [7]);
        assert!(cache.get(11).is_none());
        cache.clear();
        assert!(cache.get(10).is_none());
        assert!(cache.insert(2, &packet, &[2]).is_some());
    }
}
