//! Errors of calls.

use std::borrow::Cow;

use base::error::CodedError;
use serde::{Deserialize, Serialize};

use crate::cluster::{DirectoryError, RateLimitError};

/// Error of the call service. It is serialized between nodes, so variant names are a wire format.
#[derive(Clone, Debug, thiserror::Error, CodedError, Serialize, Deserialize)]
pub enum CallError {
    /// The target is neither a user nor a conversation, or both.
    #[error("give either `user_id` or `conversation_id`")]
    #[serde(rename = "OneOf")]
    #[code("calls/ambiguous-target", Invalid)]
    AmbiguousTarget,
    /// Not a valid session name.
    #[error("a session's name has 1 to 128 letters, digits, or - _ . : @")]
    #[serde(rename = "BadSession")]
    #[code("calls/invalid-session-id", Invalid)]
    InvalidSessionId,
    /// The call does not exist, or the caller may not know of it.
    #[error("call not found")]
    #[serde(rename = "NoSuchCall")]
    #[code("calls/call-not-found", NotFound)]
    CallNotFound,
    /// The caller is not a participant.
    #[error("you are not in this call: send `join_call` first")]
    #[code("calls/not-in-call", Conflict)]
    NotInCall,
    /// No participant has this id.
    #[error("participant not found")]
    #[serde(rename = "NoSuchParticipant")]
    #[code("calls/participant-not-found", NotFound)]
    ParticipantNotFound,
    /// No published track has this id.
    #[error("track not found")]
    #[serde(rename = "NoSuchTrack")]
    #[code("calls/track-not-found", NotFound)]
    TrackNotFound,
    /// The call does not ring for this user (any more).
    #[error("this call is not ringing for you")]
    #[code("calls/not-ringing", Conflict)]
    NotRinging,
    /// The callee is already invited or in the call.
    #[error("this user is already in the call or being called")]
    #[serde(rename = "Already")]
    #[code("calls/already-invited", Conflict)]
    AlreadyInvited,
    /// The callee is in another call.
    #[error("this user is in another call")]
    #[serde(rename = "Busy")]
    #[code("calls/callee-busy", Conflict)]
    CalleeBusy,
    /// Contact rules do not allow the call.
    #[error("you may not call this user")]
    #[serde(rename = "NotReachable")]
    #[code("calls/callee-not-reachable", Forbidden)]
    CalleeNotReachable,
    /// The caller lacks the permission for this action.
    #[error("you may not do this in this call")]
    #[code("calls/not-allowed", Forbidden)]
    NotAllowed,
    /// No user has this id.
    #[error("user not found")]
    #[serde(rename = "NoSuchPerson")]
    #[code("calls/user-not-found", NotFound)]
    UserNotFound,
    /// The conversation does not exist, or the caller is not a member.
    #[error("conversation not found")]
    #[serde(rename = "NoSuchConversation")]
    #[code("calls/conversation-not-found", NotFound)]
    ConversationNotFound,
    /// The maximum number of devices in the call is reached.
    #[error("this call is full")]
    #[serde(rename = "Full")]
    #[code("calls/participant-limit-reached", Conflict)]
    ParticipantLimitReached,
    /// The maximum number of calls or participants on this node is reached.
    #[error("this server has reached its maximum number of calls: try again later")]
    #[serde(rename = "TooManyCalls")]
    #[code("calls/node-capacity-reached", Unavailable, retry_after = 30)]
    NodeCapacityReached,
    /// The maximum number of calls started by one user is reached.
    #[error("you have reached the maximum number of calls per user: end one first")]
    #[serde(rename = "TooManyOwn")]
    #[code("calls/user-limit-reached", RateLimited, retry_after = 30)]
    UserLimitReached,
    /// The same user was called too often.
    #[error(transparent)]
    #[serde(rename = "TooOften")]
    #[code(transparent)]
    RateLimited(RateLimitError),
    /// The offer cannot be answered; carries the reason.
    #[error("this offer cannot be answered: {0}")]
    #[serde(rename = "BadOffer")]
    #[code("calls/invalid-offer", Invalid)]
    InvalidOffer(Cow<'static, str>),
    /// The socket was opened with a call token.
    #[error("this socket is limited to one call")]
    #[serde(rename = "CallOnly")]
    #[code("calls/token-limited-to-call", Forbidden)]
    TokenLimitedToCall,
    /// The call token is invalid or expired.
    #[error("this call token is not valid")]
    #[code("auth/invalid-token", Unauthenticated)]
    InvalidToken,
    /// The room is restarting or overloaded.
    #[error("the call is temporarily unavailable: try again")]
    #[code("calls/unavailable", Unavailable, retry_after = 1)]
    Unavailable,
    /// The call is now on another node.
    #[error("the call is moving to another node: try again")]
    #[serde(rename = "Moved")]
    #[code("calls/migrating", Unavailable, retry_after = 1)]
    Migrating,
    /// An internal error; the text is logged, not sent to the client.
    #[error("{0}")]
    #[serde(skip)]
    #[code("internal", Internal)]
    Internal(String),
    /// A database error.
    #[error(transparent)]
    #[serde(skip)]
    #[code(transparent)]
    Store(#[from] store::StoreError),
}

impl From<RateLimitError> for CallError {
    fn from(error: RateLimitError) -> Self {
        Self::RateLimited(error)
    }
}

impl From<DirectoryError> for CallError {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::NotAlive => Self::Unavailable,
            DirectoryError::Store(error) => Self::Store(error),
        }
    }
}

impl CallError {
    /// Replaces internal details before the error is sent to another node.
    pub fn without_internals(self) -> Self {
        match self {
            Self::Internal(_) | Self::Store(_) => {
                tracing::warn!(error = %self, "call request of another node failed");
                Self::Unavailable
            }
            other => other,
        }
    }
}
