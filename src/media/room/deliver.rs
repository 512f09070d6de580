//! Fans packets out: per subscriber over the batch, so that those of one destination lie together.

use std::time::Instant;

use super::{Pending, Room};
use crate::codec::Codec;
use crate::connection::{Connection, LONGEST};
use crate::counters::Counters;
use crate::history::Entry;
use crate::member::Member;
use crate::path::Outbound;
use crate::red;
use crate::rtp::Extending;
use crate::signal::Event;
use crate::slots::Slots;
use crate::srtp::OVERHEAD;
use crate::stream::Stream;
use crate::subscription::Subscription;
use crate::track::Track;

/// A batch ends when it has so many bytes.
const BATCH: usize = 1 << 20;

/// What does not change during a batch.
struct Batch<'a> {
    now: Instant,
    epoch: Instant,
    tracks: &'a Slots<Track>,
    pending: &'a [Pending],
}

impl Room {
    /// Adds what is to be sent to `out`. True: there is more; call again after sending it.
    pub fn transmit(&mut self, now: Instant, out: &mut Outbound) -> bool {
        let (packets, bytes) = (out.datagrams.len(), out.used);
        for datagram in self.control.datagrams() {
            out.push(datagram.to, &self.control.bytes()[datagram.start..][..datagram.length]);
        }
        self.control.clear();
        let batch = Batch { now, epoch: self.epoch, tracks: &self.tracks, pending: &self.pending };
        let mut more = false;
        while !batch.pending.is_empty() && self.cursor < self.members.end() {
            if out.used > BATCH {
                more = true;
                break;
            }
            if let Some(member) = self.members.get_mut(self.cursor) {
                batch.deliver(member, out, &mut self.counters);
            }
            self.cursor += 1;
        }
        self.counters.packets_out += (out.datagrams.len() - packets) as u64;
        self.counters.bytes_out += (out.used - bytes) as u64;
        if !more {
            self.cursor = 0;
            self.tell_first_media(now);
            self.pending.clear();
        }
        more
    }

    /// Tells how long it took until somebody was first heard or seen.
    fn tell_first_media(&mut self, now: Instant) {
        for pending in &self.pending {
            let Some(track) = self.tracks.get_mut(pending.track).filter(|track| track.unseen)
            else {
                continue;
            };
            let received = |member: &Member| {
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
                self.events.push_back(Event::FirstMedia(owner.participant, took));
            }
        }
    }
}

impl Batch<'_> {
    fn deliver(&self, member: &mut Member, out: &mut Outbound, counters: &mut Counters) {
        let before = out.used;
        for pending in self.pending {
            let Some(line) = member.route(pending.track) else { continue };
            let Some(track) = self.tracks.get(pending.track) else { continue };
            let Some(stream) = track.streams.get(pending.stream) else { continue };
            let Some(entry) = stream.history.get(pending.index) else { continue };
            let Some((connection, subscription, mid)) = member.sending(line) else { continue };
            if self.admit(subscription, track, pending.stream, entry, counters) {
                self.forward(connection, subscription, stream, entry, mid, out);
            }
        }
        if out.used > before {
            member.down.add(self.now, out.used - before);
        }
    }

    /// Whether a packet is part of what the subscriber sees; switches to its stream where that is
    /// wanted and possible.
    fn admit(
        &self,
        subscription: &mut Subscription,
        track: &Track,
        at: usize,
        entry: &Entry,
        counters: &mut Counters,
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
        subscription.rewriter.switch(self.now, stream.source, index, timestamp, report);
        subscription.munger.switch(stream.source);
        subscription.run = entry.run;
        subscription.waiting = false;
        true
    }

    fn forward(
        &self,
        connection: &mut Connection,
        subscription: &mut Subscription,
        stream: &Stream,
        entry: &Entry,
        mid: &str,
        out: &mut Outbound,
    ) {
        let Connection { keys: Some(keys), selected: Some(to), .. } = connection else { return };
        let (source, index) = (stream.source, entry.index);
        let place = subscription.rewriter.place(self.now, source, index, entry.timestamp);
        let Some(place) = place else { return };
        let Some((payload_type, payload)) = subscription.wrap(entry) else { return };
        let packet = out.space(LONGEST + OVERHEAD);
        let header = [place.index as u32, place.timestamp, subscription.sending.ssrc];
        write_header(packet, entry.marker, payload_type, header);
        let mut extending = Extending::new(packet);
        extending.add(subscription.ids.mid, mid.as_bytes());
        if let Some(level) = entry.level {
            extending.add(subscription.ids.level, &[level]);
        }
        let sent = self.now.saturating_duration_since(self.epoch).as_micros();
        let sent = ((sent << 18) / 1_000_000) as u32; // 6.18 seconds, of which 24 bits are told
        extending.add(subscription.ids.time, &sent.to_be_bytes()[1..]);
        let begin = extending.finish();
        let end = begin + payload.len();
        let Some(body) = packet.get_mut(begin..end) else { return };
        body.copy_from_slice(payload);
        if subscription.format.codec == Codec::Vp8 && !subscription.munger.patch(source, body) {
            return;
        }
        let octets = payload.len() as u32;
        if let Some(length) = keys.outgoing.seal_rtp(packet, begin, end, place.index) {
            out.commit(*to, length);
            subscription.packets = subscription.packets.wrapping_add(1);
            subscription.octets = subscription.octets.wrapping_add(octets);
            subscription.last = Some(self.now);
            subscription.frozen = false;
        }
    }
}

impl Subscription {
    /// Payload type and payload as this subscriber understands them: sound loses its redundancy if
    /// need be.
    fn wrap<'a>(&self, entry: &'a Entry) -> Option<(u8, &'a [u8])> {
        if !entry.redundant {
            return Some((self.format.payload_type, &entry.payload));
        }
        match &self.redundant {
            Some(red) => Some((red.payload_type, &entry.payload)),
            None => Some((self.format.payload_type, red::primary(&entry.payload)?)),
        }
    }
}

/// Writes a fixed header (RFC 3550 §5.1): sequence number (the low half), timestamp and SSRC.
pub(super) fn write_header(packet: &mut [u8], marker: bool, payload_type: u8, words: [u32; 3]) {
    packet[0] = 0x80;
    packet[1] = u8::from(marker) << 7 | payload_type;
    packet[2..4].copy_from_slice(&(words[0] as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&words[1].to_be_bytes());
    packet[8..12].copy_from_slice(&words[2].to_be_bytes());
}
