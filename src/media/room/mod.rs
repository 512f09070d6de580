//! A room: everybody's transports, what is published and what is received, as one value.

mod adapt;
mod deliver;
mod feedback;
mod forward;
mod negotiate;
mod plan;
mod probe;
mod publish;
mod quality;
mod receive;
mod repair;
mod report;
mod timers;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::api::{
    LayerLimit, LocalCandidate, MediaKind, ParticipantId, RoomEvent, TrackId, TrackInfo,
};
use crate::counters::RoomCounters;
use crate::dtls::DtlsCertificate;
use crate::member::RoomPeer;
use crate::path::{NetworkPath, TransmitBuffer};
use crate::rtcp::CompoundWriter;
use crate::settings::RoomConfig;
use crate::slots::Slots;
use crate::speaker::ActiveSpeakerDetector;
use crate::track::PublishedTrack;

/// What a thread that serves many rooms must know about addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteUpdate {
    /// What comes on this path is for this room.
    Learned(NetworkPath),
    /// No longer.
    Forgotten(NetworkPath),
}

/// A packet that is to be forwarded: which track, which of its streams, which index.
#[derive(Clone, Copy)]
struct PendingForward {
    track: usize,
    stream: usize,
    index: u64,
}

/// A room. What happens to it is told with `now`; what it wants is asked with
/// [`transmit`](Self::transmit), [`event`](Self::event), [`route`](Self::route) and
/// [`next_timeout`](Self::next_timeout), after every call that changes something.
pub struct SfuRoom {
    number: u32,
    identity: Arc<DtlsCertificate>,
    candidates: Vec<LocalCandidate>,
    settings: RoomConfig,
    /// Where send times are counted from.
    epoch: Instant,
    members: Slots<RoomPeer>,
    places: BTreeMap<ParticipantId, usize>,
    paths: HashMap<NetworkPath, usize>,
    tracks: Slots<PublishedTrack>,
    /// Numbers that are given away: tracks, streams, SSRCs.
    next_track: u32,
    next_source: u32,
    next_ssrc: u32,
    /// Who speaks, and when that is looked at next.
    speakers: ActiveSpeakerDetector,
    listen: Option<Instant>,
    /// Tracks of which a layer began to be sent: subscribers may want it instead of another.
    stirred: Vec<usize>,
    pending: Vec<PendingForward>,
    /// How many of them the fan-out that is under way concerns, and with which member it goes on.
    batch: usize,
    cursor: usize,
    /// Datagrams that are not forwarded media.
    control: TransmitBuffer,
    compound: CompoundWriter,
    events: VecDeque<RoomEvent>,
    routes: VecDeque<RouteUpdate>,
    counters: RoomCounters,
    wake: Instant,
}

impl SfuRoom {
    /// An empty room. `number` is what [`room_of`](crate::room_of) reads from its clients' checks;
    /// `candidates` are what its answers offer, the preferred one first.
    pub fn new(
        now: Instant,
        number: u32,
        identity: Arc<DtlsCertificate>,
        candidates: Vec<LocalCandidate>,
        settings: RoomConfig,
    ) -> Self {
        Self {
            number,
            next_ssrc: identity.number() | 1,
            identity,
            candidates,
            settings,
            epoch: now,
            members: Slots::default(),
            places: BTreeMap::new(),
            paths: HashMap::new(),
            tracks: Slots::default(),
            next_track: 1,
            next_source: 1,
            speakers: ActiveSpeakerDetector::default(),
            listen: None,
            stirred: Vec::new(),
            pending: Vec::new(),
            batch: 0,
            cursor: 0,
            control: TransmitBuffer::default(),
            compound: CompoundWriter::default(),
            events: VecDeque::new(),
            routes: VecDeque::new(),
            counters: RoomCounters::default(),
            wake: now,
        }
    }

    /// Somebody takes part; who is there already stays as it is.
    pub fn join(&mut self, now: Instant, participant: ParticipantId) {
        if !self.places.contains_key(&participant) {
            let place = self.members.insert(RoomPeer::new(now, participant, &self.settings));
            self.places.insert(participant, place);
        }
    }

    /// Somebody takes part no longer: the client is told goodbye, what it published is unpublished.
    pub fn leave(&mut self, now: Instant, participant: ParticipantId) {
        let Some(place) = self.places.remove(&participant) else { return };
        self.disconnect(now, place);
        let lines = self.members.get_mut(place).map(|member| std::mem::take(&mut member.lines));
        for track in lines.into_iter().flatten().filter_map(|line| line.publishes) {
            self.unpublish(track);
        }
        self.members.remove(place);
        self.speakers.leave(participant);
        self.choose_heard(now);
    }

