//! Calls: requests, events and records.

mod events;
mod records;
mod requests;

use base::ids::UserId;
pub use events::{
    ActiveSpeaker, CallAnswered, CallEnded, CallJoined, CallMode, CallMoved, CallQuality,
    CallStarted, IncomingCall, ParticipantChanged, ParticipantLeft, RelayedCandidate,
    RelayedDescription, ServerAnswer, TrackPublished, TrackUnpublished, TrackWanted,
};
pub use records::{
    ActiveCall, CallOutcome, CallStats, CallToken, CallView, NewCallToken, PastCall,
    PastParticipant,
};
pub use requests::{
    AnswerRequest, CallRef, IceCandidateRequest, InviteCall, JoinCall, ModerateRequest,
    ModerationAction, Mute, OfferRequest, PublishSection, SetLayer, StartCall,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Media a call starts with; also the kind of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallMedia {
    /// Audio without video.
    Audio,
    /// Audio and video.
    Video,
}

/// Media topology of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallTopology {
    /// Peer to peer: directly between two devices.
    P2p,
    /// Selective forwarding unit: the server receives and forwards.
    Sfu,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallEndReason {
    /// The last participants hung up.
    Hangup,
    /// Every invitee declined.
    Declined,
    /// Every invitee was in another call.
    Busy,
    /// The caller cancelled before anybody answered.
    Cancelled,
    /// Nobody answered before the ring timeout.
    Missed,
    /// The call reached the maximum duration.
    Timeout,
    /// A moderator removed this device.
    Kicked,
    /// The server failed or was stopped.
    Failed,
}

/// What a media section of an offer publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublishSource {
    /// The device's microphone.
    Microphone,
    /// The device's camera.
    Camera,
    /// A shared screen or window.
    Screen,
    /// Audio of the shared screen.
    ScreenAudio,
}

/// A simulcast layer, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestedLayer {
    /// Full resolution.
    High,
    /// Half of the resolution.
    Medium,
    /// A quarter of the resolution.
    Low,
    /// Do not forward the track.
    Off,
}

/// Role of a participant in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallRole {
    /// Publishes and receives media.
    #[default]
    Participant,
    /// May also mute and remove other participants.
    Moderator,
}

/// A device in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParticipantView {
    /// Identifier within the call.
    pub participant_id: String,
    /// User the device belongs to.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Display name of that user.
    pub name: String,
    /// Whether the microphone is on.
    pub audio: bool,
    /// Whether the camera is on.
    pub video: bool,
}

/// A track published to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrackView {
    /// Identifier within the call.
    pub track_id: String,
    /// `participant_id` of the publisher.
    pub participant_id: String,
    /// Whether the track is audio or video.
    pub kind: CallMedia,
    /// Where the media comes from.
    pub source: PublishSource,
    /// Simulcast layers to choose from, lowest first.
    pub layers: Vec<RequestedLayer>,
}

/// A STUN or TURN server, in the shape of WebRTC's `RTCIceServer`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IceServer {
    /// `stun:`, `turn:` or `turns:` URLs.
    pub urls: Vec<String>,
    /// TURN user name; absent for STUN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password; valid until the expiry contained in the user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// Measured connection quality of one participant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParticipantQuality {
    /// Round-trip time in milliseconds.
    pub rtt_ms: f64,
    /// Bit rate from the device, in bits per second.
    pub up_bps: u64,
    /// Bit rate to the device, in bits per second.
    pub down_bps: u64,
    /// Share of packets from the device that were lost before repair, 0 to 1.
    pub up_loss: f64,
    /// Share of packets to the device that were lost before repair, 0 to 1.
    pub down_loss: f64,
    /// Jitter of media from the device, in milliseconds.
    pub up_jitter_ms: f64,
    /// Jitter of media to the device, in milliseconds.
    pub down_jitter_ms: f64,
    /// Estimated downlink bandwidth, in bits per second.
    pub estimate_bps: u64,
    /// Number of video freezes caused by missing packets.
    pub freezes: u64,
}
