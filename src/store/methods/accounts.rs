//! User accounts: registration, lookup, listing and names.

use base::clock::Timestamp;
use base::ids::UserId;

use crate::error::Result;
use crate::rows::{
    AddUserOutcome, NewAudit, NewDeviceRow, NewRefresh, NewUserRow, RegisterOutcome, UserRow,
};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Registers a user with their first device. With `user_limit` there are never more users than
    /// that; the check is exact under concurrency.
    #[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
    pub async fn register(
        &self,
        user: NewUserRow,
        device: NewDeviceRow,
        refresh: NewRefresh,
        user_limit: Option<u64>,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<RegisterOutcome> {
        write_tx!(self, accounts::register(user, device, refresh, user_limit, audit, now))
    }

    /// Adds a user by an administrator: no device, and no user limit.
    pub async fn add_user(
        &self,
        user: NewUserRow,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<AddUserOutcome> {
        write_tx!(self, accounts::add(user, audit, now))
    }

    /// A user who is not deleted.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRow>> {
        read_tx!(self, accounts::user(id))
    }

    /// The user with that phone number (E.164), and the hash of their password.
    pub async fn user_by_phone(&self, phone: &str) -> Result<Option<(UserRow, String)>> {
        let phone = phone.to_owned();
        read_tx!(self, accounts::user_by_phone(phone))
    }

    /// Whether any user is an admin.
    pub async fn has_admin(&self) -> Result<bool> {
        read_tx!(self, accounts::has_admin())
    }

    /// All users in the order of their ids, which is the order of registration; `after` is the last
    /// one of the previous page.
    pub async fn users(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserRow>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, accounts::users(after, limit))
    }

    /// Number of users, deleted ones excluded.
    pub async fn count_users(&self) -> Result<u64> {
        let count = read_tx!(self, accounts::count_users())?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Changes a user's display name; `None` if there is no such user.
    pub async fn rename_user(
        &self,
        id: UserId,
        name: &str,
        _now: Timestamp,
    ) -> Result<Option<UserRow>> {
        let name = name.to_owned();
        write_tx!(self, accounts::rename_user(id, name))
    }
}

/// A limit as an SQL `BIGINT`.
pub(super) fn to_sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
