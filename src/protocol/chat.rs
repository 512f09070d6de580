//! Request and response types for conversations.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Kind of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConversationKind {
    /// Two users; at most one such conversation exists between any two.
    Direct,
    /// Any number of members with roles.
    Group,
}

/// Whether the server can read message bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Plain text, readable by the server.
    #[default]
    None,
    /// End-to-end encrypted with MLS (RFC 9420); bodies are ciphertext.
    Mls,
}

/// Role of a member in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupRole {
    /// May do everything; there is exactly one owner.
    Owner,
    /// May add and remove members and change the group.
    Admin,
    /// May read and write.
    Member,
}

/// Creates a direct or group conversation.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateConversation {
    /// Direct or group conversation.
    pub kind: ConversationKind,
    /// The other members; exactly one for a direct conversation.
    #[schema(value_type = Vec<String>)]
    pub members: Vec<UserId>,
    /// Title of a group, at most 200 characters.
    #[schema(max_length = 200)]
    pub title: Option<String>,
    /// Encryption of the conversation; cannot be changed later.
    #[serde(default)]
    pub encryption: Encryption,
}

/// Which earlier messages a new member can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HistoryVisibility {
    /// All earlier messages.
    All,
    /// No earlier messages.
    SinceJoining,
}

/// Which members of a group have a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PermissionLevel {
    /// The owner and admins.
    Admins,
    /// All members of the group.
    Members,
}

/// Changes a group. Absent fields keep their value. In a direct conversation only `expires_in` can
/// be changed.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchConversation {
    /// New title, at most 200 characters.
    #[schema(max_length = 200)]
    pub title: Option<String>,
    /// Lifetime of new messages in seconds; 0 disables expiry.
    #[schema(minimum = 0, maximum = 31_536_000)]
    pub expires_in: Option<i64>,
    /// Which earlier messages future members can see.
    pub history: Option<HistoryVisibility>,
    /// Who may send messages.
    pub who_writes: Option<PermissionLevel>,
    /// Who may add members and create invites.
    pub who_adds: Option<PermissionLevel>,
}

/// Changes the caller's own settings of a conversation. Absent fields keep their value.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMemberSettings {
    /// Mutes notifications, except for mentions, for this many seconds; 0 unmutes.
    #[schema(minimum = 0, maximum = 315_360_000)]
    pub mute_seconds: Option<i64>,
    /// Whether the conversation is archived.
    pub archived: Option<bool>,
}

/// The caller's own settings of a conversation; also sent to their other devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MemberSettings {
    /// Identifier of the conversation.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// Notifications are muted until this time, except for mentions; `null` if not muted.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub muted_until: Option<Timestamp>,
    /// When the conversation was archived; `null` if it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Timestamp>,
}

/// Adds a member to a group or changes a member's role.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutMember {
    /// New role, `member` if absent; `owner` transfers ownership.
    pub role: Option<GroupRole>,
}

/// A conversation in the caller's list.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ConversationSummary {
    /// Stable identifier of the conversation.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// Direct or group conversation.
    pub kind: ConversationKind,
    /// Title of a group, or name of the other user in a direct conversation.
    pub title: Option<String>,
    /// Whether the server can read message bodies.
    pub encryption: Encryption,
    /// `seq` of the newest message; 0 if there is none.
    pub last_seq: i64,
    /// The caller's own role.
    pub role: GroupRole,
    /// Revision number of the newest change to a message; 0 if there is none.
    pub revision: i64,
    /// Messages with a higher `seq` are sent to the caller's devices.
    pub joined_seq: i64,
    /// Messages with this `seq` or a lower one are hidden from the caller.
    pub visible_seq: i64,
    /// Highest `seq` that the caller's devices have received.
    pub delivered_seq: i64,
    /// Highest `seq` that the caller has read.
    pub read_seq: i64,
    /// Unread messages of others, counted among the newest thousand.
    pub unread: i64,
    /// Unread messages that mention the caller.
    pub unread_mentions: i64,
    /// Notifications are muted until this time, except for mentions; absent if not muted.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until: Option<Timestamp>,
    /// When the conversation was archived; absent if it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived_at: Option<Timestamp>,
    /// Lifetime of new messages in seconds; absent if they do not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// The other user of a direct conversation.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_id: Option<UserId>,
}

/// A conversation with its members.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ConversationDetail {
    /// Stable identifier of the conversation.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// Direct or group conversation.
    pub kind: ConversationKind,
    /// Title of a group.
    pub title: Option<String>,
    /// Whether the server can read message bodies.
    pub encryption: Encryption,
    /// `seq` of the newest message; 0 if there is none.
    pub last_seq: i64,
    /// Revision number of the newest change to a message; 0 if there is none.
    pub revision: i64,
    /// Lifetime of new messages in seconds; absent if they do not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// Which earlier messages a new member can see.
    pub history: HistoryVisibility,
    /// Who may send messages.
    pub who_writes: PermissionLevel,
    /// Who may add members and create invites.
    pub who_adds: PermissionLevel,
    /// When the conversation was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// All members, earliest joined first.
    pub members: Vec<MemberView>,
}

/// A member of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MemberView {
    /// Identifier of the user.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Display name of the user.
    pub name: String,
    /// Role in the conversation.
    pub role: GroupRole,
    /// Highest `seq` that the member's devices have received.
    pub delivered_seq: i64,
    /// Highest `seq` that the member has read.
    pub read_seq: i64,
}
