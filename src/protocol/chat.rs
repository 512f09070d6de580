//! Conversations and what is said in them, as they cross the wire.

use base::clock::Time;
use base::ids::{AttachmentId, ConversationId, MessageId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::files::Attachment;

/// Direct (two people) or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Two people; there is one such conversation between any two.
    Direct,
    /// Any number of people, with roles.
    Group,
}

/// Whether the server can read what is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Plain text.
    #[default]
    None,
    /// End to end by MLS (RFC 9420): bodies are ciphertext.
    Mls,
}

/// What a member may do in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// Everything; there is one.
    Owner,
    /// Add, remove, rename.
    Admin,
    /// Read and write.
    Member,
}

/// Opens a conversation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConversation {
    /// Direct or group.
    pub kind: Kind,
    /// The others; exactly one for a direct conversation.
    #[schema(value_type = Vec<String>)]
    pub members: Vec<UserId>,
    /// A group's name.
    #[schema(max_length = 200)]
    pub title: Option<String>,
    /// Cannot be changed later.
    #[serde(default)]
    pub encryption: Encryption,
}

/// Changes a group.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchConversation {
    /// The new name.
    #[schema(max_length = 200)]
    pub title: String,
}

/// What somebody put into a group becomes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutMember {
    /// `member` where it is left out; `owner` hands the group over.
    pub role: Option<MemberRole>,
}

/// A conversation in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Summary {
    /// Stable.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// Direct or group.
    pub kind: Kind,
    /// A group's name; the other person's in a direct conversation.
    pub title: Option<String>,
    /// Whether the server can read what is said.
    pub encryption: Encryption,
    /// The `seq` of the newest message; 0 if there is none.
    pub last_seq: i64,
    /// The person's own role.
    pub role: MemberRole,
    /// Messages at or below it were said before the person joined and are not shown.
    pub joined_seq: i64,
    /// How far the person's devices have received.
    pub delivered_seq: i64,
    /// How far the person has read.
    pub read_seq: i64,
    /// The other person of a direct conversation.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<UserId>,
}

/// A conversation with its members.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Conversation {
    /// Stable.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// Direct or group.
    pub kind: Kind,
    /// A group's name.
    pub title: Option<String>,
    /// Whether the server can read what is said.
    pub encryption: Encryption,
    /// The `seq` of the newest message; 0 if there is none.
    pub last_seq: i64,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// Everybody in it, longest-standing first.
    pub members: Vec<Member>,
}

/// Somebody in a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Member {
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// How that person calls themselves.
    pub name: String,
    /// What they may do.
    pub role: MemberRole,
    /// How far their devices have received.
    pub delivered_seq: i64,
    /// How far they have read.
    pub read_seq: i64,
}

/// Says something.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Chosen by the client; the same again returns the first message instead of a second one.
    #[schema(min_length = 1, max_length = 64)]
    pub client_id: String,
    /// What is said; ciphertext in base64 in an encrypted conversation. May be empty where files
    /// are sent.
    pub body: String,
    /// The message this one answers.
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<MessageId>,
    /// Files to send along: the sender's own, or any that the sender may see.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    pub attachments: Vec<AttachmentId>,
}

/// One thing said.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Message {
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
    pub attachments: Vec<Attachment>,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub sent_at: Time,
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
