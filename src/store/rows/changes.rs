//! Actions on messages after they were sent.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{MessageId, UserId};
use diesel::prelude::Queryable;

use super::MessageWithDetails;

/// An earlier text of a message.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct MessageEditRow {
    /// The earlier text.
    pub body: String,
    /// Time when it was replaced.
    pub edited_at: Timestamp,
}

/// An action on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageAction {
    /// Replaces the text; the mentions stay if none are given.
    Edit {
        /// The new text.
        body: String,
        /// Users mentioned in the new text.
        mentions: Option<Vec<UserId>>,
    },
    /// Adds an emoji reaction.
    React(String),
    /// Removes an emoji reaction.
    Unreact(String),
    /// Pins the message.
    Pin,
    /// Unpins the message.
    Unpin,
    /// Deletes it for everybody.
    Delete,
    /// Hides it from the acting user only.
    Hide,
}

/// An action to be applied to a message.
#[derive(Clone, Debug)]
pub struct MessageActionRequest {
    /// The acting user.
    pub by: UserId,
    /// The message to act on.
    pub message: MessageId,
    pub action: MessageAction,
}

/// Limits of message actions.
#[derive(Clone, Copy, Debug)]
pub struct MessageActionLimits {
    /// How long after sending a message may be edited.
    pub edit_window: Duration,
    /// How long after sending its sender may delete it for everybody.
    pub delete_window: Duration,
    /// Maximum number of different emoji on a message.
    pub max_emoji: i64,
    /// Maximum number of different emoji of one user on a message.
    pub max_emoji_per_user: i64,
    /// Maximum number of pinned messages in a conversation.
    pub max_pins: i64,
    /// Maximum number of edits of a message.
    pub max_edits: i64,
}

/// Result of a message action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageActionOutcome {
    /// The message changed.
    Done {
        /// The conversation's membership version.
        roster: i64,
        /// The revision of the change.
        revision: i64,
        /// The message after the change.
        current: MessageWithDetails,
        /// Members who cannot see it: it was sent before they joined, they hid it, or it is
        /// withheld from them. In a direct conversation where the other user blocks the acting one,
        /// both: it only looks done.
        hidden_from: Vec<UserId>,
    },
    /// Nothing to change: it was so already.
    Unchanged(MessageWithDetails),
    /// The acting user is in no such conversation.
    NotAMember,
    /// The acting user cannot see such a message.
    NotFound,
    /// The acting user lacks the right.
    NotAllowed,
    /// The acting user blocks the other user of a direct conversation.
    Blocked,
    /// The time window of the action is over.
    TooLate,
    /// The text was edited [`MessageActionLimits::max_edits`] times.
    EditLimitReached,
    /// The acting user has given [`MessageActionLimits::max_emoji_per_user`] reactions.
    ReactionLimitReached,
    /// The message has [`MessageActionLimits::max_emoji`] different reactions.
    EmojiLimitReached,
    /// The conversation has [`MessageActionLimits::max_pins`] pinned messages.
    PinLimitReached,
    /// A mentioned user is not in the conversation.
    MentionNotFound,
}

/// A change to a message, for a device that missed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevisedMessage {
    /// The message after the change.
    Message(Box<MessageWithDetails>),
    /// The viewer hid it.
    Hidden {
        message: MessageId,
        /// Its sequence number.
        seq: i64,
        /// The revision of the change.
        revision: i64,
    },
}

impl RevisedMessage {
    /// The revision number of the change.
    pub const fn revision(&self) -> i64 {
        match self {
            Self::Message(shown) => shown.message.revision,
            Self::Hidden { revision, .. } => *revision,
        }
    }
}
