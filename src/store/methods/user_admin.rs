//! People, for those who look after the service.

use base::clock::Timestamp;
use base::ids::UserId;

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{NewAudit, PeopleFilter, Role, UserAdminRow, UserChangeOutcome};
use crate::store::{Store, change, look};

impl Store {
    /// A person.
    pub async fn person(&self, id: UserId) -> Result<Option<UserAdminRow>> {
        look!(self, user_admin::person(id))
    }

    /// People who fit, in the order of their ids (who came first comes first).
    pub async fn people(&self, filter: PeopleFilter, limit: usize) -> Result<Vec<UserAdminRow>> {
        let limit = rows(limit);
        look!(self, user_admin::people(filter, limit))
    }

    /// Changes what a person may do.
    pub async fn set_role(
        &self,
        id: UserId,
        role: Role,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        change!(self, user_admin::set_role(id, role, audit, now))
    }

    /// Keeps a person out; their devices stay signed in, and are worth nothing until
    /// [`Store::unsuspend`].
    pub async fn suspend(
        &self,
        id: UserId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        change!(self, user_admin::suspend(id, audit, now))
    }

    /// Lets a person in again.
    pub async fn unsuspend(
        &self,
        id: UserId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        change!(self, user_admin::unsuspend(id, audit, now))
    }

    /// Signs all devices of a person out.
    pub async fn sign_out_everywhere(
        &self,
        id: UserId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        change!(self, user_admin::sign_out_everywhere(id, audit, now))
    }
}
