//! Messages of conversations and their changes.

use base::clock::Timestamp;
use base::ids::{AttachmentId, ConversationId, MessageId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chat::GroupRole;
use super::files::AttachmentView;

/// Posts a message to a conversation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostMessage {
    /// Idempotency key chosen by the client, 1 to 64 characters. Reuse returns the first message
    /// instead of creating a second one.
    #[schema(min_length = 1, max_length = 64)]
    pub client_id: String,
    /// Text, or base64 ciphertext in an encrypted conversation. Empty when a message is forwarded;
    /// may be empty if there are attachments.
    #[serde(default)]
    pub body: String,
    /// The message this one replies to.
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<MessageId>,
    /// Attachments: uploads of the sender, or files the sender can see.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    pub attachments: Vec<AttachmentId>,
    /// Mentioned members, at most 50.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub mentions: Vec<UserId>,
    /// Lifetime in seconds; the conversation's setting if absent.
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub expires_in: Option<i64>,
    /// A message from any conversation to forward; its content is copied.
    #[schema(value_type = Option<String>)]
    pub forward_of: Option<MessageId>,
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MessageView {
    /// Stable identifier of the message.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// The conversation the message belongs to.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// Sequence number within the conversation: 1, 2, 3 …, without gaps.
    pub seq: i64,
    /// User who sent the message.
    #[schema(value_type = String)]
    pub sender_id: UserId,
    /// Idempotency key chosen by the sender.
    pub client_id: String,
    /// Text, or base64 ciphertext in an encrypted conversation.
    pub body: String,
    /// The message this one replies to.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// Files attached to the message.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentView>,
    /// When the message was stored.
    #[schema(value_type = String, format = DateTime)]
    pub sent_at: Timestamp,
    /// Revision number of the newest change; 0 if there was none. Of two states of a message, the
    /// one with the higher revision is current, whichever arrived first.
    pub revision: i64,
    /// When the text was last edited.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When the message was deleted for everybody or expired; its text is then empty.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// When the message expires.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the message was pinned.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_at: Option<Timestamp>,
    /// Author of the original, if the message was forwarded.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<UserId>,
    /// Users mentioned in the message.
    #[schema(value_type = Vec<String>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// Reactions, grouped by emoji.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<ReactionGroup>,
    /// For a system message: what happened. The sender is the user who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemEvent>,
}

/// All reactions to a message with one emoji.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReactionGroup {
    /// Emoji of these reactions.
    pub emoji: String,
    /// Users who reacted with it, earliest first.
    #[schema(value_type = Vec<String>)]
    pub user_ids: Vec<UserId>,
}

/// Kind of a system message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemEventKind {
    /// The sender joined by an invite.
    Joined,
    /// The sender added a member.
    Added,
    /// The sender left.
    Left,
    /// The sender removed a member.
    Removed,
    /// The title was changed.
    Renamed,
    /// A member's role was changed.
    Role,
    /// Another setting was changed.
    Settings,
}

/// Content of a system message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SystemEvent {
    /// Kind of the event.
    pub what: SystemEventKind,
    /// The affected user, if not the sender.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The new title, for `renamed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new role, for `role`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<GroupRole>,
}

/// Edits the text of a message.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMessage {
    /// New text, or base64 ciphertext in an encrypted conversation.
    pub body: String,
    /// New mentions; unchanged if absent.
    #[schema(value_type = Option<Vec<String>>)]
    pub mentions: Option<Vec<UserId>>,
}

/// An earlier text of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageRevision {
    /// Text before the edit.
    pub body: String,
    /// When this text was replaced.
    #[schema(value_type = String, format = DateTime)]
    pub edited_at: Timestamp,
}

/// For whom a message is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeleteScope {
    /// The caller only, on all their devices.
    #[default]
    Me,
    /// All members of the conversation.
    All,
}

/// Query of a delete request.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteQuery {
    /// For whom to delete: `me` (default) or `all`.
    #[serde(default, rename = "for")]
    #[schema(inline)]
    pub r#for: DeleteScope,
}

/// A message was deleted; its `seq` is not reused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageDeleted {
    /// The conversation of the message.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// The deleted message.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// `seq` of the message.
    pub seq: i64,
    /// Revision number of the deletion.
    pub revision: i64,
    /// For whom the message was deleted.
    pub r#for: DeleteScope,
}

/// A user added or removed a reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reaction {
    /// The conversation of the message.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// The message reacted to.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// `seq` of the message.
    pub seq: i64,
    /// Revision number of this change.
    pub revision: i64,
    /// User who reacted.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Emoji of the reaction.
    pub emoji: String,
    /// `true` if added, `false` if removed.
    pub added: bool,
}

/// Searches messages visible to the caller.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Search terms, at most 200 characters. All must occur; the last may be a prefix of at least
    /// two letters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub q: String,
    /// Only messages of this conversation.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<ConversationId>,
    /// `next` of the previous page. A page may be short or empty without being the last one.
    pub after: Option<String>,
    /// Maximum number of messages: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// Selects messages after a `seq`, before a `seq`, or the newest.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagesQuery {
    /// Only messages with a higher `seq`.
    pub after: Option<i64>,
    /// Only messages with a lower `seq`.
    pub before: Option<i64>,
    /// Maximum number of messages: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}
