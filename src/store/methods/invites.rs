//! Invite links with which users join a group.

use base::clock::Timestamp;
use base::ids::{ConversationId, InviteId, UserId};

use crate::error::Result;
use crate::rows::{InviteRow, JoinOutcome, NewInviteRow};
use crate::store::{Store, write_tx};

impl Store {
    /// Creates an invite; `None` if `by` is not in the group, `Some(None)` if they may not invite
    /// or there are too many invites.
    pub async fn create_invite(
        &self,
        group: ConversationId,
        by: UserId,
        new: NewInviteRow,
        now: Timestamp,
    ) -> Result<Option<Option<InviteRow>>> {
        write_tx!(self, invites::create_invite(group, by, new, now))
    }

    /// The valid invites of a group, newest first; otherwise as [`Store::create_invite`].
    pub async fn invites(
        &self,
        group: ConversationId,
        by: UserId,
        now: Timestamp,
    ) -> Result<Option<Option<Vec<InviteRow>>>> {
        write_tx!(self, invites::invites(group, by, now))
    }

    /// Revokes an invite; true if it existed; otherwise as [`Store::create_invite`].
    pub async fn revoke_invite(
        &self,
        group: ConversationId,
        by: UserId,
        invite: InviteId,
    ) -> Result<Option<Option<bool>>> {
        write_tx!(self, invites::revoke_invite(group, by, invite))
    }

    /// Joins a group with an invite, identified by the hash of its token; the group may have up to
    /// `max_members` members.
    pub async fn join_by_invite(
        &self,
        hash: [u8; 32],
        user: UserId,
        max_members: usize,
        now: Timestamp,
    ) -> Result<JoinOutcome> {
        let max_members = super::accounts::to_sql_limit(max_members);
        write_tx!(self, invites::join_by_invite(hash, user, max_members, now))
    }
}
