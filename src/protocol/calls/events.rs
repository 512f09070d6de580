//! What devices are told of calls.

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    CallEndReason, CallMedia, CallTopology, IceServer, ParticipantQuality, ParticipantView,
    RequestedLayer, TrackView,
};
use crate::protocol::server::UserSummary;

/// The reply to `start_call`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CallStarted {
    /// Which call: a new one, or the one that was going on between these people.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// How media travels.
    pub mode: CallTopology,
    /// How long devices ring, in seconds.
    pub ring_timeout: u64,
}

/// Somebody calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncomingCall {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Who calls.
    pub from: UserSummary,
    /// What it begins as.
    pub media: CallMedia,
    /// The conversation it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<ConversationId>,
    /// Until when it rings.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Somebody answered (`call_answered`) or said no (`call_declined`): other devices stop ringing.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CallAnswered {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// The call is over, or for this device or person it is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CallEnded {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Why.
    pub reason: CallEndReason,
}

/// The reply to `join_call`, and an event as well.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallJoined {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The name by which it was entered.
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What this device is called in it.
    pub participant_id: String,
    /// How media travels.
    pub mode: CallTopology,
    /// Which life of the room this is; it grows when the room starts anew.
    pub epoch: u64,
    /// Everybody else.
    pub participants: Vec<ParticipantView>,
    /// What can be received.
    pub tracks: Vec<TrackView>,
    /// Servers that help to connect.
    pub ice_servers: Vec<IceServer>,
}

/// Somebody came in (`participant_joined`) or changed (`participant_updated`).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParticipantChanged {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Who, as they are now.
    #[serde(flatten)]
    pub participant: ParticipantView,
}

/// Somebody went out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ParticipantLeft {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Who.
    pub participant_id: String,
    /// Whose device it was.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// A session description from another participant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RelayedDescription {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// From whom.
    pub from: String,
    /// As they sent it.
    pub sdp: String,
}

/// A candidate from another participant.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RelayedCandidate {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// From whom.
    pub from: String,
    /// As they sent it.
    pub candidate: Value,
}

/// The server's answer to an offer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServerAnswer {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Which life of the room answers.
    pub epoch: u64,
    /// The session description.
    pub sdp: String,
}

/// Something can be received.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrackPublished {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// What.
    #[serde(flatten)]
    pub track: TrackView,
}

/// Something can no longer be received.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrackUnpublished {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// What.
    pub track_id: String,
    /// Who published it.
    pub participant_id: String,
}

/// Which layers of this device's track anybody watches; the others need not be sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrackWanted {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Which track.
    pub track_id: String,
    /// What is watched, lowest first.
    pub layers: Vec<RequestedLayer>,
}

/// Who speaks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ActiveSpeaker {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The loudest first.
    pub participant_ids: Vec<String>,
}

/// Media travels another way from now on: connect to the server, and let go of the old way when
/// the new one plays.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CallMode {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// How.
    pub mode: CallTopology,
}

/// The room started anew: make a new connection to the server and offer again.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CallMoved {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Which life of the room it is now.
    pub epoch: u64,
}

/// See [`ParticipantQuality`]; to the participant itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CallQuality {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// How this device's media travels.
    #[serde(flatten)]
    pub quality: ParticipantQuality,
}
