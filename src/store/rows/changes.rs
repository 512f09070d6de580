//! What happens to a message after it was said.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{MessageId, UserId};
use diesel::prelude::Queryable;

use super::MessageWithDetails;

/// What a message said before.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct MessageEditRow {
    /// What it said.
    pub body: String,
    /// Until when.
    pub edited_at: Timestamp,
}

/// Something done to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageAction {
    /// It says something else; mentions stay if they are not given.
    Edit {
        /// What it says.
        body: String,
        /// Whom it mentions.
        mentions: Option<Vec<UserId>>,
    },
    /// Somebody reacts.
    React(String),
    /// Somebody takes a reaction back.
    Unreact(String),
    /// It is pinned.
    Pin,
    /// It is pinned no longer.
    Unpin,
    /// It goes, for everybody.
    Delete,
    /// It goes, for whoever does it.
    Hide,
}

/// Who does what to which message.
#[derive(Clone, Debug)]
pub struct MessageActionRequest {
    /// Who.
    pub by: UserId,
    /// To which message.
    pub message: MessageId,
    /// What.
    pub deed: MessageAction,
}

/// What limits deeds.
#[derive(Clone, Copy, Debug)]
pub struct MessageActionLimits {
    /// How long after it was said a message may be edited.
    pub edit: Duration,
    /// How long after it was said its sender may delete it for everybody.
    pub delete: Duration,
    /// How many different emoji a message may have.
    pub emoji: i64,
    /// How many of them one person may give.
    pub emoji_each: i64,
    /// How many messages of a conversation may be pinned.
    pub pins: i64,
    /// How often a message may be edited.
    pub edits: i64,
}

/// What became of a deed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageActionOutcome {
    /// It is done.
    Done {
        /// The conversation's roster.
        roster: i64,
        /// The number of the change.
        revision: i64,
        /// The message now.
        shown: MessageWithDetails,
        /// Members who may not see it: it was said before they came, they hid it, or it is kept
        /// from them. If one of two blocks whoever asks, both: it only looks done.
        unseen: Vec<UserId>,
    },
    /// It was so already.
    Nothing(MessageWithDetails),
    /// Whoever asks is in no such conversation.
    NotAMember,
    /// There is no such message for whoever asks.
    NotFound,
    /// Whoever asks may not.
    NotAllowed,
    /// Whoever asks blocks the other one of a direct conversation.
    Blocked,
    /// The time for it is over.
    TooLate,
    /// There are as many as there may be.
    TooMany,
    /// Somebody mentioned is not in the conversation.
    NoSuchMention,
}

/// A change to a message, for somebody who has missed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevisedMessage {
    /// The message now.
    Message(Box<MessageWithDetails>),
    /// They deleted it for themselves.
    Hidden {
        /// Which.
        message: MessageId,
        /// Its number.
        seq: i64,
        /// The number of the change.
        revision: i64,
    },
}

impl RevisedMessage {
    /// The number of the change.
    pub const fn revision(&self) -> i64 {
        match self {
            Self::Message(shown) => shown.message.revision,
            Self::Hidden { revision, .. } => *revision,
        }
    }
}
