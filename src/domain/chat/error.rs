//! Errors of conversations and messages.

use base::error::{CodedError, ErrorKind};

/// Error of the chat service.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ChatError {
    /// A direct conversation needs exactly one other user and no title.
    #[error("a direct conversation has exactly one other member and no title")]
    InvalidDirect,
    /// The member limit of a group is reached; carries the limit.
    #[error("a group has at most {0} members")]
    MemberLimitReached(usize),
    /// The title is empty, too long, or has control characters.
    #[error("a title has 1 to 200 characters")]
    InvalidTitle,
    /// Unencrypted conversations are disabled by `chat.allow_unencrypted`.
    #[error("only end-to-end encrypted conversations are allowed")]
    PlaintextForbidden,
    /// The message body is empty or too long; carries the limit in bytes.
    #[error("a message has 1 to {0} bytes")]
    InvalidBody(usize),
    /// The idempotency key is invalid.
    #[error("a client_id has 1 to 64 visible ASCII characters")]
    InvalidClientId,
    /// The sequence number is negative.
    #[error("seq must be 0 or greater")]
    InvalidSeq,
    /// `after` and `before` were both given.
    #[error("give `after` or `before`, not both")]
    AmbiguousRange,
    /// Contact rules or a block forbid it.
    #[error("you may not write to this user")]
    RecipientNotReachable,
    /// The member's role does not permit the action.
    #[error("your role in this conversation does not allow it")]
    NotAllowed,
    /// The conversation does not exist, or the caller is not a member.
    #[error("conversation not found")]
    ConversationNotFound,
    /// The message replied to does not exist in the conversation.
    #[error("the message to reply to was not found")]
    ReplyTargetNotFound,
    /// The attachment does not exist or is not visible to the sender.
    #[error("attachment not found")]
    AttachmentNotFound,
    /// Too many attachments; carries the limit.
    #[error("a message has at most {0} attachments")]
    AttachmentLimitReached(usize),
    /// No user has this id.
    #[error("user not found")]
    UserNotFound,
    /// The reaction is not exactly one emoji.
    #[error("a reaction is one emoji")]
    InvalidReaction,
    /// Too many users are mentioned.
    #[error("a message mentions at most 50 users")]
    InvalidMentions,
    /// The message lifetime is out of range.
    #[error("messages expire after 1 second to one year, or (0, for a conversation) never")]
    InvalidExpiry,
    /// `forward_of` was given together with a body or attachments.
    #[error("a forwarded message has no body of its own")]
    InvalidForward,
    /// The search text is empty or too long.
    #[error("a search has 1 to 200 characters with at least one letter or digit")]
    InvalidSearch,
    /// Validity or number of uses is out of range.
    #[error("an invite is valid for a minute up to the server's maximum and for 1 to 100000 uses")]
    InvalidInvite,
    /// The mute duration is out of range.
    #[error("a conversation can be muted for 0 seconds to ten years")]
    InvalidMemberSettings,
    /// The patch contains no fields.
    #[error("the request changes nothing: give at least one field")]
    EmptyPatch,
    /// The time window for an edit or deletion has passed.
    #[error("the time limit for this change has passed")]
    ChangeWindowExpired,
    /// A limit of reactions, pins, edits or invites is reached.
    #[error("the maximum number is reached")]
    LimitReached,
    /// The message does not exist or is not visible to the caller.
    #[error("message not found")]
    MessageNotFound,
    /// A mentioned user is not a member.
    #[error("a mentioned user is not in this conversation")]
    MentionNotFound,
    /// The message to forward is not visible to the sender, or one of the conversations is
    /// encrypted.
    #[error("the message to forward was not found")]
    ForwardSourceNotFound,
    /// The invite is unknown, used up, expired or revoked.
    #[error("invite not found or no longer valid")]
    InviteNotFound,
    /// The chat shard is overloaded or restarting.
    #[error("the server is overloaded: send the message again with the same client_id")]
    Overloaded,
    /// A database error.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl CodedError for ChatError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidDirect
            | Self::MemberLimitReached(_)
            | Self::InvalidTitle
            | Self::InvalidBody(_)
            | Self::AttachmentLimitReached(_)
            | Self::InvalidClientId
            | Self::InvalidSeq
            | Self::AmbiguousRange
            | Self::InvalidReaction
            | Self::InvalidMentions
            | Self::InvalidExpiry
            | Self::InvalidForward
            | Self::InvalidSearch
            | Self::InvalidInvite
            | Self::InvalidMemberSettings
            | Self::EmptyPatch => ErrorKind::Invalid,
            Self::PlaintextForbidden | Self::RecipientNotReachable | Self::NotAllowed => {
                ErrorKind::Forbidden
            }
            Self::ChangeWindowExpired | Self::LimitReached => ErrorKind::Conflict,
            Self::ConversationNotFound
            | Self::ReplyTargetNotFound
            | Self::AttachmentNotFound
            | Self::UserNotFound
            | Self::MessageNotFound
            | Self::MentionNotFound
            | Self::ForwardSourceNotFound
            | Self::InviteNotFound => ErrorKind::NotFound,
            Self::Overloaded => ErrorKind::Unavailable,
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InvalidDirect => "chat/invalid-direct",
            Self::MemberLimitReached(_) => "chat/member-limit-reached",
            Self::InvalidTitle => "chat/invalid-title",
            Self::PlaintextForbidden => "chat/plaintext-forbidden",
            Self::InvalidBody(_) => "chat/invalid-body",
            Self::InvalidClientId => "chat/invalid-client-id",
            Self::InvalidSeq => "chat/invalid-seq",
            Self::AmbiguousRange => "chat/ambiguous-range",
            Self::RecipientNotReachable => "chat/recipient-not-reachable",
            Self::NotAllowed => "chat/not-allowed",
            Self::ConversationNotFound => "chat/conversation-not-found",
            Self::ReplyTargetNotFound => "chat/reply-target-not-found",
            Self::AttachmentNotFound => "chat/attachment-not-found",
            Self::AttachmentLimitReached(_) => "chat/attachment-limit-reached",
            Self::UserNotFound => "chat/person-not-found",
            Self::InvalidReaction => "chat/invalid-reaction",
            Self::InvalidMentions => "chat/invalid-mentions",
            Self::InvalidExpiry => "chat/invalid-expiry",
            Self::InvalidForward => "chat/invalid-forward",
            Self::InvalidSearch => "chat/invalid-search",
            Self::InvalidInvite => "chat/invalid-invite",
            Self::InvalidMemberSettings => "chat/invalid-member-settings",
            Self::EmptyPatch => "chat/empty-patch",
            Self::ChangeWindowExpired => "chat/change-window-expired",
            Self::LimitReached => "chat/limit-reached",
            Self::MessageNotFound => "chat/message-not-found",
            Self::MentionNotFound => "chat/mention-not-found",
            Self::ForwardSourceNotFound => "chat/forward-source-not-found",
            Self::InviteNotFound => "chat/invite-not-found",
            Self::Overloaded => "chat/overloaded",
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Overloaded => Some(1),
            Self::Store(e) => e.retry_after(),
            _ => None,
        }
    }
}
