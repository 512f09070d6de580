//! Errors of calls.

use std::borrow::Cow;

use base::error::{CodedError, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::cluster::{DirectoryError, RateLimitError};

/// Error of the call service. It is serialized between nodes, so variant names are a wire format.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum CallError {
    /// The target is neither a user nor a conversation, or both.
    #[error("give either `user_id` or `conversation_id`")]
    #[serde(rename = "OneOf")]
    AmbiguousTarget,
    /// Not a valid session name.
    #[error("a session's name has 1 to 128 letters, digits, or - _ . : @")]
    #[serde(rename = "BadSession")]
    InvalidSessionId,
    /// The call does not exist, or the caller may not know of it.
    #[error("call not found")]
    #[serde(rename = "NoSuchCall")]
    CallNotFound,
    /// The caller is not a participant.
    #[error("you are not in this call: send `join_call` first")]
    NotInCall,
    /// No participant has this id.
    #[error("participant not found")]
    #[serde(rename = "NoSuchParticipant")]
    ParticipantNotFound,
    /// No published track has this id.
    #[error("track not found")]
    #[serde(rename = "NoSuchTrack")]
    TrackNotFound,
    /// The call does not ring for this user (any more).
    #[error("this call is not ringing for you")]
    NotRinging,
    /// The callee is already invited or in the call.
    #[error("this user is already in the call or being called")]
    #[serde(rename = "Already")]
    AlreadyInvited,
    /// The callee is in another call.
    #[error("this user is in another call")]
    #[serde(rename = "Busy")]
    CalleeBusy,
    /// Contact rules do not allow the call.
    #[error("you may not call this user")]
    #[serde(rename = "NotReachable")]
    CalleeNotReachable,
    /// The caller lacks the permission for this action.
    #[error("you may not do this in this call")]
    NotAllowed,
    /// No user has this id.
    #[error("user not found")]
    #[serde(rename = "NoSuchPerson")]
    UserNotFound,
    /// The conversation does not exist, or the caller is not a member.
    #[error("conversation not found")]
    #[serde(rename = "NoSuchConversation")]
    ConversationNotFound,
    /// The maximum number of devices in the call is reached.
    #[error("this call is full")]
    #[serde(rename = "Full")]
    ParticipantLimitReached,
    /// The maximum number of calls or participants on this node is reached.
    #[error("this server has reached its maximum number of calls: try again later")]
    #[serde(rename = "TooManyCalls")]
    NodeCapacityReached,
    /// The maximum number of calls started by one user is reached.
    #[error("you have reached the maximum number of calls per user: end one first")]
    #[serde(rename = "TooManyOwn")]
    UserLimitReached,
    /// The same user was called too often.
    #[error(transparent)]
    #[serde(rename = "TooOften")]
    RateLimited(RateLimitError),
    /// The offer cannot be answered; carries the reason.
    #[error("this offer cannot be answered: {0}")]
    #[serde(rename = "BadOffer")]
    InvalidOffer(Cow<'static, str>),
    /// The socket was opened with a call token.
    #[error("this socket is limited to one call")]
    #[serde(rename = "CallOnly")]
    TokenLimitedToCall,
    /// The call token is invalid or expired.
    #[error("this call token is not valid")]
    InvalidToken,
    /// The room is restarting or overloaded.
    #[error("the call is temporarily unavailable: try again")]
    Unavailable,
    /// The call is now on another node.
    #[error("the call is moving to another node: try again")]
    #[serde(rename = "Moved")]
    Migrating,
    /// An internal error; the text is logged, not sent to the client.
    #[error("{0}")]
    #[serde(skip)]
    Internal(String),
    /// A database error.
    #[error(transparent)]
    #[serde(skip)]
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

impl CodedError for CallError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::AmbiguousTarget | Self::InvalidSessionId | Self::InvalidOffer(_) => {
                ErrorKind::Invalid
            }
            Self::CallNotFound
            | Self::ParticipantNotFound
            | Self::TrackNotFound
            | Self::UserNotFound
            | Self::ConversationNotFound => ErrorKind::NotFound,
            Self::NotInCall
            | Self::NotRinging
            | Self::AlreadyInvited
            | Self::CalleeBusy
            | Self::ParticipantLimitReached => ErrorKind::Conflict,
            Self::UserLimitReached => ErrorKind::RateLimited,
            Self::RateLimited(e) => e.kind(),
            Self::CalleeNotReachable | Self::NotAllowed | Self::TokenLimitedToCall => {
                ErrorKind::Forbidden
            }
            Self::InvalidToken => ErrorKind::Unauthenticated,
            Self::NodeCapacityReached | Self::Unavailable | Self::Migrating => {
                ErrorKind::Unavailable
            }
            Self::Internal(_) => ErrorKind::Internal,
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::AmbiguousTarget => "calls/ambiguous-target",
            Self::InvalidSessionId => "calls/invalid-session-id",
            Self::CallNotFound => "calls/call-not-found",
            Self::NotInCall => "calls/not-in-call",
            Self::ParticipantNotFound => "calls/participant-not-found",
            Self::TrackNotFound => "calls/track-not-found",
            Self::NotRinging => "calls/not-ringing",
            Self::AlreadyInvited => "calls/already-invited",
            Self::CalleeBusy => "calls/callee-busy",
            Self::CalleeNotReachable => "calls/callee-not-reachable",
            Self::NotAllowed => "calls/not-allowed",
            Self::UserNotFound => "calls/person-not-found",
            Self::ConversationNotFound => "calls/conversation-not-found",
            Self::ParticipantLimitReached => "calls/participant-limit-reached",
            Self::NodeCapacityReached => "calls/node-capacity-reached",
            Self::UserLimitReached => "calls/user-limit-reached",
            Self::RateLimited(e) => e.code(),
            Self::InvalidOffer(_) => "calls/invalid-offer",
            Self::TokenLimitedToCall => "calls/token-limited-to-call",
            Self::InvalidToken => "auth/invalid-token",
            Self::Unavailable => "calls/unavailable",
            Self::Migrating => "calls/migrating",
            Self::Internal(_) => "internal",
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::NodeCapacityReached | Self::UserLimitReached => Some(30),
            Self::RateLimited(e) => e.retry_after(),
            Self::Unavailable | Self::Migrating => Some(1),
            Self::Store(e) => e.retry_after(),
            _ => None,
        }
    }
}
