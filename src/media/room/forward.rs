//! Writes one packet for one subscriber: header, extensions, payload, protection.

use std::time::Instant;

use crate::codec::Codec;
use crate::connection::{MAX_RTP_BYTES, PeerTransport};
use crate::member::SubscriberSide;
use crate::packet_cache::CachedPacket;
use crate::path::TransmitBuffer;
use crate::red;
use crate::rtp::HeaderExtensionWriter;
use crate::srtp::OVERHEAD;
use crate::subscription::DownTrack;

/// What a packet is sent as.
pub(super) enum ForwardForm<'a> {
    /// As it came.
    Media(&'a CachedPacket),
    /// As a retransmission of what was sent under this sequence number (RFC 4588 §4).
    Again(&'a CachedPacket, u16),
    /// As so many bytes of padding, up to 255, on the stream of retransmissions.
    Padding(u8),
}

/// What is the same for all packets of one call.
#[derive(Clone, Copy)]
pub(super) struct ForwardContext {
    /// Now.
    pub(super) now: Instant,
    /// Where send times are counted from.
    pub(super) epoch: Instant,
}

impl ForwardContext {
    /// As 6.18 seconds, of which 24 bits are told (abs-send-time).
    fn send_time(&self) -> [u8; 3] {
        let micros = self.now.saturating_duration_since(self.epoch).as_micros();
        let [_, high, middle, low] = ((micros << 18) / 1_000_000).to_be_bytes()[12..] else {
            return [0; 3];
        };
        [high, middle, low]
    }

    /// Writes and sends a packet from `source` to one who receives it. Gives its length; none if it
    /// has no place in what the subscriber sees.
    pub(super) fn send(
        &self,
        to: SubscriberSide<'_>,
        source: u32,
        form: &ForwardForm<'_>,
        out: &mut TransmitBuffer,
    ) -> Option<usize> {
        let SubscriberSide { connection, departures, subscription, mid } = to;
        let PeerTransport { keys: Some(keys), selected: Some(path), .. } = connection else {
            return None;
        };
        let packet = out.space(MAX_RTP_BYTES + OVERHEAD);
        let index = subscription.head(self.now, source, form, packet)?;
        let mut extending = HeaderExtensionWriter::new(packet);
        extending.add(subscription.ids.mid, mid.as_bytes());
        if let ForwardForm::Media(CachedPacket { level: Some(level), .. }) = form {
            extending.add(subscription.ids.level, &[*level]);
        }
        extending.add(subscription.ids.time, &self.send_time());
        let transport = extending.add(subscription.ids.transport, &[0; 2]);
        let begin = extending.finish();
        let end = begin + subscription.body(source, form, packet.get_mut(begin..)?)?;
        if let Some(at) = transport {
            // Numbered last, when nothing more can keep it from being sent.
            let number = departures.sent(self.now, end + OVERHEAD);
            packet.get_mut(at..at + 2)?.copy_from_slice(&number.to_be_bytes());
        }
        let length = keys.outgoing.seal_rtp(packet, begin, end, index)?;
        out.commit(*path, length);
        if matches!(form, ForwardForm::Media(_)) {
            subscription.sent(self.now, end - begin);
        }
        Some(length)
    }
}

impl DownTrack {
    /// Writes the fixed header (RFC 3550 §5.1). Gives the index under which it is protected.
    fn head(
        &mut self,
        now: Instant,
        source: u32,
        form: &ForwardForm<'_>,
        packet: &mut [u8],
    ) -> Option<u64> {
        let (index, timestamp, ssrc, payload_type, marker) = match form {
            ForwardForm::Media(entry) => {
                let place = self.rewriter.place(now, source, entry.index, entry.timestamp)?;
                let (payload_type, _) = self.wrap(entry)?;
                let ssrc = self.sending.ssrc;
                (place.index, place.timestamp, ssrc, payload_type, entry.marker)
            }
            ForwardForm::Again(entry, _) => {
                let place = self.rewriter.place(now, source, entry.index, entry.timestamp)?;
                let (ssrc, payload_type) = self.sending.repair_ssrc.zip(self.format.repair)?;
                self.repair_index += 1;
                (self.repair_index, place.timestamp, ssrc, payload_type, entry.marker)
            }
            ForwardForm::Padding(_) => {
                let (ssrc, payload_type) = self.sending.repair_ssrc.zip(self.format.repair)?;
                let timestamp = self.rewriter.newest()?.timestamp;
                self.repair_index += 1;
                (self.repair_index, timestamp, ssrc, payload_type, false)
            }
        };
        let padded = u8::from(matches!(form, ForwardForm::Padding(_))) << 5;
        packet[0] = 0x80 | padded;
        packet[1] = u8::from(marker) << 7 | payload_type;
        packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Some(index)
    }

    /// Writes what follows the header; gives its length.
    fn body(&mut self, source: u32, form: &ForwardForm<'_>, packet: &mut [u8]) -> Option<usize> {
        let (entry, before) = match form {
            ForwardForm::Padding(count) => {
                let padding = packet.get_mut(..usize::from(*count))?;
                padding.fill(0);
                *padding.last_mut()? = *count;
                return Some(usize::from(*count));
            }
            ForwardForm::Media(entry) => (entry, 0),
            ForwardForm::Again(entry, sequence) => {
                packet.get_mut(..2)?.copy_from_slice(&sequence.to_be_bytes());
                (entry, 2)
            }
        };
        let (_, payload) = self.wrap(entry)?;
        let end = before + payload.len();
        let place = packet.get_mut(before..end)?;
        place.copy_from_slice(payload);
        if self.format.codec == Codec::Vp8 && !self.munger.patch(source, place) {
            return None;
        }
        Some(end)
    }

    /// Payload type and payload as this subscriber understands them: sound loses its redundancy if
    /// need be.
    fn wrap<'a>(&self, entry: &'a CachedPacket) -> Option<(u8, &'a [u8])> {
        if !entry.redundant {
            return Some((self.format.payload_type, &entry.payload));
        }
        match &self.redundant {
            Some(red) => Some((red.payload_type, &entry.payload)),
            None => Some((self.format.payload_type, red::primary(&entry.payload)?)),
        }
    }
}
