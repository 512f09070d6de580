//! What people say of themselves, and when they were here last.

use base::clock::Timestamp;
use base::ids::UserId;

use crate::error::Result;
use crate::rows::{Availability, StatusRow};
use crate::store::{Store, change, look};

impl Store {
    /// Of these people, those who ever said something of themselves or were here and went.
    pub async fn statuses(&self, people: Vec<UserId>) -> Result<Vec<StatusRow>> {
        look!(self, presence::statuses(people))
    }

    /// What somebody wants to be seen as, and their words; false if there is no such person.
    pub async fn set_status(
        &self,
        user: UserId,
        state: Availability,
        text: String,
    ) -> Result<bool> {
        change!(self, presence::set_status(user, state, text))
    }

    /// Notes when people were here last.
    pub async fn last_seen(&self, people: Vec<(UserId, Timestamp)>) -> Result<()> {
        change!(self, presence::last_seen(people))
    }

    /// Pairs of one of these people and somebody who may know whether they are here: an accepted
    /// contact.
    pub async fn watchers(&self, people: Vec<UserId>) -> Result<Vec<(UserId, UserId)>> {
        look!(self, presence::watchers(people))
    }

    /// Of these numbers those that belong to somebody who does not keep `me` away: the number,
    /// who it is and their name.
    pub async fn match_phones(
        &self,
        me: UserId,
        phones: Vec<String>,
    ) -> Result<Vec<(String, UserId, String)>> {
        look!(self, presence::match_phones(me, phones))
    }
}
