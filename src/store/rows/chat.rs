//! Conversations and their members.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::{Queryable, Selectable};

use super::MessageRow;
use super::roles::{Circle, MemberRole};
use super::text_enum::text_enum;
use crate::schema::conversations;

text_enum! {
    /// The kind of a conversation.
    Kind: "kind of conversation" {
        /// Two users; there is at most one such conversation between them, and nobody leaves it.
        Direct = "direct",
        /// Any number of users, who join and leave.
        Group = "group",
    }
}

text_enum! {
    /// Who can read the messages.
    Encryption: "kind of encryption" {
        /// The server can read them.
        None = "none",
        /// Only the members' devices can (MLS, RFC 9420).
        Mls = "mls",
    }
}

text_enum! {
    /// How much of the earlier history a new member may see.
    History: "kind of history" {
        /// All of it.
        All = "all",
        /// None of it.
        SinceJoining = "since_joining",
    }
}

/// A conversation, without its members.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = conversations)]
pub struct ConversationRow {
    pub id: ConversationId,
    pub kind: Kind,
    /// Title of a group, if set.
    pub title: Option<String>,
    pub encryption: Encryption,
    /// Sequence number of the newest message; 0 before the first.
    pub last_seq: i64,
    /// Membership version: grows with every change of the members or their roles.
    pub roster: i64,
    /// The user who created it.
    pub created_by: UserId,
    pub created_at: Timestamp,
    /// Time of the last change of its title or members.
    pub updated_at: Timestamp,
    /// Revision of the newest change to one of its messages; 0 before the first.
    pub revision: i64,
    /// Default lifetime of messages in seconds; `None`: they do not expire.
    pub expires_in: Option<i64>,
    /// What new members may see.
    pub history: History,
    /// Who may send messages.
    pub who_writes: Circle,
    /// Who may add members.
    pub who_adds: Circle,
}

/// Changes to a group's settings; a field that is `None` stays unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSettingsPatch {
    /// The new title.
    pub title: Option<String>,
    /// The new message lifetime in seconds; `Some(None)`: messages do not expire.
    pub expires_in: Option<Option<i64>>,
    /// What new members may see.
    pub history: Option<History>,
    /// Who may send messages.
    pub who_writes: Option<Circle>,
    /// Who may add members.
    pub who_adds: Option<Circle>,
}

/// Changes to a member's settings of a conversation; a field that is `None` stays unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberSettingsPatch {
    /// No notifications until then; `Some(None)`: not muted.
    pub muted_until: Option<Option<Timestamp>>,
    /// Whether the conversation is archived.
    pub archived: Option<bool>,
}

/// A member's settings of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub struct MemberSettingsRow {
    /// No notifications until then, except for mentions.
    pub muted_until: Option<Timestamp>,
    /// Archived since then.
    pub archived_at: Option<Timestamp>,
}

/// Newest sequence and revision of a conversation, for one of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub struct ConversationPosition {
    pub conversation: ConversationId,
    /// Sequence number of the newest message.
    pub last_seq: i64,
    /// Revision of the newest change.
    pub revision: i64,
    /// The member's devices receive messages after this sequence.
    pub joined_seq: i64,
}

/// A member of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct MemberRow {
    pub user_id: UserId,
    /// Display name of the user.
    pub name: String,
    pub role: MemberRole,
    /// The member's devices receive messages after this sequence.
    pub joined_seq: i64,
    /// Delivered up to here to one of their devices; `joined_seq` at first.
    pub delivered_seq: i64,
    /// Read up to here; never beyond `delivered_seq`.
    pub read_seq: i64,
    /// Time when they joined.
    pub joined_at: Timestamp,
}

/// A conversation and all its members, in the order in which they joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationWithMembers {
    pub conversation: ConversationRow,
    pub members: Vec<MemberRow>,
}

/// A conversation in a user's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationSummaryRow {
    pub conversation: ConversationRow,
    /// The user's role in it.
    pub role: MemberRole,
    /// The user's devices receive messages after this sequence.
    pub joined_seq: i64,
    /// The user can see messages after this sequence.
    pub visible_seq: i64,
    /// Delivered up to here to one of their devices.
    pub delivered_seq: i64,
    /// Read up to here.
    pub read_seq: i64,
    /// The user's mute and archive settings.
    pub settings: MemberSettingsRow,
    /// Number of unread messages of others, among the newest thousand.
    pub unread: i64,
    /// How many of the unread messages mention the user.
    pub unread_mentions: i64,
    /// In a direct conversation, the other user and their display name.
    pub peer: Option<(UserId, String)>,
}

/// A conversation to be created.
#[derive(Clone, Debug)]
pub struct NewConversationRow {
    /// Generated by the caller.
    pub id: ConversationId,
    /// Overridden by the method called.
    pub kind: Kind,
    /// Title of a group, if any.
    pub title: Option<String>,
    pub encryption: Encryption,
    /// The user who creates it; in a group, its owner.
    pub created_by: UserId,
}

/// Whom a user may add to a conversation. Users they block are always excluded; users who block
/// them can only be added to a direct conversation, of which they are not notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationRule {
    /// Accepted contacts, and users with whom they share a group.
    ContactsOrSharedGroup,
    /// Any existing user.
    Anyone,
}

/// Result of opening a direct conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenDirect {
    /// It was created.
    Created(ConversationWithMembers),
    /// It was created, and the other user, who blocks the creator, is not to be notified.
    ShadowBlocked(ConversationWithMembers),
    /// It existed before.
    Existing(ConversationWithMembers),
    /// The other user is out of reach, blocked by the creator, or the creator themselves.
    NotAllowed,
    /// The other user does not exist.
    UserNotFound,
}

/// Result of creating a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenGroup {
    /// The group was created.
    Created(ConversationWithMembers),
    /// The owner blocks one of the others, is blocked by them or cannot reach them.
    NotAllowed,
    /// One of the users does not exist.
    UserNotFound,
}

/// The recipients of a conversation's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientSet {
    /// Membership version; 0 if there is no such conversation.
    pub roster: i64,
    /// Sequence number of the newest message.
    pub last_seq: i64,
    /// Revision of the newest change.
    pub revision: i64,
    /// All members, in the order of their ids.
    pub members: Vec<UserId>,
}

/// Result of a change to a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationChangeOutcome {
    /// The conversation after the change, and the system messages about it.
    Done(ConversationWithMembers, Vec<MessageRow>),
    /// It only looks done to the acting user, whom the other user of a direct conversation blocks:
    /// nobody is to be notified.
    ShadowBlocked(ConversationWithMembers),
    /// The acting user lacks the right, or the conversation is direct.
    NotAllowed,
    /// The acting or the affected user is not in such a conversation.
    NotFound,
    /// The user to be added does not exist.
    UserNotFound,
    /// The user to be added is out of reach of the acting user, or the acting user blocks the other
    /// user of the direct conversation.
    NotReachable,
}
