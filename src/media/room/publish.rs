//! What a publisher's packets go through: which track they are of, what is missing, the history.

use std::time::{Duration, Instant};

use super::{PendingForward, SfuRoom};
use crate::api::{MediaKind, TrackSource};
use crate::codec::{Codec, begins_key_frame};
use crate::connection::{DecryptedRtp, MAX_RTP_BYTES};
use crate::rtp::RtpPacket;
use crate::srtp::{self, OVERHEAD};
use crate::ssrc_table::SsrcBinding;
use crate::track::PublishedTrack;

/// What a forwarded packet may have before its payload: header, extensions, original sequence number.
const HEADERS: usize = 12 + 48 + 2;

/// A packet of silence is forwarded so often, as an encoder without sound sends them (RFC 7587 §3.1.3).
const DTX_FORWARD_INTERVAL: Duration = Duration::from_millis(400);

impl SfuRoom {
    /// An RTP packet of a member.
    pub(super) fn media_packet(&mut self, now: Instant, place: usize, datagram: &mut [u8]) {
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(connection) = &mut member.connection else { return };
        let opened = match connection.open_rtp(datagram) {
            Ok(opened) => opened,
            Err(why) => return self.dropped(why),
        };
        let Ok(packet) = RtpPacket::parse(datagram.get(..opened.length).unwrap_or_default()) else {
            self.counters.dropped_malformed += 1;
            return;
        };
        let bound = connection.sources.get_mut(opened.source).and_then(|source| source.bound);
        let bound = bound.or_else(|| self.bind(place, opened.source, &packet));
        match bound {
            Some(bound) => {
                self.arrived(now, place, bound.track, &packet);
                self.media(now, bound, &opened, &packet);
            }
            None => self.counters.dropped_unbound += 1,
        }
    }

    /// Finds out what an SSRC is used for: as announced, by the names in the header (RFC 9143 §9.2),
    /// or by a payload type that only one section has.
    fn bind(&mut self, place: usize, source: usize, packet: &RtpPacket<'_>) -> Option<SsrcBinding> {
        let member = self.members.get_mut(place)?;
        let published = member.lines.iter().filter_map(|line| line.publishes);
        let mut matching = published.filter_map(|at| {
            let track = self.tracks.get(at)?;
            let (certainty, stream, repair) = track.owns(packet)?;
            Some((certainty, SsrcBinding { track: at, stream, repair }))
        });
        let (mut best, mut unique) = (matching.next()?, true);
        for other in matching {
            match other.0.cmp(&best.0) {
                std::cmp::Ordering::Greater => (best, unique) = (other, true),
                std::cmp::Ordering::Equal => unique = false,
                std::cmp::Ordering::Less => {}
            }
        }
        let bound = unique.then_some(best.1)?;
        let stream = self.tracks.get_mut(bound.track)?.streams.get_mut(bound.stream)?;
        let ssrc = if bound.repair { &mut stream.repair_ssrc } else { &mut stream.ssrc };
        let before = ssrc.replace(packet.ssrc());
        if !bound.repair && before.is_some_and(|before| before != packet.ssrc()) {
            self.next_source = self.next_source.wrapping_add(1);
            stream.begin_anew(self.next_source);
        }
        let sources = &mut member.connection.as_mut()?.sources;
        sources.get_mut(source)?.bound = Some(bound);
        Some(bound)
    }

    /// Notes when a packet came that counts for the client's own estimate of its uplink.
    fn arrived(&mut self, now: Instant, place: usize, track: usize, packet: &RtpPacket<'_>) {
        let Some(id) = self.tracks.get(track).and_then(|track| track.ids.transport) else { return };
        let value = packet.extensions().find(|(known, _)| *known == id).map(|(_, value)| value);
        let Some(&[high, low]) = value else { return };
        let Some(member) = self.members.get_mut(place) else { return };
        let arrivals = &mut member.congestion.arrivals;
        arrivals.received(now, u16::from_be_bytes([high, low]));
        if let Some(due) = arrivals.next() {
            member.wake_by(due);
            self.wake = self.wake.min(due);
        }
    }

