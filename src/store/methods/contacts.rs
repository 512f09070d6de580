//! Contacts, contact requests and blocks.

use base::clock::Timestamp;
use base::ids::UserId;

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{BlockedUserRow, ContactRequestOutcome, ContactRow};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Sends a contact request from `from` to `to`.
    pub async fn request_contact(
        &self,
        from: UserId,
        to: UserId,
        now: Timestamp,
    ) -> Result<ContactRequestOutcome> {
        write_tx!(self, contacts::request_contact(from, to, now))
    }

    /// Accepts the request of `other`; false if there is none.
    pub async fn accept_contact(&self, me: UserId, other: UserId, now: Timestamp) -> Result<bool> {
        write_tx!(self, contacts::accept_contact(me, other, now))
    }

    /// Declines the request of `other`, who may ask again; false if there is none.
    pub async fn decline_contact(&self, me: UserId, other: UserId) -> Result<bool> {
        write_tx!(self, contacts::decline_contact(me, other))
    }

    /// Removes a contact or a request for both users; false if there was none.
    pub async fn remove_contact(&self, me: UserId, other: UserId) -> Result<bool> {
        write_tx!(self, contacts::remove_contact(me, other))
    }

    /// Blocks `other`, which also ends a contact for both; false if there is no such user.
    pub async fn block_user(&self, me: UserId, other: UserId, now: Timestamp) -> Result<bool> {
        write_tx!(self, contacts::block_user(me, other, now))
    }

    /// Removes a block; false if there was none. A contact that the block ended is not restored.
    pub async fn unblock_user(&self, me: UserId, other: UserId) -> Result<bool> {
        write_tx!(self, contacts::unblock_user(me, other))
    }

    /// Contacts and requests, in the order of the other users' ids.
    pub async fn contacts(
        &self,
        me: UserId,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Vec<ContactRow>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, contacts::contacts(me, after, limit))
    }

    /// All users that `me` blocks, in the order of their ids.
    pub async fn blocked_users(&self, me: UserId) -> Result<Vec<BlockedUserRow>> {
        read_tx!(self, contacts::blocked_users(me))
    }
}
