//! An SFU room: the transports, published tracks and down tracks of all participants of a call.

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

/// A change of the paths that lead to a room, for a thread that dispatches datagrams to many rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteUpdate {
    /// Datagrams from this path are for this room.
    Added(NetworkPath),
    /// Datagrams from this path are no longer for this room.
    Removed(NetworkPath),
}

/// A packet to forward: slot of the track, index of its stream, index of the packet.
#[derive(Clone, Copy)]
struct PendingForward {
    track: usize,
    stream: usize,
    index: u64,
}

/// A room of an SFU. Its inputs take the current time as `now`. Its outputs must be read after every input:
/// [`transmit`](Self::transmit), [`event`](Self::event), [`route`](Self::route) and
/// [`next_timeout`](Self::next_timeout).
pub struct SfuRoom {
    room_id: u32,
    certificate: Arc<DtlsCertificate>,
    candidates: Vec<LocalCandidate>,
    settings: RoomConfig,
    /// Origin of the abs-send-time header extension.
    send_time_epoch: Instant,
    peers: Slots<RoomPeer>,
    peer_slots: BTreeMap<ParticipantId, usize>,
    /// The slot of the peer to which a path leads.
    peer_by_path: HashMap<NetworkPath, usize>,
    tracks: Slots<PublishedTrack>,
    /// Counters for unique track ids, stream ids and SSRCs.
    next_track_id: u32,
    next_stream_id: u32,
    next_ssrc: u32,
    /// Active speaker detection, and when it is updated next; `None` while nobody sends audio.
    speakers: ActiveSpeakerDetector,
    speaker_update_at: Option<Instant>,
    /// Tracks of which a layer became available: subscribers may prefer it to another one.
    tracks_to_reallocate: Vec<usize>,
    /// Received packets that were not forwarded to all peers yet.
    pending: Vec<PendingForward>,
    /// Number of pending packets in the current batch, and the slot of the peer to serve next.
    batch_len: usize,
    next_peer: usize,
    /// Datagrams to send that are not forwarded media.
    control: TransmitBuffer,
    compound: CompoundWriter,
    events: VecDeque<RoomEvent>,
    routes: VecDeque<RouteUpdate>,
    counters: RoomCounters,
    wake_at: Instant,
}

impl SfuRoom {
    /// An empty room. `room_id` is what [`room_of`](crate::room_of) reads from the connectivity checks of its
    /// clients; `candidates` are offered in SDP answers, the preferred one first.
    pub fn new(
        now: Instant,
        room_id: u32,
        certificate: Arc<DtlsCertificate>,
        candidates: Vec<LocalCandidate>,
        settings: RoomConfig,
    ) -> Self {
        Self {
            room_id,
            next_ssrc: certificate.random_u32() | 1,
            certificate,
            candidates,
            settings,
            send_time_epoch: now,
            peers: Slots::default(),
            peer_slots: BTreeMap::new(),
            peer_by_path: HashMap::new(),
            tracks: Slots::default(),
            next_track_id: 1,
            next_stream_id: 1,
            speakers: ActiveSpeakerDetector::default(),
            speaker_update_at: None,
            tracks_to_reallocate: Vec::new(),
            pending: Vec::new(),
            batch_len: 0,
            next_peer: 0,
            control: TransmitBuffer::default(),
            compound: CompoundWriter::default(),
            events: VecDeque::new(),
            routes: VecDeque::new(),
            counters: RoomCounters::default(),
            wake_at: now,
        }
    }

    /// Adds a participant; one that has joined already stays unchanged.
    pub fn join(&mut self, now: Instant, participant: ParticipantId) {
        if !self.peer_slots.contains_key(&participant) {
            let slot = self.peers.insert(RoomPeer::new(now, participant, &self.settings));
            self.peer_slots.insert(participant, slot);
        }
    }

    /// Removes a participant: its connection is closed and its tracks are unpublished.
    pub fn leave(&mut self, now: Instant, participant: ParticipantId) {
        let Some(slot) = self.peer_slots.remove(&participant) else { return };
        self.disconnect(now, slot);
        let mid_slots = self.peers.get_mut(slot).map(|peer| std::mem::take(&mut peer.mid_slots));
        for track in mid_slots.into_iter().flatten().filter_map(|mid_slot| mid_slot.published_slot)
        {
            self.unpublish(track);
        }
        self.peers.remove(slot);
        self.speakers.remove(participant);
        self.update_last_n(now);
    }

