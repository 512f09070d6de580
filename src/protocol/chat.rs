//! Conversations, as they cross the wire.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Direct (two people) or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConversationKind {
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
pub enum GroupRole {
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
pub struct CreateConversation {
    /// Direct or group.
    pub kind: ConversationKind,
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

/// How much whoever joins may see of what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistoryVisibility {
    /// All of it.
    All,
    /// Nothing.
    SinceJoining,
}

/// Who may do something in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PermissionLevel {
    /// Its owner and admins.
    Admins,
    /// Everybody in it.
    Members,
}

/// Changes a group; what is left out stays. In a direct conversation only `expires_in` changes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchConversation {
    /// The new name.
    #[schema(max_length = 200)]
    pub title: Option<String>,
    /// After how many seconds messages disappear; 0: never.
    #[schema(minimum = 0, maximum = 31_536_000)]
    pub expires_in: Option<i64>,
    /// What whoever joins from now on may see.
    pub history: Option<HistoryVisibility>,
    /// Who may say something.
    pub who_writes: Option<PermissionLevel>,
    /// Who may add people and make invites.
    pub who_adds: Option<PermissionLevel>,
}

/// Changes how you keep a conversation; what is left out stays.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMemberSettings {
    /// No notifications for so many seconds, except of mentions; 0: not muted.
    #[schema(minimum = 0, maximum = 315_360_000)]
    pub mute_seconds: Option<i64>,
    /// Whether it is put away.
    pub archived: Option<bool>,
}

/// How you keep a conversation; also told to your other devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberSettings {
    /// Which.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// No notifications until then, except of mentions.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub muted_until: Option<Timestamp>,
    /// Put away since then.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Timestamp>,
}

/// What somebody put into a group becomes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutMember {
    /// `member` where it is left out; `owner` hands the group over.
    pub role: Option<GroupRole>,
}

/// A conversation in a list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ConversationSummary {
    /// Stable.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// Direct or group.
    pub kind: ConversationKind,
    /// A group's name; the other person's in a direct conversation.
    pub title: Option<String>,
    /// Whether the server can read what is said.
    pub encryption: Encryption,
    /// The `seq` of the newest message; 0 if there is none.
    pub last_seq: i64,
    /// The person's own role.
    pub role: GroupRole,
    /// The number of the newest change to a message; 0 if there is none.
    pub revision: i64,
    /// What came after it is sent to the person's devices.
    pub joined_seq: i64,
    /// Messages at or below it are not shown to the person.
    pub visible_seq: i64,
    /// How far the person's devices have received.
    pub delivered_seq: i64,
    /// How far the person has read.
    pub read_seq: i64,
    /// Messages of others that the person has not read, among the newest thousand.
    pub unread: i64,
    /// How many of those mention the person.
    pub unread_mentions: i64,
    /// No notifications until then, except of mentions.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// Put away since then.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<Timestamp>,
    /// After how many seconds messages disappear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// The other person of a direct conversation.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<UserId>,
}

/// A conversation with its members.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ConversationDetail {
    /// Stable.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// Direct or group.
    pub kind: ConversationKind,
    /// A group's name.
    pub title: Option<String>,
    /// Whether the server can read what is said.
    pub encryption: Encryption,
    /// The `seq` of the newest message; 0 if there is none.
    pub last_seq: i64,
    /// The number of the newest change to a message; 0 if there is none.
    pub revision: i64,
    /// After how many seconds messages disappear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// What whoever joins may see.
    pub history: HistoryVisibility,
    /// Who may say something.
    pub who_writes: PermissionLevel,
    /// Who may add people and make invites.
    pub who_adds: PermissionLevel,
    /// When it was opened.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Everybody in it, longest-standing first.
    pub members: Vec<MemberView>,
}

/// Somebody in a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MemberView {
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// How that person calls themselves.
    pub name: String,
    /// What they may do.
    pub role: GroupRole,
    /// How far their devices have received.
    pub delivered_seq: i64,
    /// How far they have read.
    pub read_seq: i64,
}
