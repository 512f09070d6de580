//! Sends again what a subscriber misses, from the history that all share (RFC 4588).

use std::time::{Duration, Instant};

use super::SfuRoom;
use super::forward::{ForwardContext, ForwardForm};
use crate::rtcp::RtcpPacket;

/// A packet is not sent twice within a round trip, or this if it is longer.
const MIN_RTX_INTERVAL: Duration = Duration::from_millis(20);
/// The most that one NACK is answered with; more is not repaired by repeating.
const MAX_RTX_PER_NACK: usize = 128;

impl SfuRoom {
    /// Answers a NACK.
    pub(super) fn repair(&mut self, now: Instant, place: usize, nack: &RtcpPacket<'_>) {
        let Some(member) = self.members.get_mut(place) else { return };
        let pause = member.round_trip.unwrap_or_default().max(MIN_RTX_INTERVAL);
        let Some(ssrc) = nack.media() else { return };
        let Some(line) = member
            .lines
            .iter()
            .position(|line| line.receives.as_ref().is_some_and(|sub| sub.sending.ssrc == ssrc))
        else {
            return;
        };
        let moment = ForwardContext { now, epoch: self.epoch };
        let congested = member.congestion.is_narrow();
        for sequence in nack.missing().take(MAX_RTX_PER_NACK) {
            self.counters.nack_in += 1;
            if !member.congestion.may_repair(now) {
                continue;
            }
            let Some(to) = member.sending(line) else { return };
            let Some(track) = self.tracks.get(to.subscription.place) else { return };
            let entry = to.subscription.rewriter.origin(sequence).and_then(|(source, index)| {
                Some((source, track.of_source(source)?.history.get(index)?))
            });
            let Some((source, entry)) = entry else {
                self.counters.rtx_missed += 1;
                continue;
            };
            let useless = congested && !to.subscription.repairs(source);
            if useless || !to.subscription.may_resend(now, sequence, pause) {
                continue;
            }
            let form = ForwardForm::Again(entry, sequence);
            if let Some(bytes) = moment.send(to, source, &form, &mut self.control) {
                member.congestion.repaired(bytes);
                self.counters.rtx_out += 1;
            }
        }
    }
}
