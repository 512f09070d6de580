//! Fans packets out: per subscriber over the batch, so that those of one destination lie together.

use std::time::Instant;

use super::forward::{ForwardContext, ForwardForm};
use super::{PendingForward, SfuRoom};
use crate::api::RoomEvent;
use crate::counters::RoomCounters;
use crate::member::RoomPeer;
use crate::packet_cache::CachedPacket;
use crate::path::TransmitBuffer;
use crate::slots::Slots;
use crate::subscription::DownTrack;
use crate::track::PublishedTrack;

/// A batch ends when it has so many bytes.
const BATCH: usize = 1 << 20;

/// What does not change during a batch.
struct TransmitBatch<'a> {
    moment: ForwardContext,
    tracks: &'a Slots<PublishedTrack>,
    pending: &'a [PendingForward],
}

impl SfuRoom {
    /// Adds what is to be sent to `out`. True: there is more; call again after sending it. What comes
    /// between the two calls waits for its turn.
    pub fn transmit(&mut self, now: Instant, out: &mut TransmitBuffer) -> bool {
        let (packets, bytes) = (out.datagrams.len(), out.used);
        for datagram in self.control.datagrams() {
            out.push(datagram.to, &self.control.bytes()[datagram.start..][..datagram.length]);
        }
        self.control.clear();
        if self.cursor == 0 {
            self.batch = self.pending.len();
        }
        let pending = self.pending.get(..self.batch).unwrap_or(&self.pending);
        let moment = ForwardContext { now, epoch: self.epoch };
        let batch = TransmitBatch { moment, tracks: &self.tracks, pending };
        while !pending.is_empty() && self.cursor < self.members.end() && out.used <= BATCH {
            if let Some(member) = self.members.get_mut(self.cursor) {
                batch.deliver(member, out, &mut self.counters);
            }
            self.cursor += 1;
        }
        self.counters.packets_out += (out.datagrams.len() - packets) as u64;
        self.counters.bytes_out += (out.used - bytes) as u64;
        if !pending.is_empty() && self.cursor < self.members.end() {
            return true;
        }
        self.tell_first_media(now);
        self.pending.drain(..self.batch.min(self.pending.len()));
        self.cursor = 0;
        !self.pending.is_empty()
    }

    /// Tells how long it took until somebody was first heard or seen.
    fn tell_first_media(&mut self, now: Instant) {
        for pending in &self.pending {
            let Some(track) = self.tracks.get_mut(pending.track).filter(|track| track.unseen)
            else {
                continue;
            };
            let received = |member: &RoomPeer| {
                let line = member.route(pending.track).and_then(|at| member.lines.get(at));
                line.and_then(|line| line.receives.as_ref()).is_some_and(|sub| sub.packets > 0)
            };
            if !self.members.iter().any(|(_, member)| received(member)) {
                continue;
            }
            track.unseen = false;
            let Some(owner) = self.members.get_mut(track.member) else { continue };
            if let Some(offered) = owner.offered.take() {
                let took = now.saturating_duration_since(offered);
                self.events.push_back(RoomEvent::FirstMedia(owner.participant, took));
            }
        }
    }
}

impl TransmitBatch<'_> {
    fn deliver(
        &self,
        member: &mut RoomPeer,
        out: &mut TransmitBuffer,
        counters: &mut RoomCounters,
    ) {
        let before = out.used;
        for pending in self.pending {
            let Some(line) = member.route(pending.track) else { continue };
            let Some(track) = self.tracks.get(pending.track) else { continue };
            let Some(stream) = track.streams.get(pending.stream) else { continue };
            let Some(entry) = stream.history.get(pending.index) else { continue };
            let Some(to) = member.sending(line) else { continue };
            if self.admit(to.subscription, track, pending.stream, entry, counters) {
                self.moment.send(to, stream.source, &ForwardForm::Media(entry), out);
            }
        }
        if out.used > before {
            member.down.add(self.moment.now, out.used - before);
        }
    }

    /// Whether a packet is part of what the subscriber sees; switches to its stream where that is
    /// wanted and possible.
    fn admit(
        &self,
        subscription: &mut DownTrack,
        track: &PublishedTrack,
        at: usize,
        entry: &CachedPacket,
        counters: &mut RoomCounters,
    ) -> bool {
        let Some(target) = subscription.target else { return false };
        let Some(stream) = track.streams.get(at) else { return false };
        let current = subscription.rewriter.source() == Some(stream.source);
        if current && entry.run == subscription.run && !subscription.waiting {
            if entry.payload.is_empty() {
                subscription.rewriter.leave_out(stream.source, entry.index); // padding
            }
            return !entry.payload.is_empty();
        }
        // An interrupted stream goes on even if another one is wanted but does not come.
        let goes_on = current && entry.run != subscription.run;
        if at != target && !goes_on || entry.payload.is_empty() {
            return false;
        }
        if subscription.is_video() && !entry.key {
            counters.waited_for_key_frame += 1;
            return false;
        }
        if !current && subscription.rewriter.source().is_some() {
            counters.layer_switches += 1;
        }
        let report = stream.report.map(|(report, _)| report);
        let (index, timestamp) = (entry.index, entry.timestamp);
        subscription.rewriter.switch(self.moment.now, stream.source, index, timestamp, report);
        subscription.munger.switch(stream.source);
        if subscription.run != entry.run {
            subscription.last = None; // it was interrupted on purpose
        }
        subscription.run = entry.run;
        subscription.waiting = false;
        true
    }
}
