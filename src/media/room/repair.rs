//! Retransmission (RFC 4588): answers NACKs of subscribers from the shared packet cache.

use std::time::Instant;

use super::SfuRoom;
use super::forward::{ForwardContext, ForwardForm};
use crate::limits::{MAX_RTX_PER_NACK, MIN_RTX_INTERVAL};
use crate::rtcp::RtcpPacket;

impl SfuRoom {
    /// Handles a NACK of a subscriber.
    pub(super) fn on_nack(&mut self, now: Instant, slot: usize, nack: &RtcpPacket<'_>) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let min_interval = peer.round_trip.unwrap_or_default().max(MIN_RTX_INTERVAL);
        let Some(ssrc) = nack.media_ssrc() else { return };
        let Some(mid_index) = peer.mid_slots.iter().position(|mid_slot| {
            mid_slot.down_track.as_ref().is_some_and(|down_track| down_track.section.ssrc == ssrc)
        }) else {
            return;
        };
        let context = ForwardContext { now, epoch: self.send_time_epoch };
        let is_constrained = peer.congestion.is_constrained();
        for sequence in nack.nack_sequences().take(MAX_RTX_PER_NACK) {
            self.counters.nack_in += 1;
            if !peer.congestion.may_retransmit(now) {
                continue;
            }
            let Some(subscriber) = peer.subscriber_side(mid_index) else { return };
            let Some(track) = self.tracks.get(subscriber.down_track.track_slot) else { return };
            let entry =
                subscriber.down_track.rtp_munger.origin(sequence).and_then(|(stream_id, index)| {
                    Some((stream_id, track.stream_by_id(stream_id)?.cache.get(index)?))
                });
            let Some((stream_id, entry)) = entry else {
                self.counters.rtx_missed += 1;
                continue;
            };
            let is_useless =
                is_constrained && !subscriber.down_track.accepts_retransmission_of(stream_id);
            if is_useless || !subscriber.down_track.may_retransmit(now, sequence, min_interval) {
                continue;
            }
            let form = ForwardForm::Retransmission(entry, sequence);
            if let Some(bytes) = context.send(subscriber, stream_id, &form, &mut self.control) {
                peer.congestion.on_retransmitted(bytes);
                self.counters.rtx_out += 1;
            }
        }
    }
}
