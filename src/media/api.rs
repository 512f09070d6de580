//! What signalling tells a room, and what the room tells signalling.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::path::TransportProtocol;

/// One who takes part, as the room's owner numbered them; never used again within a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub u32);

/// Something that is published, as the room numbered it; never used again within a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u32);

/// Sound or picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Opus.
    Audio,
    /// VP8, VP9, H.264 or AV1.
    Video,
}

/// What a track shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackSource {
    /// A person's voice.
    Microphone,
    /// A person's picture.
    Camera,
    /// A shared screen: sharp rather than smooth, and never paused in favour of a camera.
    Screen,
    /// What the shared screen plays.
    ScreenAudio,
}

impl TrackSource {
    /// Whether it is the person, who may be muted, and not what they share.
    pub const fn is_person(self) -> bool {
        matches!(self, Self::Microphone | Self::Camera)
    }
}

/// The layers of simulcast, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SimulcastLayer {
    /// A quarter of the size.
    Low,
    /// Half of the size.
    Medium,
    /// All of it; a track without simulcast has only this one.
    High,
}

/// The most a subscriber wants of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerLimit {
    /// Nothing: it is not seen.
    Off,
    /// This layer or a lower one.
    Most(SimulcastLayer),
}

/// An offer of a client (RFC 8829), with what its sections are for.
#[derive(Clone, Debug, Default)]
pub struct PublishOffer {
    /// The session description.
    pub sdp: String,
    /// By `mid`: what is published. A sending section that is not named here publishes the
    /// microphone or the camera, by its kind.
    pub publish: BTreeMap<String, TrackSource>,
    /// By `mid`: which track is received there. A receiving section that is not named here is
    /// answered inactive.
    pub receive: BTreeMap<String, TrackId>,
}

/// Why an offer was not answered; nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferError {
    /// It is not a session description, or not one that this server can answer.
    Unusable(&'static str),
    /// No such participant.
    NoSuchParticipant,
    /// It wants to receive a track that is not there (any more).
    NoSuchTrack(TrackId),
    /// It has more sections, or publishes more, than the settings allow.
    TooMuch,
}

/// A published track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInfo {
    /// Its number.
    pub id: TrackId,
    /// Who publishes it.
    pub owner: ParticipantId,
    /// Sound or picture.
    pub kind: MediaKind,
    /// What it shows.
    pub source: TrackSource,
    /// What can be chosen from, lowest first: more than one with simulcast.
    pub layers: Vec<SimulcastLayer>,
}

/// Why somebody's connection is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client ended it (`close_notify` of DTLS).
    Closed,
    /// No consent check for a while (RFC 7675).
    Silent,
    /// The handshake failed: wrong fingerprint, no common cipher, too many records.
    Handshake,
}

/// How one participant's media travelled during the last interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConnectionQuality {
    /// Round trip time; zero if not known yet.
    pub round_trip: Duration,
    /// From the client: bits per second.
    pub up_bitrate: u64,
    /// To the client: bits per second.
    pub down_bitrate: u64,
    /// From the client: share of packets that were lost before any repair, 0 to 1.
    pub up_loss: f32,
    /// To the client, as it reports: 0 to 1.
    pub down_loss: f32,
    /// From the client: mean deviation of arrival (RFC 3550 §6.4.1).
    pub up_jitter: Duration,
    /// To the client, as it reports.
    pub down_jitter: Duration,
    /// What its downlink is believed to carry, bits per second; zero if not known.
    pub estimate: u64,
    /// How often a stream of pictures to it stood still for more than 500 ms for want of packets.
    pub freezes: u32,
}

/// What a room has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomEvent {
    /// A client's media may flow.
    Connected(ParticipantId),
    /// A client's connection is no more; the participant stays until it is told to leave, and may
    /// offer again.
    Gone(ParticipantId, DisconnectReason),
    /// The first packet of this participant's media reached another one, so long after the offer.
    FirstMedia(ParticipantId, Duration),
    /// Somebody publishes something. Sent for everything that an offer added.
    Published(TrackInfo),
    /// It is no longer published.
    Unpublished(TrackId, ParticipantId),
    /// Which participants speak, loudest first.
    Speakers(Vec<ParticipantId>),
    /// Which layers of its track the publisher needs to send; the others nobody watches.
    Wanted(ParticipantId, TrackId, Vec<SimulcastLayer>),
    /// How a participant's media travels; every few seconds.
    Quality(ParticipantId, ConnectionQuality),
}

/// An address that answers name to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalCandidate {
    /// What carries it.
    pub transport: TransportProtocol,
    /// Where clients reach this thread.
    pub address: SocketAddr,
}
