//! Why something about a call was not done.

use std::borrow::Cow;

use base::error::{CodedError, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::cluster::{DirectoryError, RateLimitError};

/// The one error of this area; it travels between nodes.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum CallError {
    /// Neither a person nor a conversation, or both.
    #[error("name a person by `user_id` or a conversation, not both")]
    OneOf,
    /// Not a name of a session.
    #[error("a session's name has 1 to 128 letters, digits, or - _ . : @")]
    BadSession,
    /// No such call, or the asker may not know of it.
    #[error("there is no such call")]
    NoSuchCall,
    /// The asker does not take part.
    #[error("you do not take part in this call: `join_call` first")]
    NotInCall,
    /// Nobody of this name takes part.
    #[error("there is no such participant")]
    NoSuchParticipant,
    /// Nothing of this name is published.
    #[error("there is no such track")]
    NoSuchTrack,
    /// It does not ring (any more).
    #[error("this call does not ring for you")]
    NotRinging,
    /// They are called or in it.
    #[error("this person is in the call or being called")]
    Already,
    /// They are in another call.
    #[error("this person is in another call")]
    Busy,
    /// The rules of contacts forbid it.
    #[error("you may not call this person")]
    NotReachable,
    /// The asker may not do this here.
    #[error("you may not do this in this call")]
    NotAllowed,
    /// Nobody of this id.
    #[error("there is no such person")]
    NoSuchPerson,
    /// No such conversation, or the asker is not in it.
    #[error("there is no such conversation")]
    NoSuchConversation,
    /// As many devices as may be in one call.
    #[error("this call is full")]
    Full,
    /// As many calls, or devices in calls, as this node carries.
    #[error("this server carries as many calls as it can: try again later")]
    TooManyCalls,
    /// As many calls as one person may have begun.
    #[error("you have begun as many calls as one person may: end one first")]
    TooManyOwn,
    /// The same person was called too often.
    #[error(transparent)]
    TooOften(RateLimitError),
    /// An offer that cannot be answered; the text says why.
    #[error("this offer cannot be answered: {0}")]
    BadOffer(Cow<'static, str>),
    /// The socket was opened with a call token.
    #[error("this socket is for one call only")]
    CallOnly,
    /// Not a call token, or its time is over.
    #[error("this call token does not work")]
    InvalidToken,
    /// The room starts anew, or has too much to do.
    #[error("the call cannot answer just now: try again")]
    Unavailable,
    /// The call goes on at another node by now.
    #[error("the call has just moved: try again")]
    Moved,
    /// Our own mistake.
    #[error("{0}")]
    #[serde(skip)]
    Internal(String),
    /// The database.
    #[error(transparent)]
    #[serde(skip)]
    Store(#[from] store::StoreError),
}

impl From<RateLimitError> for CallError {
    fn from(refused: RateLimitError) -> Self {
        Self::TooOften(refused)
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
    /// As it is told to another node: what is wrong here is none of its business.
    pub fn travelling(self) -> Self {
        match self {
            Self::Internal(_) | Self::Store(_) => {
                tracing::warn!(error = %self, "a call could not be answered for another node");
                Self::Unavailable
            }
            other => other,
        }
    }
}

impl CodedError for CallError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OneOf | Self::BadSession | Self::BadOffer(_) => ErrorKind::Invalid,
            Self::NoSuchCall
            | Self::NoSuchParticipant
            | Self::NoSuchTrack
            | Self::NoSuchPerson
            | Self::NoSuchConversation => ErrorKind::NotFound,
            Self::NotInCall | Self::NotRinging | Self::Already | Self::Busy | Self::Full => {
                ErrorKind::Conflict
            }
            Self::TooManyOwn => ErrorKind::RateLimited,
            Self::TooOften(e) => e.kind(),
            Self::NotReachable | Self::NotAllowed | Self::CallOnly => ErrorKind::Forbidden,
            Self::InvalidToken => ErrorKind::Unauthenticated,
            Self::TooManyCalls | Self::Unavailable | Self::Moved => ErrorKind::Unavailable,
            Self::Internal(_) => ErrorKind::Internal,
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::OneOf => "calls/ambiguous-target",
            Self::BadSession => "calls/invalid-session-id",
            Self::NoSuchCall => "calls/call-not-found",
            Self::NotInCall => "calls/not-in-call",
            Self::NoSuchParticipant => "calls/participant-not-found",
            Self::NoSuchTrack => "calls/track-not-found",
            Self::NotRinging => "calls/not-ringing",
            Self::Already => "calls/already-invited",
            Self::Busy => "calls/callee-busy",
            Self::NotReachable => "calls/callee-not-reachable",
            Self::NotAllowed => "calls/not-allowed",
            Self::NoSuchPerson => "calls/person-not-found",
            Self::NoSuchConversation => "calls/conversation-not-found",
            Self::Full => "calls/participant-limit-reached",
            Self::TooManyCalls => "calls/node-capacity-reached",
            Self::TooManyOwn => "calls/user-limit-reached",
            Self::TooOften(e) => e.code(),
            Self::BadOffer(_) => "calls/invalid-offer",
            Self::CallOnly => "calls/token-limited-to-call",
            Self::InvalidToken => "auth/invalid-token",
            Self::Unavailable => "calls/unavailable",
            Self::Moved => "calls/migrating",
            Self::Internal(_) => "internal",
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyCalls | Self::TooManyOwn => Some(30),
            Self::TooOften(e) => e.retry_after(),
            Self::Unavailable | Self::Moved => Some(1),
            Self::Store(e) => e.retry_after(),
            _ => None,
        }
    }
}
