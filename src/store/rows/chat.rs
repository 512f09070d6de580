//! Conversations and those who are in them.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::{Queryable, Selectable};

use super::MessageRow;
use super::text_enum::word;
use crate::schema::conversations;

word! {
    /// How many a conversation is for.
    Kind: "kind of conversation" {
        /// Two people; there is one such conversation for them at most, and nobody leaves it.
        Direct = "direct",
        /// Any number of people, who come and go.
        Group = "group",
    }
}

word! {
    /// Who can read what is said.
    Encryption: "kind of encryption" {
        /// The service can.
        None = "none",
        /// Only the members' devices can (RFC 9420).
        Mls = "mls",
    }
}

word! {
    /// What a member may do to a conversation.
    MemberRole: "role in a conversation" {
        /// Everything; a group has one as long as it has members.
        Owner = "owner",
        /// Rename it, add people, remove plain members.
        Admin = "admin",
        /// Speak and leave.
        Member = "member",
    }
}

word! {
    /// How much whoever joins may see of what was said before.
    History: "kind of history" {
        /// All of it.
        All = "all",
        /// Nothing.
        SinceJoining = "since_joining",
    }
}

word! {
    /// Who may do something in a group.
    Circle: "circle of members" {
        /// Its owner and admins.
        Admins = "admins",
        /// All its members.
        Members = "members",
    }
}

impl Circle {
    /// Whether a member of this role is in it.
    pub fn admits(self, role: MemberRole) -> bool {
        self == Self::Members || role != MemberRole::Member
    }
}

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = conversations)]
pub struct ConversationRow {
    /// Which.
    pub id: ConversationId,
    /// For how many.
    pub kind: Kind,
    /// What it is called, if anything.
    pub title: Option<String>,
    /// Who can read it.
    pub encryption: Encryption,
    /// The number of the newest message; 0 before the first.
    pub last_seq: i64,
    /// Grows with every change of who is in it, or of their roles.
    pub roster: i64,
    /// Who opened it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// When its title or roster last changed.
    pub updated_at: Timestamp,
    /// The number of the newest change to one of its messages; 0 before the first.
    pub revision: i64,
    /// After so many seconds messages disappear, unless they say otherwise.
    pub expires_in: Option<i64>,
    /// What whoever joins may see.
    pub history: History,
    /// Who may say something.
    pub who_writes: Circle,
    /// Who may add people.
    pub who_adds: Circle,
}

/// Changes to how a group is governed; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSettingsPatch {
    /// What it is called.
    pub title: Option<String>,
    /// After how many seconds messages disappear; `Some(None)`: never.
    pub expires_in: Option<Option<i64>>,
    /// What whoever joins may see.
    pub history: Option<History>,
    /// Who may say something.
    pub who_writes: Option<Circle>,
    /// Who may add people.
    pub who_adds: Option<Circle>,
}

/// Changes to how one member keeps a conversation; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemberSettingsPatch {
    /// No notifications until then; `Some(None)`: not muted.
    pub muted_until: Option<Option<Timestamp>>,
    /// Whether it is put away.
    pub archived: Option<bool>,
}

/// How one member keeps a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub struct MemberSettingsRow {
    /// No notifications until then, except of mentions.
    pub muted_until: Option<Timestamp>,
    /// Put away since then.
    pub archived_at: Option<Timestamp>,
}

/// How far a conversation has come, for somebody in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable)]
pub struct ConversationPosition {
    /// Which.
    pub conversation: ConversationId,
    /// The newest message.
    pub last_seq: i64,
    /// The newest change.
    pub revision: i64,
    /// What came after this is brought to their devices.
    pub joined_seq: i64,
}

/// Somebody in a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct MemberRow {
    /// Who.
    pub user_id: UserId,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: MemberRole,
    /// What came after this is brought to their devices.
    pub joined_seq: i64,
    /// Up to here one of their devices has it; 0 or `joined_seq` at first.
    pub delivered_seq: i64,
    /// Up to here they have read; never beyond `delivered_seq`.
    pub read_seq: i64,
    /// When they came.
    pub joined_at: Timestamp,
}

/// A conversation and all its members, in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationWithMembers {
    /// The conversation.
    pub conversation: ConversationRow,
    /// Its members.
    pub members: Vec<MemberRow>,
}

/// A conversation in somebody's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationSummaryRow {
    /// The conversation.
    pub conversation: ConversationRow,
    /// What they may do in it.
    pub role: MemberRole,
    /// What came after this is brought to their devices.
    pub joined_seq: i64,
    /// They may see what came after this.
    pub visible_seq: i64,
    /// Up to here one of their devices has it.
    pub delivered_seq: i64,
    /// Up to here they have read.
    pub read_seq: i64,
    /// Mute and archive.
    pub kept: MemberSettingsRow,
    /// How many messages of others they have not read, of the newest thousand.
    pub unread: i64,
    /// How many of those mention them.
    pub unread_mentions: i64,
    /// In a direct conversation, the other one and their name.
    pub peer: Option<(UserId, String)>,
}

/// A conversation to be opened.
#[derive(Clone, Debug)]
pub struct NewConversationRow {
    /// Made by the caller.
    pub id: ConversationId,
    /// For how many; the method called decides, whatever this says.
    pub kind: Kind,
    /// What it is called, if anything.
    pub title: Option<String>,
    /// Who can read it.
    pub encryption: Encryption,
    /// Who opens it: the owner of a group.
    pub created_by: UserId,
}

/// Whom one may draw into a conversation: never somebody whom one blocks, and whoever blocks one into a
/// direct one only, of which they do not hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationRule {
    /// Accepted contacts, and people who are in a group with one.
    ContactsOrSharedGroup,
    /// Anybody who exists.
    Anybody,
}

/// How opening a direct conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenDirect {
    /// It is there now.
    Created(ConversationWithMembers),
    /// It is there now, and the other one, who blocks whoever opened it, is not to hear of it.
    Unheard(ConversationWithMembers),
    /// It was there, with the id it had.
    Existing(ConversationWithMembers),
    /// No reach, somebody whom one blocks, or oneself.
    NotAllowed,
    /// The other one does not exist.
    NoSuchUser,
}

/// How opening a group ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenGroup {
    /// It is there now.
    Created(ConversationWithMembers),
    /// A block or no reach between its owner and one of the others.
    NotAllowed,
    /// One of them does not exist.
    NoSuchUser,
}

/// Who is to hear what is said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientSet {
    /// Changes with membership; 0 if there is no such conversation.
    pub roster: i64,
    /// The newest `seq`.
    pub last_seq: i64,
    /// The newest change.
    pub revision: i64,
    /// Everybody in it.
    pub members: Vec<UserId>,
}

/// How a change to a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConversationChangeOutcome {
    /// It is so; here is how it looks now, and what was said of it.
    Done(ConversationWithMembers, Vec<MessageRow>),
    /// It only looks so to whoever asked, whom the other one of a direct conversation blocks:
    /// nobody is to hear of it.
    Unheard(ConversationWithMembers),
    /// Whoever asked may not, or the conversation is direct.
    NotAllowed,
    /// Whoever asked is in no such conversation, or whoever is meant is not in it.
    NotFound,
    /// Whoever is to come in does not exist.
    NoSuchUser,
    /// Whoever is to come in may not be reached by whoever asked, or the other one of a direct
    /// conversation is blocked by them.
    NotReachable,
}
