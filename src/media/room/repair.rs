//! Sends again what a subscriber misses, from the history that all share (RFC 4588).

use std::time::{Duration, Instant};

use super::Room;
use super::deliver::write_header;
use crate::codec::Codec;
use crate::connection::{Connection, LONGEST};
use crate::rtcp::Part;
use crate::rtp::Extending;
use crate::srtp::OVERHEAD;

/// A packet is not sent twice within a round trip, or this if it is longer.
const LEAST_PAUSE: Duration = Duration::from_millis(20);
/// The most that one NACK is answered with; more is not repaired by repeating.
const MOST: usize = 128;

impl Room {
    /// Answers a NACK.
    pub(super) fn repair(&mut self, now: Instant, place: usize, nack: &Part<'_>) {
        let Some(member) = self.members.get_mut(place) else { return };
        let pause = member.round_trip.unwrap_or_default().max(LEAST_PAUSE);
        let Some(ssrc) = nack.media() else { return };
        let Some(line) = member
            .lines
            .iter()
            .position(|line| line.receives.as_ref().is_some_and(|sub| sub.sending.ssrc == ssrc))
        else {
            return;
        };
        let Some((connection, subscription, mid)) = member.sending(line) else { return };
        let Connection { keys: Some(keys), selected: Some(to), .. } = connection else { return };
        let Some(track) = self.tracks.get(subscription.place) else { return };
        let repair = subscription.sending.repair_ssrc.zip(subscription.format.repair);
        let Some((repair_ssrc, payload_type)) = repair else { return };
        for sequence in nack.missing().take(MOST) {
            self.counters.nack_in += 1;
            let entry = subscription.rewriter.origin(sequence).and_then(|(source, index)| {
                Some((source, track.of_source(source)?.history.get(index)?))
            });
            let Some((source, entry)) = entry else {
                self.counters.rtx_missed += 1;
                continue;
            };
            if !subscription.may_resend(now, sequence, pause) {
                continue;
            }
            let place = subscription.rewriter.place(now, source, entry.index, entry.timestamp);
            let Some(place) = place else { continue };
            let packet = self.control.space(LONGEST + OVERHEAD);
            subscription.repair_index += 1;
            let index = subscription.repair_index;
            let header = [index as u32, place.timestamp, repair_ssrc];
            write_header(packet, entry.marker, payload_type, header);
            let mut extending = Extending::new(packet);
            extending.add(subscription.ids.mid, mid.as_bytes());
            let begin = extending.finish();
            let end = begin + 2 + entry.payload.len();
            let Some(body) = packet.get_mut(begin..end) else { continue };
            body[..2].copy_from_slice(&sequence.to_be_bytes());
            body[2..].copy_from_slice(&entry.payload);
            if subscription.format.codec == Codec::Vp8
                && !subscription.munger.patch(source, &mut body[2..])
            {
                continue;
            }
            if let Some(length) = keys.outgoing.seal_rtp(packet, begin, end, index) {
                self.control.commit(*to, length);
                self.counters.rtx_out += 1;
            }
        }
    }
}
