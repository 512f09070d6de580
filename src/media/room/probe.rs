//! Bandwidth probing of a downlink: bursts of recently sent packets, which also repair losses, or of padding.

use std::time::{Duration, Instant};

use super::SfuRoom;
use super::forward::{ForwardContext, ForwardForm};
use crate::limits::MIN_PROBE_PAYLOAD_BYTES;
use crate::packet_cache::CachedPacket;
use crate::subscription::DownTrack;
use crate::track::PublishedTrack;

/// Bytes of padding in one padding packet.
const PROBE_PADDING_BYTES: u8 = 255;
/// How many of the last packets are candidates for a probe.
const PROBE_LOOKBACK_PACKETS: u16 = 48;
/// Time within which a packet is used for a probe once.
const PROBE_RETRANSMIT_INTERVAL: Duration = Duration::from_secs(1);

impl SfuRoom {
    /// Sends the part of a probe that is due; returns when to continue.
    pub(super) fn send_probe(&mut self, now: Instant, slot: usize) -> Option<Instant> {
        let peer = self.peers.get_mut(slot)?;
        if peer.congestion.needed_bps <= peer.congestion.budget_bps {
            return None;
        }
        let mut due_bytes = peer.congestion.probe_bytes_due(now);
        if due_bytes == 0 {
            return peer.congestion.on_probe_sent(now, 0);
        }
        let mid_index = peer.mid_slots.iter().position(|mid_slot| {
            mid_slot.down_track.as_ref().is_some_and(|down_track| {
                let has_sequence = down_track.extension_ids.transport_sequence.is_some()
                    && down_track.section.rtx_ssrc.is_some();
                has_sequence
                    && down_track.format.rtx_payload_type.is_some()
                    && down_track.rtp_munger.newest().is_some()
            })
        });
        let Some(mid_index) = mid_index else {
            peer.congestion.abort_probe();
            return None;
        };
        let context = ForwardContext { now, epoch: self.send_time_epoch };
        let mut bytes_sent = 0;
        while due_bytes > 0 {
            let subscriber = peer.subscriber_side(mid_index)?;
            let track = self.tracks.get(subscriber.down_track.track_slot);
            let recent =
                track.and_then(|track| subscriber.down_track.large_recent_packet(now, track));
            let (stream_id, form) = match recent {
                Some((stream_id, entry, sequence)) => {
                    (stream_id, ForwardForm::Retransmission(entry, sequence))
                }
                None => (0, ForwardForm::Padding(PROBE_PADDING_BYTES)),
            };
            let bytes = context.send(subscriber, stream_id, &form, &mut self.control)?;
            bytes_sent += bytes;
            due_bytes = due_bytes.saturating_sub(bytes);
        }
        peer.congestion.on_probe_sent(now, bytes_sent)
    }
}

impl DownTrack {
    /// A large packet that was sent recently: its stream, the packet and its sequence number.
    fn large_recent_packet<'a>(
        &mut self,
        now: Instant,
        track: &'a PublishedTrack,
    ) -> Option<(u32, &'a CachedPacket, u16)> {
        let newest = self.rtp_munger.newest()?.index as u16;
        (0..PROBE_LOOKBACK_PACKETS).find_map(|back| {
            let sequence = newest.wrapping_sub(back);
            let (stream_id, index) = self.rtp_munger.origin(sequence)?;
            let entry = track.stream_by_id(stream_id)?.cache.get(index)?;
            let is_usable = entry.payload.len() >= MIN_PROBE_PAYLOAD_BYTES
                && self.may_retransmit(now, sequence, PROBE_RETRANSMIT_INTERVAL);
            is_usable.then_some((stream_id, entry, sequence))
        })
    }
}
