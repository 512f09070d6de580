//! Call events and replies sent to devices.

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    CallEndReason, CallMedia, CallTopology, IceServer, ParticipantQuality, ParticipantView,
    RequestedLayer, TrackView,
};
use crate::protocol::users::UserSummary;

/// Reply to the event `start_call`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CallStarted {
    /// The new call, or the call that these users already have.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Media topology of the call.
    pub mode: CallTopology,
    /// How long devices ring, in seconds.
    pub ring_timeout: u64,
}

/// Somebody calls this user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncomingCall {
    /// The call to accept or decline.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The user who calls.
    pub from: UserSummary,
    /// Media the call starts with.
    pub media: CallMedia,
    /// The conversation the call belongs to; absent for a call without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<ConversationId>,
    /// When the device stops ringing.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// An invitee accepted (`call_answered`) or declined (`call_declined`); their other devices stop
/// ringing.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CallAnswered {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The invitee who answered.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// The call ended, or ended for this device or user.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CallEnded {
    /// The call that ended.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Why it ended.
    pub reason: CallEndReason,
}

/// Reply to `join_call`, also sent as an event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallJoined {
    /// The call that was joined.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Name of the session, for a call joined by name.
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Identifier of this device within the call.
    pub participant_id: String,
    /// Media topology of the call.
    pub mode: CallTopology,
    /// Epoch of the SFU room; it increases when the room is created anew.
    pub epoch: u64,
    /// All other participants.
    pub participants: Vec<ParticipantView>,
    /// Tracks that can be received from the server.
    pub tracks: Vec<TrackView>,
    /// STUN and TURN servers to use.
    pub ice_servers: Vec<IceServer>,
}

/// A participant joined (`participant_joined`) or changed (`participant_updated`).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParticipantChanged {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The participant in its current state.
    #[serde(flatten)]
    pub participant: ParticipantView,
}

/// A participant left the call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParticipantLeft {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The participant that left.
    pub participant_id: String,
    /// User of the device that left.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// A session description from another participant (P2P topology).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RelayedDescription {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// `participant_id` of the sender.
    pub from: String,
    /// Session description (RFC 8866), unchanged.
    pub sdp: String,
}

/// An ICE candidate from another participant (P2P topology).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RelayedCandidate {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// `participant_id` of the sender.
    pub from: String,
    /// The candidate (`RTCIceCandidateInit`), unchanged.
    pub candidate: Value,
}

/// The server's SDP answer to an offer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServerAnswer {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Epoch of the SFU room that answers.
    pub epoch: u64,
    /// Session description (RFC 8866).
    pub sdp: String,
}

/// A track can be received from the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrackPublished {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The published track.
    #[serde(flatten)]
    pub track: TrackView,
}

/// A track can no longer be received.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrackUnpublished {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The track that was removed.
    pub track_id: String,
    /// `participant_id` of its publisher.
    pub participant_id: String,
}

/// Simulcast layers of this device's track that have subscribers; the device may stop sending the
/// others.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrackWanted {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// A track published by this device.
    pub track_id: String,
    /// Layers with at least one subscriber, lowest first.
    pub layers: Vec<RequestedLayer>,
}

/// The participants who currently speak.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ActiveSpeaker {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// `participant_id`s, loudest first.
    pub participant_ids: Vec<String>,
}

/// The media topology changed: connect to the server, and close the previous connection once media
/// plays on the new one.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CallMode {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The new topology.
    pub mode: CallTopology,
}

/// The SFU room was created anew: open a new connection to the server and send a new offer.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CallMoved {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// New epoch of the SFU room.
    pub epoch: u64,
}

/// Connection quality, sent to the participant it is about; see [`ParticipantQuality`].
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallQuality {
    /// The call this refers to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Measurements of this device's media.
    #[serde(flatten)]
    pub quality: ParticipantQuality,
}
