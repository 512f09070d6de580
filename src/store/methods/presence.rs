//! Availability, status texts and last-seen times of users.

use base::clock::Timestamp;
use base::ids::UserId;

use crate::error::Result;
use crate::rows::{Availability, StatusRow};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// The status rows of these users; users without a status and without a last-seen time have
    /// none.
    pub async fn statuses(&self, users: Vec<UserId>) -> Result<Vec<StatusRow>> {
        read_tx!(self, presence::statuses(users))
    }

    /// Sets a user's availability and status text; false if there is no such user.
    pub async fn set_status(
        &self,
        user: UserId,
        state: Availability,
        text: String,
    ) -> Result<bool> {
        write_tx!(self, presence::set_status(user, state, text))
    }

    /// Records when users were last online.
    pub async fn update_last_seen(&self, users: Vec<(UserId, Timestamp)>) -> Result<()> {
        write_tx!(self, presence::update_last_seen(users))
    }

    /// Pairs of one of these users and an accepted contact, who may see their presence.
    pub async fn presence_watchers(&self, users: Vec<UserId>) -> Result<Vec<(UserId, UserId)>> {
        read_tx!(self, presence::presence_watchers(users))
    }

    /// The users with these phone numbers who do not block `me`: phone number, id and name.
    pub async fn users_by_phones(
        &self,
        me: UserId,
        phones: Vec<String>,
    ) -> Result<Vec<(String, UserId, String)>> {
        read_tx!(self, presence::users_by_phones(me, phones))
    }
}