    /// Mutes or unmutes the microphone or camera of a participant: nothing of it is forwarded while it is
    /// muted, whatever the client sends.
    pub fn set_muted(
        &mut self,
        now: Instant,
        participant: ParticipantId,
        kind: MediaKind,
        muted: bool,
    ) {
        let Some(peer) = self.peer_mut(participant) else { return };
        peer.set_muted(kind, muted);
        peer.wake_by(now);
        let published = self.tracks.iter_mut().filter(|(_, track)| track.owner == participant);
        let is_affected = |track: &PublishedTrack| track.kind == kind && track.source.is_person();
        for (_, track) in published.filter(|(_, track)| is_affected(track)) {
            track.set_suppression(muted, track.is_outside_last_n);
        }
        if kind == MediaKind::Audio && muted {
            self.speakers.remove(participant);
        }
        self.wake_at = self.wake_at.min(now);
    }

    /// Sets the highest layer that a participant wants of a track; also before it receives the track.
    pub fn set_layer_limit(
        &mut self,
        now: Instant,
        participant: ParticipantId,
        track: TrackId,
        limit: LayerLimit,
    ) {
        if !self.tracks.iter().any(|(_, published)| published.id == track) {
            return;
        }
        let Some(peer) = self.peer_mut(participant) else { return };
        peer.layer_limits.insert(track, limit);
        for down_track in peer.down_tracks().filter(|down_track| down_track.track == track) {
            down_track.limit = limit;
        }
        if let Some(&slot) = self.peer_slots.get(&participant) {
            self.reallocate(now, slot);
        }
    }

    /// All published tracks.
    pub fn tracks(&self) -> Vec<TrackInfo> {
        self.tracks.iter().map(|(_, track)| track.info()).collect()
    }

    /// All participants.
    pub fn participants(&self) -> Vec<ParticipantId> {
        self.peer_slots.keys().copied().collect()
    }

    /// The next event; `None` if there is none.
    pub fn event(&mut self) -> Option<RoomEvent> {
        self.events.pop_front()
    }

    /// The next change of paths; `None` if there is none.
    pub fn route(&mut self) -> Option<RouteUpdate> {
        self.routes.pop_front()
    }

    /// Totals since the room was created.
    pub fn counters(&self) -> &RoomCounters {
        &self.counters
    }

    /// When [`timeout`](Self::timeout) must be called next.
    pub fn next_timeout(&self) -> Instant {
        self.wake_at
    }

    fn peer_mut(&mut self, participant: ParticipantId) -> Option<&mut RoomPeer> {
        self.peers.get_mut(*self.peer_slots.get(&participant)?)
    }

    /// An SSRC that is unique within the room.
    fn allocate_ssrc(&mut self) -> u32 {
        self.next_ssrc = self.next_ssrc.wrapping_add(2); // stays odd, hence never zero
        self.next_ssrc
    }

    /// A stream id that is unique within the room.
    fn allocate_stream_id(&mut self) -> u32 {
        self.next_stream_id = self.next_stream_id.wrapping_add(1);
        self.next_stream_id
    }

    /// Runs the timers of the owner of a track at `now` at the latest.
    fn wake_owner(&mut self, now: Instant, track: usize) {
        let owner = self.tracks.get(track).and_then(|track| self.peers.get_mut(track.owner_slot));
        if let Some(owner) = owner {
            owner.wake_by(now);
            self.wake_at = self.wake_at.min(now);
        }
    }

    /// Ends a track: removes its down tracks, layer limits and SSRC bindings.
    fn unpublish(&mut self, slot: usize) {
        let Some(track) = self.tracks.remove(slot) else { return };
        for (_, peer) in self.peers.iter_mut() {
            for mid_slot in &mut peer.mid_slots {
                mid_slot.down_track =
                    mid_slot.down_track.take().filter(|down_track| down_track.track != track.id);
            }
            peer.layer_limits.remove(&track.id);
            peer.rebuild_index();
        }
        let owner = self.peers.get_mut(track.owner_slot);
        if let Some(transport) = owner.and_then(|owner| owner.transport.as_mut()) {
            transport.ssrcs.unbind(slot);
        }
        for pending in self.pending.iter_mut().filter(|pending| pending.track == slot) {
            pending.track = usize::MAX; // the slot may be used again before it is forwarded
        }
        self.events.push_back(RoomEvent::Unpublished(track.id, track.owner));
    }

    /// Number of items of all kinds that the room stores: zero when everybody has left.
    #[cfg(test)]
    pub(crate) fn retained_count(&self) -> usize {
        let speakers = self.speakers.loudest(usize::MAX).count();
        let queued = self.events.len() + self.routes.len() + self.pending.len();
        let queued = queued + self.tracks_to_reallocate.len();
        let peers = self.peers.slot_count() + self.peer_slots.len() + self.peer_by_path.len();
        peers + self.tracks.slot_count() + speakers + queued
    }
}
