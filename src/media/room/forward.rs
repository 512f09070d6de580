//! Writes one packet for one subscriber: RTP header, header extensions, payload, SRTP protection.

use std::time::Instant;

use crate::codec::Codec;
use crate::connection::PeerTransport;
use crate::limits::{MAX_OVERHEAD_BYTES, MAX_RTP_BYTES};
use crate::member::SubscriberSide;
use crate::packet_cache::CachedPacket;
use crate::path::TransmitBuffer;
use crate::red;
use crate::rtp::HeaderExtensionWriter;
use crate::subscription::DownTrack;

/// How a packet is sent.
pub(super) enum ForwardForm<'a> {
    /// As media, in the order of the stream.
    Media(&'a CachedPacket),
    /// As a retransmission of the packet sent under this sequence number (RFC 4588 §4).
    Retransmission(&'a CachedPacket, u16),
    /// As this many bytes of padding (at most 255) on the RTX stream.
    Padding(u8),
}

/// What is the same for all packets of one call.
#[derive(Clone, Copy)]
pub(super) struct ForwardContext {
    /// The current time.
    pub(super) now: Instant,
    /// Origin of abs-send-time.
    pub(super) epoch: Instant,
}

impl ForwardContext {
    /// The abs-send-time of `now`: seconds as 6.18 fixed point in 24 bits.
    fn send_time(&self) -> [u8; 3] {
        let micros = self.now.saturating_duration_since(self.epoch).as_micros();
        let [_, high, middle, low] = ((micros << 18) / 1_000_000).to_be_bytes()[12..] else {
            return [0; 3];
        };
        [high, middle, low]
    }

    /// Writes and sends a packet of a stream to a subscriber. Returns its length in bytes; `None` if it is not
    /// part of the subscriber's stream or cannot be sent.
    pub(super) fn send(
        &self,
        subscriber: SubscriberSide<'_>,
        stream_id: u32,
        form: &ForwardForm<'_>,
        out: &mut TransmitBuffer,
    ) -> Option<usize> {
        let SubscriberSide { transport: peer_transport, twcc_sender, down_track, mid } = subscriber;
        let PeerTransport { srtp: Some(srtp), selected_path: Some(path), .. } = peer_transport
        else {
            return None;
        };
        let packet = out.space(MAX_RTP_BYTES + MAX_OVERHEAD_BYTES);
        let index = down_track.write_header(self.now, stream_id, form, packet)?;
        let mut extensions = HeaderExtensionWriter::new(packet);
        extensions.add(down_track.extension_ids.mid, mid.as_bytes());
        if let ForwardForm::Media(CachedPacket { audio_level: Some(level), .. }) = form {
            extensions.add(down_track.extension_ids.audio_level, &[*level]);
        }
        extensions.add(down_track.extension_ids.abs_send_time, &self.send_time());
        let twcc_offset = extensions.add(down_track.extension_ids.transport_sequence, &[0; 2]);
        let payload_start = extensions.finish();
        let end = payload_start
            + down_track.write_payload(stream_id, form, packet.get_mut(payload_start..)?)?;
        if let Some(twcc_offset) = twcc_offset {
            // The transport-wide sequence number is assigned last, when nothing can prevent the packet from being sent.
            let sequence = twcc_sender.on_sent(self.now, end + MAX_OVERHEAD_BYTES);
            packet.get_mut(twcc_offset..twcc_offset + 2)?.copy_from_slice(&sequence.to_be_bytes());
        }
        let length = srtp.outbound.encrypt_rtp(packet, payload_start, end, index)?;
        out.commit(*path, length);
        if matches!(form, ForwardForm::Media(_)) {
            down_track.on_sent(self.now, end - payload_start);
        }
        Some(length)
    }
}

impl DownTrack {
    /// Writes the fixed header (RFC 3550 §5.1). Returns the extended sequence number for SRTP.
    fn write_header(
        &mut self,
        now: Instant,
        stream_id: u32,
        form: &ForwardForm<'_>,
        packet: &mut [u8],
    ) -> Option<u64> {
        let (index, timestamp, ssrc, payload_type, marker) = match form {
            ForwardForm::Media(entry) => {
                let header =
                    self.rtp_munger.rewrite(now, stream_id, entry.index, entry.timestamp)?;
                let (payload_type, _) = self.payload_for(entry)?;
                let ssrc = self.section.ssrc;
                (header.index, header.timestamp, ssrc, payload_type, entry.marker)
            }
            ForwardForm::Retransmission(entry, _) => {
                let header =
                    self.rtp_munger.rewrite(now, stream_id, entry.index, entry.timestamp)?;
                let (ssrc, payload_type) =
                    self.section.rtx_ssrc.zip(self.format.rtx_payload_type)?;
                self.rtx_index += 1;
                (self.rtx_index, header.timestamp, ssrc, payload_type, entry.marker)
            }
            ForwardForm::Padding(_) => {
                let (ssrc, payload_type) =
                    self.section.rtx_ssrc.zip(self.format.rtx_payload_type)?;
                let timestamp = self.rtp_munger.newest()?.timestamp;
                self.rtx_index += 1;
                (self.rtx_index, timestamp, ssrc, payload_type, false)
            }
        };
        let padding_bit = u8::from(matches!(form, ForwardForm::Padding(_))) << 5;
        packet[0] = 0x80 | padding_bit;
        packet[1] = u8::from(marker) << 7 | payload_type;
        packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Some(index)
    }

    /// Writes what follows the header; returns its length in bytes.
    fn write_payload(
        &mut self,
        stream_id: u32,
        form: &ForwardForm<'_>,
        packet: &mut [u8],
    ) -> Option<usize> {
        let (entry, payload_start) = match form {
            ForwardForm::Padding(count) => {
                let padding = packet.get_mut(..usize::from(*count))?;
                padding.fill(0);
                *padding.last_mut()? = *count;
                return Some(usize::from(*count));
            }
            ForwardForm::Media(entry) => (entry, 0),
            ForwardForm::Retransmission(entry, sequence) => {
                packet.get_mut(..2)?.copy_from_slice(&sequence.to_be_bytes());
                (entry, 2)
            }
        };
        let (_, payload) = self.payload_for(entry)?;
        let end = payload_start + payload.len();
        let body = packet.get_mut(payload_start..end)?;
        body.copy_from_slice(payload);
        if self.format.codec == Codec::Vp8 && !self.vp8_munger.patch(stream_id, body) {
            return None;
        }
        Some(end)
    }

    /// Payload type and payload for this subscriber: without RED support it gets only the primary block.
    fn payload_for<'a>(&self, packet: &'a CachedPacket) -> Option<(u8, &'a [u8])> {
        if !packet.is_red {
            return Some((self.format.payload_type, &packet.payload));
        }
        match &self.red_format {
            Some(red) => Some((red.payload_type, &packet.payload)),
            None => Some((self.format.payload_type, red::primary_block(&packet.payload)?)),
        }
    }
}
