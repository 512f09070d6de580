//! Finds out whether a subscriber's downlink carries more than is sent (bursts of padding).

use std::time::Instant;

use super::Room;
use super::forward::{Form, Moment};

/// The padding of one packet.
const PADDING: u8 = 255;
/// What comes on top of it, about: headers and protection.
const HEADERS: usize = 60;

impl Room {
    /// Sends what of a probe is due; gives when to go on.
    pub(super) fn probe(&mut self, now: Instant, place: usize) -> Option<Instant> {
        let member = self.members.get_mut(place)?;
        if member.congestion.wanted <= member.congestion.budget {
            return None;
        }
        let mut due = member.congestion.probe(now);
        if due == 0 {
            return member.congestion.probed(now, 0);
        }
        let usable = member.lines.iter().position(|line| {
            line.receives.as_ref().is_some_and(|sub| {
                let numbered = sub.ids.transport.is_some() && sub.sending.repair_ssrc.is_some();
                numbered && sub.format.repair.is_some() && sub.rewriter.newest().is_some()
            })
        });
        let Some(line) = usable else {
            member.congestion.abandon();
            return None;
        };
        let moment = Moment { now, epoch: self.epoch };
        let mut sent = 0;
        while due > 0 {
            let to = member.sending(line)?;
            moment.send(to, 0, &Form::Padding(PADDING), &mut self.control)?;
            let bytes = usize::from(PADDING) + HEADERS;
            sent += bytes;
            due = due.saturating_sub(bytes);
        }
        member.congestion.probed(now, sent)
    }
}
