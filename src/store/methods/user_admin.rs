//! User accounts as administrators manage them.

use base::clock::Timestamp;
use base::ids::UserId;

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{NewAudit, Role, UserAdminRow, UserChangeOutcome, UserFilter};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// One user with the details that administrators see.
    pub async fn admin_user(&self, id: UserId) -> Result<Option<UserAdminRow>> {
        read_tx!(self, user_admin::admin_user(id))
    }

    /// Users that match the filter, in the order of their ids, which is the order of registration.
    pub async fn admin_users(&self, filter: UserFilter, limit: usize) -> Result<Vec<UserAdminRow>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, user_admin::admin_users(filter, limit))
    }

    /// Changes a user's role.
    pub async fn set_user_role(
        &self,
        id: UserId,
        role: Role,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        write_tx!(self, user_admin::set_user_role(id, role, audit, now))
    }

    /// Suspends a user; their devices stay signed in but are unusable until [`Store::unsuspend_user`].
    pub async fn suspend_user(
        &self,
        id: UserId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        write_tx!(self, user_admin::suspend_user(id, audit, now))
    }

    /// Lifts the suspension of a user.
    pub async fn unsuspend_user(
        &self,
        id: UserId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        write_tx!(self, user_admin::unsuspend_user(id, audit, now))
    }

    /// Signs out all devices of a user.
    pub async fn revoke_all_devices(
        &self,
        id: UserId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        write_tx!(self, user_admin::revoke_all_devices(id, audit, now))
    }
}
