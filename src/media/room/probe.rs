//! Finds out whether a subscriber's downlink carries more than is sent: bursts of what was sent
//! lately, which repair what was lost of it, or of padding.

use std::time::{Duration, Instant};

use super::SfuRoom;
use super::forward::{ForwardContext, ForwardForm};
use crate::packet_cache::CachedPacket;
use crate::subscription::DownTrack;
use crate::track::PublishedTrack;

/// The padding of one packet.
const PADDING: u8 = 255;
/// Of the last so many packets those are sent again that have so many bytes of payload, each of them
/// once in this time: few large packets show as much as many small ones.
const BACK: u16 = 48;
const LARGE: usize = 600;
const REST: Duration = Duration::from_secs(1);

impl SfuRoom {
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
        let moment = ForwardContext { now, epoch: self.epoch };
        let mut sent = 0;
        while due > 0 {
            let to = member.sending(line)?;
            let track = self.tracks.get(to.subscription.place);
            let again = track.and_then(|track| to.subscription.large(now, track));
            let (source, form) = match again {
                Some((source, entry, sequence)) => (source, ForwardForm::Again(entry, sequence)),
                None => (0, ForwardForm::Padding(PADDING)),
            };
            let bytes = moment.send(to, source, &form, &mut self.control)?;
            sent += bytes;
            due = due.saturating_sub(bytes);
        }
        member.congestion.probed(now, sent)
    }
}

impl DownTrack {
    /// A large packet that was sent lately: of which source, and under which sequence number.
    fn large<'a>(
        &mut self,
        now: Instant,
        track: &'a PublishedTrack,
    ) -> Option<(u32, &'a CachedPacket, u16)> {
        let newest = self.rewriter.newest()?.index as u16;
        (0..BACK).find_map(|back| {
            let sequence = newest.wrapping_sub(back);
            let (source, index) = self.rewriter.origin(sequence)?;
            let entry = track.of_source(source)?.history.get(index)?;
            let usable = entry.payload.len() >= LARGE && self.may_resend(now, sequence, REST);
            usable.then_some((source, entry, sequence))
        })
    }
}
