//! Errors of conversations and messages.

use base::error::CodedError;

/// Error of the chat service.
#[derive(Clone, Debug, thiserror::Error, CodedError)]
pub enum ChatError {
    /// A direct conversation needs exactly one other user and no title.
    #[error("a direct conversation has exactly one other member and no title")]
    #[code("chat/invalid-direct", Invalid)]
    InvalidDirect,
    /// The member limit of a group is reached; carries the limit.
    #[error("a group has at most {0} members")]
    #[code("chat/member-limit-reached", Invalid)]
    MemberLimitReached(usize),
    /// The title is empty, too long, or has control characters.
    #[error("a title has 1 to 200 characters")]
    #[code("chat/invalid-title", Invalid)]
    InvalidTitle,
    /// Unencrypted conversations are disabled by `chat.allow_unencrypted`.
    #[error("only end-to-end encrypted conversations are allowed")]
    #[code("chat/plaintext-forbidden", Forbidden)]
    PlaintextForbidden,
    /// The message body is empty or too long; carries the limit in bytes.
    #[error("a message has 1 to {0} bytes")]
    #[code("chat/invalid-body", Invalid)]
    InvalidBody(usize),
    /// The idempotency key is invalid.
    #[error("a client_id has 1 to 64 visible ASCII characters")]
    #[code("chat/invalid-client-id", Invalid)]
    InvalidClientId,
    /// The sequence number is negative.
    #[error("seq must be 0 or greater")]
    #[code("chat/invalid-seq", Invalid)]
    InvalidSeq,
    /// `after` and `before` were both given.
    #[error("give `after` or `before`, not both")]
    #[code("chat/ambiguous-range", Invalid)]
    AmbiguousRange,
    /// Contact rules or a block forbid it.
    #[error("you may not write to this user")]
    #[code("chat/recipient-not-reachable", Forbidden)]
    RecipientNotReachable,
    /// The member's role does not permit the action.
    #[error("your role in this conversation does not allow it")]
    #[code("chat/not-allowed", Forbidden)]
    NotAllowed,
    /// The conversation does not exist, or the caller is not a member.
    #[error("conversation not found")]
    #[code("chat/conversation-not-found", NotFound)]
    ConversationNotFound,
    /// The message replied to does not exist in the conversation.
    #[error("the message to reply to was not found")]
    #[code("chat/reply-target-not-found", NotFound)]
    ReplyTargetNotFound,
    /// The attachment does not exist or is not visible to the sender.
    #[error("attachment not found")]
    #[code("chat/attachment-not-found", NotFound)]
    AttachmentNotFound,
    /// Too many attachments; carries the limit.
    #[error("a message has at most {0} attachments")]
    #[code("chat/attachment-limit-reached", Invalid)]
    AttachmentLimitReached(usize),
    /// No user has this id.
    #[error("user not found")]
    #[code("chat/user-not-found", NotFound)]
    UserNotFound,
    /// The reaction is not exactly one emoji.
    #[error("a reaction is one emoji")]
    #[code("chat/invalid-reaction", Invalid)]
    InvalidReaction,
    /// Too many users are mentioned.
    #[error("a message mentions at most 50 users")]
    #[code("chat/invalid-mentions", Invalid)]
    InvalidMentions,
    /// The message lifetime is out of range.
    #[error("messages expire after 1 second to one year, or (0, for a conversation) never")]
    #[code("chat/invalid-expiry", Invalid)]
    InvalidExpiry,
    /// `forward_of` was given together with a body or attachments.
    #[error("a forwarded message has no body of its own")]
    #[code("chat/invalid-forward", Invalid)]
    InvalidForward,
    /// The search text is empty or too long.
    #[error("a search has 1 to 200 characters with at least one letter or digit")]
    #[code("chat/invalid-search", Invalid)]
    InvalidSearch,
    /// Validity or number of uses is out of range.
    #[error("an invite is valid for a minute up to the server's maximum and for 1 to 100000 uses")]
    #[code("chat/invalid-invite", Invalid)]
    InvalidInvite,
    /// The mute duration is out of range.
    #[error("a conversation can be muted for 0 seconds to ten years")]
    #[code("chat/invalid-member-settings", Invalid)]
    InvalidMemberSettings,
    /// The patch contains no fields.
    #[error("the request changes nothing: give at least one field")]
    #[code("chat/empty-patch", Invalid)]
    EmptyPatch,
    /// The time window for an edit or deletion has passed.
    #[error("the time limit for this change has passed")]
    #[code("chat/change-window-expired", Conflict)]
    ChangeWindowExpired,
    /// The message was edited too often.
    #[error("this message was edited too often")]
    #[code("chat/edit-limit-reached", Conflict)]
    EditLimitReached,
    /// The caller has given the message too many reactions.
    #[error("you have given this message the maximum number of reactions")]
    #[code("chat/reaction-limit-reached", Conflict)]
    ReactionLimitReached,
    /// The message has too many different reactions.
    #[error("this message has the maximum number of different reactions")]
    #[code("chat/emoji-limit-reached", Conflict)]
    EmojiLimitReached,
    /// The conversation has too many pinned messages.
    #[error("this conversation has the maximum number of pinned messages")]
    #[code("chat/pin-limit-reached", Conflict)]
    PinLimitReached,
    /// The message does not exist or is not visible to the caller.
    #[error("message not found")]
    #[code("chat/message-not-found", NotFound)]
    MessageNotFound,
    /// A mentioned user is not a member.
    #[error("a mentioned user is not in this conversation")]
    #[code("chat/mention-not-found", NotFound)]
    MentionNotFound,
    /// The message to forward is not visible to the sender, or one of the conversations is
    /// encrypted.
    #[error("the message to forward was not found")]
    #[code("chat/forward-source-not-found", NotFound)]
    ForwardSourceNotFound,
    /// The invite is unknown, used up, expired or revoked.
    #[error("invite not found or no longer valid")]
    #[code("chat/invite-not-found", NotFound)]
    InviteNotFound,
    /// The chat shard is overloaded or restarting.
    #[error("the server is overloaded: send the message again with the same client_id")]
    #[code("chat/overloaded", Unavailable, retry_after = 1)]
    Overloaded,
    /// A database error.
    #[error(transparent)]
    #[code(transparent)]
    Store(#[from] store::StoreError),
}
