//! Who knows whom, and who wants to hear nothing of whom.

use base::clock::Timestamp;
use base::ids::UserId;

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{BlockedUserRow, ContactRequestOutcome, ContactRow};
use crate::store::{Store, change, look};

impl Store {
    /// Asks `to` to be a contact of `from`.
    pub async fn request_contact(
        &self,
        from: UserId,
        to: UserId,
        now: Timestamp,
    ) -> Result<ContactRequestOutcome> {
        change!(self, contacts::request_contact(from, to, now))
    }

    /// Says yes to `other`; false if they did not ask.
    pub async fn accept_contact(&self, me: UserId, other: UserId, now: Timestamp) -> Result<bool> {
        change!(self, contacts::accept_contact(me, other, now))
    }

    /// Says no to `other`, who may ask again; false if they did not ask.
    pub async fn refuse_contact(&self, me: UserId, other: UserId) -> Result<bool> {
        change!(self, contacts::refuse_contact(me, other))
    }

    /// Ends a contact or a request, for both; false if there was none.
    pub async fn remove_contact(&self, me: UserId, other: UserId) -> Result<bool> {
        change!(self, contacts::remove_contact(me, other))
    }

    /// Blocks `other`, which ends a contact for both; false if there is no such person.
    pub async fn block(&self, me: UserId, other: UserId, now: Timestamp) -> Result<bool> {
        change!(self, contacts::block(me, other, now))
    }

    /// Ends a block; false if there was none. What it ended stays ended.
    pub async fn unblock(&self, me: UserId, other: UserId) -> Result<bool> {
        change!(self, contacts::unblock(me, other))
    }

    /// Contacts and requests, in the order of the others' ids.
    pub async fn contacts(
        &self,
        me: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<ContactRow>> {
        let limit = rows(limit);
        look!(self, contacts::contacts(me, after, limit))
    }

    /// Everybody that `me` blocks, in the order of their ids.
    pub async fn blocked(&self, me: UserId) -> Result<Vec<BlockedUserRow>> {
        look!(self, contacts::blocked(me))
    }
}
