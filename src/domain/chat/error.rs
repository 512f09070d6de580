//! Why something in a conversation was not done.

use base::error::{CodedError, ErrorKind};

/// The one error of this area.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChatError {
    /// A direct conversation has exactly one other person.
    #[error("a direct conversation has exactly one other member and no title")]
    BadDirect,
    /// Too many people.
    #[error("a group has at most {0} members")]
    TooManyMembers(usize),
    /// A title that is too long or has control characters.
    #[error("a title has 1 to 200 characters")]
    BadTitle,
    /// `chat.allow_unencrypted` is off.
    #[error("only end-to-end encrypted conversations are allowed here")]
    PlaintextForbidden,
    /// Empty or too long.
    #[error("a message has 1 to {0} bytes")]
    BadBody(usize),
    /// Not chosen well.
    #[error("a client_id has 1 to 64 visible ASCII characters")]
    BadClientId,
    /// A position below zero.
    #[error("a seq is 0 or more")]
    BadSeq,
    /// `after` and `before` exclude each other.
    #[error("give `after` or `before`, not both")]
    BadRange,
    /// The rules of contacts forbid it.
    #[error("you may not write to this person")]
    NotReachable,
    /// The member may not do this.
    #[error("your role in this conversation does not allow it")]
    NotAllowed,
    /// No such conversation, or the asker is not in it.
    #[error("there is no such conversation")]
    NoSuchConversation,
    /// The message answered does not exist here.
    #[error("there is no such message to reply to")]
    NoSuchReply,
    /// A file to send does not exist, as far as the sender may know.
    #[error("there is no such file to send")]
    NoSuchAttachment,
    /// Too many files.
    #[error("a message carries at most {0} files")]
    TooManyAttachments(usize),
    /// Nobody of this id.
    #[error("there is no such person")]
    NoSuchPerson,
    /// Not one emoji.
    #[error("a reaction is one emoji")]
    BadReaction,
    /// Too many people.
    #[error("a message mentions at most 50 people")]
    BadMentions,
    /// Too short or too long.
    #[error("messages disappear after 1 second to a year, or (0, for a conversation) never")]
    BadExpiry,
    /// A body beside `forward_of`.
    #[error("a message that is passed on has no body of its own")]
    BadForward,
    /// Nothing to look for.
    #[error("a search has 1 to 200 characters with at least one letter or digit")]
    BadSearch,
    /// Too short, too long, or no uses.
    #[error(
        "an invite is good for a minute or longer, as long as the server allows, and for 1 to 100000 uses"
    )]
    BadInvite,
    /// Too long, or below zero.
    #[error("a conversation is muted for 0 seconds to ten years")]
    BadKeeping,
    /// An empty change.
    #[error("say what is to change")]
    NothingToChange,
    /// The time for an edit or a deletion is over.
    #[error("it is too late for that")]
    TooLate,
    /// Reactions, pins, edits or invites.
    #[error("there are as many as there may be")]
    TooMany,
    /// No such message for whoever asks.
    #[error("there is no such message")]
    NoSuchMessage,
    /// Somebody who is not a member.
    #[error("somebody mentioned is not in this conversation")]
    NoSuchMention,
    /// Not there for its sender, or encrypted, here or there.
    #[error("there is no such message to pass on")]
    NoSuchForward,
    /// Unknown, used up, over or taken back.
    #[error("there is no such invite, or it is over")]
    NoSuchInvite,
    /// Too much is being said, or the lane starts anew.
    #[error("the server cannot take the message just now: send it again with the same client_id")]
    Busy,
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl CodedError for ChatError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadDirect
            | Self::TooManyMembers(_)
            | Self::BadTitle
            | Self::BadBody(_)
            | Self::TooManyAttachments(_)
            | Self::BadClientId
            | Self::BadSeq
            | Self::BadRange
            | Self::BadReaction
            | Self::BadMentions
            | Self::BadExpiry
            | Self::BadForward
            | Self::BadSearch
            | Self::BadInvite
            | Self::BadKeeping
            | Self::NothingToChange => ErrorKind::Invalid,
            Self::PlaintextForbidden | Self::NotReachable | Self::NotAllowed => {
                ErrorKind::Forbidden
            }
            Self::TooLate | Self::TooMany => ErrorKind::Conflict,
            Self::NoSuchConversation
            | Self::NoSuchReply
            | Self::NoSuchAttachment
            | Self::NoSuchPerson
            | Self::NoSuchMessage
            | Self::NoSuchMention
            | Self::NoSuchForward
            | Self::NoSuchInvite => ErrorKind::NotFound,
            Self::Busy => ErrorKind::Unavailable,
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadDirect => "chat/invalid-direct",
            Self::TooManyMembers(_) => "chat/member-limit-reached",
            Self::BadTitle => "chat/invalid-title",
            Self::PlaintextForbidden => "chat/plaintext-forbidden",
            Self::BadBody(_) => "chat/invalid-body",
            Self::BadClientId => "chat/invalid-client-id",
            Self::BadSeq => "chat/invalid-seq",
            Self::BadRange => "chat/ambiguous-range",
            Self::NotReachable => "chat/recipient-not-reachable",
            Self::NotAllowed => "chat/not-allowed",
            Self::NoSuchConversation => "chat/conversation-not-found",
            Self::NoSuchReply => "chat/reply-target-not-found",
            Self::NoSuchAttachment => "chat/attachment-not-found",
            Self::TooManyAttachments(_) => "chat/attachment-limit-reached",
            Self::NoSuchPerson => "chat/person-not-found",
            Self::BadReaction => "chat/invalid-reaction",
            Self::BadMentions => "chat/invalid-mentions",
            Self::BadExpiry => "chat/invalid-expiry",
            Self::BadForward => "chat/invalid-forward",
            Self::BadSearch => "chat/invalid-search",
            Self::BadInvite => "chat/invalid-invite",
            Self::BadKeeping => "chat/invalid-member-settings",
            Self::NothingToChange => "chat/empty-patch",
            Self::TooLate => "chat/change-window-expired",
            Self::TooMany => "chat/limit-reached",
            Self::NoSuchMessage => "chat/message-not-found",
            Self::NoSuchMention => "chat/mention-not-found",
            Self::NoSuchForward => "chat/forward-source-not-found",
            Self::NoSuchInvite => "chat/invite-not-found",
            Self::Busy => "chat/overloaded",
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Busy => Some(1),
            Self::Store(e) => e.retry_after(),
            _ => None,
        }
    }
}
