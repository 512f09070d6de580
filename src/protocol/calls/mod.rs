//! Calls, as they cross the wire: the words that are asked, told and looked up.

mod events;
mod records;
mod requests;

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

use base::ids::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a call begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallMedia {
    /// Voices.
    Audio,
    /// Voices and pictures.
    Video,
}

/// How media travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallTopology {
    /// From one device to the other.
    P2p,
    /// Through the server, which forwards it.
    Sfu,
}

/// Why a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallEndReason {
    /// Somebody hung up, and nobody else was left.
    Hangup,
    /// Whoever was called said no.
    Declined,
    /// Whoever was called was in another call.
    Busy,
    /// The caller gave up.
    Cancelled,
    /// Nobody answered in time.
    Missed,
    /// It lasted as long as a call may.
    Timeout,
    /// A moderator put this device out.
    Kicked,
    /// The server failed, or was stopped.
    Failed,
}

/// What a section of an offer publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublishSource {
    /// A voice.
    Microphone,
    /// A picture.
    Camera,
    /// A shared screen.
    Screen,
    /// What the shared screen plays.
    ScreenAudio,
}

/// A layer of simulcast, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RequestedLayer {
    /// All of the picture.
    High,
    /// Half of it.
    Medium,
    /// A quarter of it.
    Low,
    /// Nothing.
    Off,
}

/// What somebody may do in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallRole {
    /// Speak and be seen.
    #[default]
    Participant,
    /// Mute and put out others as well.
    Moderator,
}

/// A device that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParticipantView {
    /// Names it within the call.
    pub participant_id: String,
    /// Whose device it is.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// How that person calls themselves.
    pub name: String,
    /// Whether the microphone is on.
    pub audio: bool,
    /// Whether the camera is on.
    pub video: bool,
}

/// Something that is published to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrackView {
    /// Names it within the call.
    pub track_id: String,
    /// Who publishes it.
    pub participant_id: String,
    /// Sound or picture.
    pub kind: CallMedia,
    /// What it shows.
    pub source: PublishSource,
    /// What can be chosen from, lowest first.
    pub layers: Vec<RequestedLayer>,
}

/// A server that helps devices to reach each other; shaped as WebRTC's `RTCIceServer`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IceServer {
    /// Its addresses.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN; ends with the username's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// How one participant's media travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParticipantQuality {
    /// Round trip, milliseconds.
    pub rtt_ms: f64,
    /// From the device, bits per second.
    pub up_bps: u64,
    /// To the device, bits per second.
    pub down_bps: u64,
    /// From the device: share of packets lost before repair.
    pub up_loss: f64,
    /// To the device: share of packets lost before repair.
    pub down_loss: f64,
    /// From the device, milliseconds.
    pub up_jitter_ms: f64,
    /// To the device, milliseconds.
    pub down_jitter_ms: f64,
    /// What the way to the device is believed to carry, bits per second.
    pub estimate_bps: u64,
    /// How often a picture stood still for want of packets.
    pub freezes: u64,
}
