//! Types at the boundary between signalling and a room: offers and limits in, events out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::path::TransportProtocol;

/// A participant, as numbered by the owner of the room; a number is never reused within a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParticipantId(pub u32);

/// A published track, as numbered by the room; a number is never reused within a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackId(pub u32);

/// Kind of media, as the W3C `MediaStreamTrack.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaKind {
    /// Sound: Opus, optionally with redundancy (RED).
    Audio,
    /// Pictures: VP8, VP9, H.264 or AV1.
    Video,
}

/// What a published track captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrackSource {
    /// The participant's voice.
    Microphone,
    /// The participant's picture.
    Camera,
    /// A shared screen: sharpness matters more than frame rate, and it is never paused in favour of a camera.
    Screen,
    /// The sound of the shared screen.
    ScreenAudio,
}

impl TrackSource {
    /// Whether it is a microphone or camera, which can be muted, and not something shared.
    pub const fn is_person(self) -> bool {
        matches!(self, Self::Microphone | Self::Camera)
    }
}

/// The layers of simulcast, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SimulcastLayer {
    /// A quarter of the full width and height.
    Low,
    /// Half of the full width and height.
    Medium,
    /// Full resolution; a track without simulcast has only this layer.
    High,
}

/// The highest layer of a track that a subscriber wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerLimit {
    /// Nothing is sent: the track is not displayed.
    Off,
    /// This layer or a lower one.
    UpTo(SimulcastLayer),
}

/// An SDP offer of a client (RFC 8829) and the purpose of its media sections.
#[derive(Clone, Debug, Default)]
pub struct PublishOffer {
    /// The session description (RFC 8866).
    pub sdp: String,
    /// What is published, by `mid`. A sending section that is absent here publishes the microphone or the
    /// camera, depending on its kind.
    pub publish: BTreeMap<String, TrackSource>,
    /// Which track is received, by `mid`. A receiving section that is absent here is answered as
    /// `inactive`.
    pub receive: BTreeMap<String, TrackId>,
}

/// Why an offer was rejected; the room is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferError {
    /// It is not a session description, or not one that this server can answer; holds the reason.
    InvalidDescription(&'static str),
    /// The participant has not joined the room.
    ParticipantNotFound,
    /// It asks to receive a track that is not, or no longer, published.
    TrackNotFound(TrackId),
    /// It has more sections, or publishes more tracks, than the settings allow.
    LimitReached,
}

/// Description of a published track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInfo {
    /// Unique within the room.
    pub id: TrackId,
    /// The publishing participant.
    pub owner: ParticipantId,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// What the track captures.
    pub source: TrackSource,
    /// Available layers, lowest first; more than one only with simulcast.
    pub layers: Vec<SimulcastLayer>,
}

/// Why the connection of a participant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client closed it (`close_notify` of DTLS).
    Closed,
    /// No consent check was received for the consent timeout (RFC 7675).
    ConsentExpired,
    /// The DTLS handshake failed: wrong fingerprint, no common cipher, too many records.
    HandshakeFailed,
}

/// Transport quality of one participant during the last interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConnectionQuality {
    /// Round trip time; zero if not measured yet.
    pub round_trip: Duration,
    /// Bitrate received from the client, in bits per second.
    pub up_bps: u64,
    /// Bitrate sent to the client, in bits per second.
    pub down_bps: u64,
    /// Share of the client's packets that were lost before any repair, 0 to 1.
    pub up_loss: f32,
    /// Share of packets to the client that were lost, as it reports, 0 to 1.
    pub down_loss: f32,
    /// Interarrival jitter of the client's packets (RFC 3550 §6.4.1).
    pub up_jitter: Duration,
    /// Interarrival jitter of packets to the client, as it reports.
    pub down_jitter: Duration,
    /// Estimated capacity of the client's downlink, in bits per second; zero if not known.
    pub estimate_bps: u64,
    /// Number of times a video stream to the client froze for more than 500 ms because packets were missing.
    pub freezes: u32,
}

/// Something that happened in a room and concerns signalling.
#[derive(Clone, Debug, PartialEq)]
pub enum RoomEvent {
    /// The participant's transport is established: media can flow.
    Connected(ParticipantId),
    /// The participant's transport ended; the participant stays in the room until
    /// [`leave`](crate::SfuRoom::leave) is called, and may offer again.
    Disconnected(ParticipantId, DisconnectReason),
    /// The first packet of this participant's media was forwarded, and the time since its offer.
    FirstMedia(ParticipantId, Duration),
    /// A track was published; one event for each track that an offer added.
    Published(TrackInfo),
    /// A track is no longer published; with its owner.
    Unpublished(TrackId, ParticipantId),
    /// The active speakers changed; loudest first.
    Speakers(Vec<ParticipantId>),
    /// The layers of a track that its publisher must send; nobody watches the others.
    LayersRequested(ParticipantId, TrackId, Vec<SimulcastLayer>),
    /// Transport quality of a participant; sent every [`quality_interval`](crate::RoomConfig::quality_interval).
    Quality(ParticipantId, ConnectionQuality),
}

/// A host candidate (RFC 8445) that answers offer to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalCandidate {
    /// UDP, or TCP with framing.
    pub transport: TransportProtocol,
    /// The address under which clients reach the media thread.
    pub address: SocketAddr,
}
