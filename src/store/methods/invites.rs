//! Links with which people join a group.

use base::clock::Timestamp;
use base::ids::{ConversationId, InviteId, UserId};

use crate::error::Result;
use crate::rows::{InviteRow, JoinOutcome, NewInviteRow};
use crate::store::{Store, change};

impl Store {
    /// Makes an invite; `None` if `by` is not in the group, `Some(None)` if they may not invite,
    /// or there are too many.
    pub async fn create_invite(
        &self,
        group: ConversationId,
        by: UserId,
        new: NewInviteRow,
        now: Timestamp,
    ) -> Result<Option<Option<InviteRow>>> {
        change!(self, invites::create_invite(group, by, new, now))
    }

    /// The invites of a group that are still good, the newest first; otherwise as
    /// [`Store::create_invite`].
    pub async fn invites(
        &self,
        group: ConversationId,
        by: UserId,
        now: Timestamp,
    ) -> Result<Option<Option<Vec<InviteRow>>>> {
        change!(self, invites::invites(group, by, now))
    }

    /// Takes an invite back, and tells whether there was one; otherwise as
    /// [`Store::create_invite`].
    pub async fn revoke_invite(
        &self,
        group: ConversationId,
        by: UserId,
        invite: InviteId,
    ) -> Result<Option<Option<bool>>> {
        change!(self, invites::revoke_invite(group, by, invite))
    }

    /// Uses an invite, known by the hash of its token; a group takes `most` members.
    pub async fn join(
        &self,
        hash: [u8; 32],
        user: UserId,
        most: usize,
        now: Timestamp,
    ) -> Result<JoinOutcome> {
        let most = super::accounts::rows(most);
        change!(self, invites::join(hash, user, most, now))
    }
}
