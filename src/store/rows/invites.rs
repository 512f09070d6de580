//! Links with which people join a group.

use base::clock::Timestamp;
use base::ids::{ConversationId, InviteId, UserId};
use diesel::prelude::{Queryable, Selectable};

use super::{ConversationWithMembers, MessageRow};
use crate::schema::invites;

/// An invite, without its token: only a hash of that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = invites)]
pub struct InviteRow {
    /// Which.
    pub id: InviteId,
    /// Where it leads.
    pub conversation_id: ConversationId,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// How often it may still be used; any number without.
    pub uses_left: Option<i64>,
    /// How often it was used.
    pub uses: i64,
}

/// An invite to be made.
#[derive(Clone, Debug)]
pub struct NewInviteRow {
    /// Made by the caller.
    pub id: InviteId,
    /// The hash of its token.
    pub hash: [u8; 32],
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// How often it may be used; any number without.
    pub uses: Option<i64>,
}

/// How using an invite ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// They are in; here is how it looks now, and what was said of it.
    Joined(ConversationWithMembers, Vec<MessageRow>),
    /// They were in before; the invite was not used.
    Already(ConversationWithMembers),
    /// The group has as many members as it may have.
    Full,
    /// There is no such invite, it is over, or one of those who govern the group and the person
    /// block each other.
    NotFound,
}