    /// Mutes or unmutes what a participant publishes of this kind: none of it reaches anybody while
    /// it is muted, whatever the client sends.
    pub fn mute(&mut self, now: Instant, participant: ParticipantId, kind: MediaKind, muted: bool) {
        let Some(member) = self.member_mut(participant) else { return };
        member.mute(kind, muted);
        member.wake_by(now);
        let own = self.tracks.iter_mut().filter(|(_, track)| track.owner == participant);
        let of_kind = |track: &PublishedTrack| track.kind == kind && track.source.is_person();
        for (_, track) in own.filter(|(_, track)| of_kind(track)) {
            track.hide(muted, track.unheard);
        }
        if kind == MediaKind::Audio && muted {
            self.speakers.leave(participant);
        }
        self.wake = self.wake.min(now);
    }

    /// The most that a participant wants of a track; also of one that it does not receive yet.
    pub fn limit(
        &mut self,
        now: Instant,
        participant: ParticipantId,
        track: TrackId,
        limit: LayerLimit,
    ) {
        if !self.tracks.iter().any(|(_, known)| known.id == track) {
            return;
        }
        let Some(member) = self.member_mut(participant) else { return };
        member.limits.insert(track, limit);
        for subscription in member.subscriptions().filter(|sub| sub.track == track) {
            subscription.limit = limit;
        }
        if let Some(&place) = self.places.get(&participant) {
            self.adapt(now, place);
        }
    }

    /// Everything that is published.
    pub fn tracks(&self) -> Vec<TrackInfo> {
        self.tracks.iter().map(|(_, track)| track.info()).collect()
    }

    /// Everybody who takes part.
    pub fn participants(&self) -> Vec<ParticipantId> {
        self.places.keys().copied().collect()
    }

    /// The next thing that happened.
    pub fn event(&mut self) -> Option<RoomEvent> {
        self.events.pop_front()
    }

    /// The next path that a thread must learn or forget.
    pub fn route(&mut self) -> Option<RouteUpdate> {
        self.routes.pop_front()
    }

    /// Totals.
    pub fn counters(&self) -> &RoomCounters {
        &self.counters
    }

    /// When [`timeout`](Self::timeout) is to be called.
    pub fn next_timeout(&self) -> Instant {
        self.wake
    }

    fn member_mut(&mut self, participant: ParticipantId) -> Option<&mut RoomPeer> {
        self.members.get_mut(*self.places.get(&participant)?)
    }

    /// An SSRC that is used nowhere else in the room.
    fn ssrc(&mut self) -> u32 {
        self.next_ssrc = self.next_ssrc.wrapping_add(2); // odd: never zero
        self.next_ssrc
    }

    /// A name for a stream of packets.
    fn source(&mut self) -> u32 {
        self.next_source = self.next_source.wrapping_add(1);
        self.next_source
    }

    /// The owner of a track has something to do.
    fn wake_owner(&mut self, now: Instant, track: usize) {
        let owner = self.tracks.get(track).and_then(|track| self.members.get_mut(track.member));
        if let Some(owner) = owner {
            owner.wake_by(now);
            self.wake = self.wake.min(now);
        }
    }

    /// A track is no more: nobody receives it, nothing of it is kept.
    fn unpublish(&mut self, place: usize) {
        let Some(track) = self.tracks.remove(place) else { return };
        for (_, member) in self.members.iter_mut() {
            for line in &mut member.lines {
                line.receives = line.receives.take().filter(|sub| sub.track != track.id);
            }
            member.limits.remove(&track.id);
            member.index();
        }
        let owner = self.members.get_mut(track.member);
        if let Some(connection) = owner.and_then(|owner| owner.connection.as_mut()) {
            connection.sources.unbind(place);
        }
        for pending in self.pending.iter_mut().filter(|pending| pending.track == place) {
            pending.track = usize::MAX; // the place may be used again before it is forwarded
        }
        self.events.push_back(RoomEvent::Unpublished(track.id, track.owner));
    }

    /// How many things of all kinds are kept: nothing, when nobody is there.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        let speakers = self.speakers.loudest(usize::MAX).count();
        let queued = self.events.len() + self.routes.len() + self.pending.len();
        let queued = queued + self.stirred.len();
        let people = self.members.end() + self.places.len() + self.paths.len();
        people + self.tracks.end() + speakers + queued
    }
}
