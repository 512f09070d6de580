//! What can be looked up about calls, and the tokens that open them.

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
use crate::protocol::server::UserSummary;

/// Asks for a token that opens one call.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewCallToken {
    /// For whom: oneself, unless a service asks.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// The name of the session: people with tokens for the same name meet.
    #[schema(min_length = 1, max_length = 128)]
    pub session_id: String,
    /// `participant`, or `moderator`, which only a service can give.
    pub role: Option<CallRole>,
}

/// A token that opens one call.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallToken {
    /// For `authenticate`.
    #[schema(value_type = String)]
    pub token: Secret<String>,
    /// For `join_call`.
    pub session_id: String,
    /// Until when a socket may be opened with it.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Servers that help to connect.
    pub ice_servers: Vec<IceServer>,
}

/// A call that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActiveCall {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The name by which it is entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// How media travels.
    pub mode: CallTopology,
    /// How many devices are in it.
    pub participants: usize,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
}

/// What goes on here.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallStats {
    /// The calls that the asker may see: their own, or all for operators and services.
    pub active_calls: Vec<ActiveCall>,
    /// How many there are in all.
    pub total_active_calls: usize,
    /// People with an open socket.
    pub connected_users: usize,
}

/// A call in a person's history.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PastCall {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The conversation it belonged to.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<ConversationId>,
    /// The name by which it was entered.
    pub session_id: Option<String>,
    /// Who began it.
    pub from: UserSummary,
    /// What it began as.
    pub media: CallMedia,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When somebody answered.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub answered_at: Option<Timestamp>,
    /// When it ended; `null` while it goes on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Why it ended.
    pub reason: Option<CallEndReason>,
    /// Everybody it concerned.
    pub people: Vec<PastParticipant>,
}

/// What became of somebody in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// Their devices ring.
    Called,
    /// They were in it.
    Joined,
    /// They said no.
    Declined,
    /// They were in another call.
    Busy,
    /// They did not answer.
    Missed,
}

/// Somebody in a past call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PastParticipant {
    /// Who.
    #[serde(flatten)]
    pub person: UserSummary,
    /// What became of them.
    pub outcome: CallOutcome,
    /// When they first came in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub joined_at: Option<Timestamp>,
    /// When they last went out.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub left_at: Option<Timestamp>,
}

/// A call as operators see it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The name by which it is entered.
    pub session_id: Option<String>,
    /// How media travels.
    pub mode: CallTopology,
    /// Which life of the room it is.
    pub epoch: u64,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Where it stands in the supervision tree.
    pub path: String,
    /// Everybody in it.
    pub participants: Vec<ParticipantView>,
    /// How their media travelled lately, by `participant_id`.
    pub quality: HashMap<String, ParticipantQuality>,
}
