//! What is said in conversations and what becomes of it, as it crosses the wire.

use base::clock::Timestamp;
use base::ids::{AttachmentId, ConversationId, MessageId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::chat::GroupRole;
use super::files::AttachmentView;

/// Says something.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PostMessage {
    /// Chosen by the client; the same again returns the first message instead of a second one.
    #[schema(min_length = 1, max_length = 64)]
    pub client_id: String,
    /// What is said; ciphertext in base64 in an encrypted conversation. Left out when a message is
    /// passed on; may be empty where files are sent.
    #[serde(default)]
    pub body: String,
    /// The message this one answers.
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<MessageId>,
    /// Files to send along: the sender's own, or any that the sender may see.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    pub attachments: Vec<AttachmentId>,
    /// Members whom it mentions, 50 at most.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub mentions: Vec<UserId>,
    /// After how many seconds it disappears; left out: as the conversation has it.
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub expires_in: Option<i64>,
    /// A message, here or elsewhere, that is passed on: this one says the same.
    #[schema(value_type = Option<String>)]
    pub forward_of: Option<MessageId>,
}

/// One thing said.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MessageView {
    /// Stable.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// Where it was said.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// 1, 2, 3 … in each conversation, without holes.
    pub seq: i64,
    /// Who said it.
    #[schema(value_type = String)]
    pub sender_id: UserId,
    /// As the sender chose it.
    pub client_id: String,
    /// What was said.
    pub body: String,
    /// The message it answers.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The files it carries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentView>,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub sent_at: Timestamp,
    /// The number of its newest change, 0 if there was none. Of two states of a message the one
    /// with the higher number counts, whichever came first.
    pub revision: i64,
    /// When its text last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Timestamp>,
    /// When it was deleted for everybody or disappeared: its text is empty.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
    /// When it disappears.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was pinned.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_at: Option<Timestamp>,
    /// Who said it first, if it was passed on.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_from: Option<UserId>,
    /// Whom it mentions.
    #[schema(value_type = Vec<String>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// Who reacted, and how.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<ReactionGroup>,
    /// What happened, if nobody said it: the sender did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemEvent>,
}

/// One emoji under a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReactionGroup {
    /// Which.
    pub emoji: String,
    /// Who gave it, the first one first.
    #[schema(value_type = Vec<String>)]
    pub user_ids: Vec<UserId>,
}

/// What happened in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemEventKind {
    /// The sender came by an invite.
    Joined,
    /// The sender put somebody in.
    Added,
    /// The sender went.
    Left,
    /// The sender put somebody out.
    Removed,
    /// The title changed.
    Renamed,
    /// Somebody's role changed.
    Role,
    /// Another setting changed.
    Settings,
}

/// What happened in a conversation, said by nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SystemEvent {
    /// What.
    pub what: SystemEventKind,
    /// To whom, if not to the sender.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// The new title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The new role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<GroupRole>,
}

/// Has a message say something else.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMessage {
    /// What it says from now on.
    pub body: String,
    /// Whom it mentions from now on; left out: the same.
    #[schema(value_type = Option<Vec<String>>)]
    pub mentions: Option<Vec<UserId>>,
}

/// What a message said before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageRevision {
    /// What it said.
    pub body: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub edited_at: Timestamp,
}

/// For whom a message is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeleteScope {
    /// Yourself, on all your devices.
    #[default]
    Me,
    /// Everybody.
    All,
}

/// For whom a message is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteQuery {
    /// `me` where it is left out.
    #[serde(default, rename = "for")]
    #[schema(inline)]
    pub r#for: DeleteScope,
}

/// A message went: its number stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MessageDeleted {
    /// Where.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// Which.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// Its number.
    pub seq: i64,
    /// The number of the change.
    pub revision: i64,
    /// For whom.
    pub r#for: DeleteScope,
}

/// Somebody reacted to a message, or took it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reaction {
    /// Where.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// To which message.
    #[schema(value_type = String)]
    pub message_id: MessageId,
    /// Its number.
    pub seq: i64,
    /// The number of the change.
    pub revision: i64,
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// How.
    pub emoji: String,
    /// False if it was taken back.
    pub added: bool,
}

/// What is looked for.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    /// Words that a message has, all of them; the last may be the beginning of one, from two
    /// letters on.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub q: String,
    /// Only there.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<ConversationId>,
    /// `next` of the page before: a page may be short, or empty, and yet not be the last one.
    pub after: Option<String>,
    /// How many at most: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}

/// Which messages are wanted: after a `seq`, before one, or the newest.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagesQuery {
    /// Those that follow it.
    pub after: Option<i64>,
    /// Those before it.
    pub before: Option<i64>,
    /// How many at most: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
}