    fn media(
        &mut self,
        now: Instant,
        bound: SsrcBinding,
        opened: &DecryptedRtp,
        packet: &RtpPacket<'_>,
    ) {
        let Some(track) = self.tracks.get_mut(bound.track) else { return };
        let ends_picture = packet.marker() && !bound.repair && track.kind == MediaKind::Video;
        let mut moved = ends_picture && track.overtakes(now, bound.stream);
        let Some(stream) = track.streams.get_mut(bound.stream) else { return };
        let mut payload = packet.payload();
        let mut index = opened.index;
        if bound.repair {
            // The original sequence number comes first (RFC 4588 §4); probes carry nothing.
            let (Some((sequence, rest)), Some(newest)) =
                (payload.split_first_chunk(), stream.newest)
            else {
                return;
            };
            if rest.is_empty() {
                return;
            }
            payload = rest;
            index = srtp::extend(newest, u16::from_be_bytes(*sequence));
            if !stream.missing.repaired(index) {
                return; // it was there: a probe made of an old packet
            }
            self.counters.rtx_in += 1;
        } else {
            stream.reception.received(now, index, packet.timestamp());
            if !stream.missing.received(now, index) {
                return; // repaired before it came: nothing may be sent twice under one number
            }
            stream.newest = Some(stream.newest.map_or(index, |newest| newest.max(index)));
        }
        if payload.len() > MAX_RTP_BYTES - HEADERS - OVERHEAD {
            self.counters.dropped_malformed += 1;
            return;
        }
        let flowed = stream.flows(now);
        stream.heard(now, payload.len());
        moved |= track.kind == MediaKind::Video && !flowed && stream.flows(now);
        if moved {
            self.stirred.push(bound.track);
            self.wake = self.wake.min(now);
        }
        let level = packet.extensions().find(|(id, _)| Some(*id) == track.ids.level);
        let level = level.and_then(|(_, value)| value.first().copied());
        let redundant = track.redundant.as_ref();
        let redundant = redundant.is_some_and(|red| red.payload_type == packet.payload_type());
        let codec = if redundant { Codec::Red } else { track.format.codec };
        let key = track.kind == MediaKind::Video && begins_key_frame(codec, payload);
        if key {
            stream.missing.key_frame(index);
            stream.requests.satisfied();
        }
        if track.kind == MediaKind::Video
            && let Some(due) = stream.missing.next()
            && let Some(owner) = self.members.get_mut(track.member)
        {
            owner.wake_by(due);
            self.wake = self.wake.min(due);
        }
        let loudness = level.map(|level| level & 0x7f); // the highest bit is the sender's opinion
        if let Some(loudness) = loudness.filter(|_| track.source == TrackSource::Microphone)
            && !track.muted
        {
            self.speakers.heard(now, track.owner, loudness);
            let next = *self.listen.get_or_insert(now);
            self.wake = self.wake.min(next);
        }
        let silent = track.kind == MediaKind::Audio
            && self.settings.use_dtx
            && !track.silence.passes(loudness)
            && track.forwarded.is_some_and(|last| now < last + DTX_FORWARD_INTERVAL);
        if track.muted || track.unheard || silent {
            stream.interrupted = true;
            self.counters.dropped_unheard += 1;
            return;
        }
        track.forwarded = Some(now);
        if std::mem::take(&mut stream.interrupted) {
            stream.run = stream.run.wrapping_add(1);
            if track.kind == MediaKind::Video && !key {
                stream.requests.want(); // once more: the first one may have got lost
            }
        }
        let Some(entry) = stream.history.put(index, packet, payload) else { return };
        entry.level = level;
        (entry.key, entry.redundant, entry.run) = (key, redundant, stream.run);
        self.pending.push(PendingForward { track: bound.track, stream: bound.stream, index });
    }
}

/// How sure it is that a packet belongs to a track.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TrackMatch {
    /// Its payload type is one of the section's.
    Type,
    /// Its header names the section, but not the layer of several.
    Named,
    /// It was announced, or the header names the layer.
    Sure,
}

impl PublishedTrack {
    /// A picture of a layer is complete; true if higher ones are seen to have fallen behind.
    fn overtakes(&mut self, now: Instant, stream: usize) -> bool {
        let higher = self.streams.iter_mut().skip(stream + 1);
        higher.filter_map(|stream| stream.overtaken(now).then_some(())).count() > 0 // asks all
    }

    /// Whether a packet may be of this track; of which stream, and whether it is a retransmission.
    fn owns(&self, packet: &RtpPacket<'_>) -> Option<(TrackMatch, usize, bool)> {
        let ssrc = Some(packet.ssrc());
        let announced = self.streams.iter().enumerate().find_map(|(at, stream)| {
            let repair = stream.repair_ssrc == ssrc;
            (stream.ssrc == ssrc || repair).then_some((at, repair))
        });
        let (mut mid, mut rid, mut repaired) = (None, None, None);
        for (id, value) in packet.extensions() {
            match Some(id) {
                id if id == self.ids.mid => mid = Some(value),
                id if id == self.ids.rid => rid = Some(value),
                id if id == self.ids.repaired => repaired = Some(value),
                _ => {}
            }
        }
        if mid.is_some_and(|mid| mid != self.mid.as_bytes()) {
            return None;
        }
        if let Some((at, repair)) = announced {
            return Some((TrackMatch::Sure, at, repair));
        }
        let payload_type = packet.payload_type();
        let is_repair = self.format.repair == Some(payload_type);
        let known = |format: &crate::sdp::PayloadFormat| format.payload_type == payload_type;
        let is_media = known(&self.format) || self.redundant.as_ref().is_some_and(known);
        if !is_repair && !is_media {
            return None;
        }
        if let Some(name) = repaired.or(rid) {
            let at = self
                .streams
                .iter()
                .position(|stream| stream.rid.as_ref().is_some_and(|rid| rid.as_bytes() == name));
            if let Some(at) = at {
                return Some((TrackMatch::Sure, at, is_repair));
            }
        }
        if self.streams.len() > 1 {
            return None; // of an unknown layer
        }
        let certainty = if mid.is_some() { TrackMatch::Named } else { TrackMatch::Type };
        Some((certainty, 0, is_repair))
    }
}
