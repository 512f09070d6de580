//! Call records and call tokens.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, UserId};
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    CallEndReason, CallMedia, CallRole, CallTopology, IceServer, ParticipantQuality,
    ParticipantView,
};
use crate::protocol::users::UserSummary;

/// Requests a token for one call.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewCallToken {
    /// The token's user: the caller, or any user if a service requests it.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Name of the session, 1 to 128 characters. Holders of tokens for the same name join the same
    /// call.
    #[schema(min_length = 1, max_length = 128)]
    pub session_id: String,
    /// `participant` (default), or `moderator`, which only a service may grant.
    pub role: Option<CallRole>,
}

/// A token that gives access to one call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallToken {
    /// Token for the event `authenticate`.
    #[schema(value_type = String)]
    pub token: Secret<String>,
    /// Session name for `join_call`.
    pub session_id: String,
    /// The token opens sockets until this time.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// STUN and TURN servers to use.
    pub ice_servers: Vec<IceServer>,
}

/// A call in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveCall {
    /// Identifier of the call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Name of the session; absent for a call without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Media topology of the call.
    pub mode: CallTopology,
    /// Number of devices in the call.
    pub participants: usize,
    /// When the call started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
}

/// Calls in progress and connected users.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallStats {
    /// Calls visible to the requester: their own, or all for operators and services.
    pub active_calls: Vec<ActiveCall>,
    /// Number of calls in progress.
    pub total_active_calls: usize,
    /// Number of users with an open session.
    pub connected_users: usize,
}

/// A call in a user's history.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PastCall {
    /// Identifier of the call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The conversation the call belongs to; `null` if none.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<ConversationId>,
    /// Name of the session; `null` if none.
    pub session_id: Option<String>,
    /// User who started the call.
    pub from: UserSummary,
    /// Media the call started with.
    pub media: CallMedia,
    /// When the call started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When the first invitee answered; `null` if nobody did.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub answered_at: Option<Timestamp>,
    /// When the call ended; `null` while it is in progress.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Why the call ended; `null` while it is in progress.
    pub reason: Option<CallEndReason>,
    /// All users who were invited or took part.
    pub people: Vec<PastParticipant>,
}

/// Outcome of a call for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// The user's devices ring.
    Called,
    /// The user took part.
    Joined,
    /// The user declined.
    Declined,
    /// The user was in another call.
    Busy,
    /// The user did not answer.
    Missed,
}

/// A user in the record of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PastParticipant {
    /// The user's id and display name.
    #[serde(flatten)]
    pub person: UserSummary,
    /// Outcome of the call for this user.
    pub outcome: CallOutcome,
    /// When the user first joined; `null` if never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub joined_at: Option<Timestamp>,
    /// When the user last left; `null` if they did not join or are still in the call.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub left_at: Option<Timestamp>,
}

/// A call as operators see it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// Identifier of the call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Name of the session; `null` if none.
    pub session_id: Option<String>,
    /// Media topology of the call.
    pub mode: CallTopology,
    /// Epoch of the SFU room.
    pub epoch: u64,
    /// When the call started.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Path of the room's actor in the supervision tree.
    pub path: String,
    /// All current participants.
    pub participants: Vec<ParticipantView>,
    /// Most recent quality measurements by `participant_id`.
    pub quality: HashMap<String, ParticipantQuality>,
}
