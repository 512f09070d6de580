//! People: registration, the list of them, their roles and names.

use base::clock::Timestamp;
use base::ids::UserId;

use crate::error::Result;
use crate::rows::{
    AddUserOutcome, NewAudit, NewDeviceRow, NewRefresh, NewUserRow, RegisterOutcome, UserRow,
};
use crate::store::{Store, change, look};

impl Store {
    /// Registers a person with their first device; at most `cap` people in all, exactly.
    #[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
    pub async fn register(
        &self,
        user: NewUserRow,
        device: NewDeviceRow,
        refresh: NewRefresh,
        cap: Option<u64>,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<RegisterOutcome> {
        change!(self, accounts::register(user, device, refresh, cap, audit, now))
    }

    /// Adds a person by hand: no device, and no cap.
    pub async fn add_user(
        &self,
        user: NewUserRow,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<AddUserOutcome> {
        change!(self, accounts::add(user, audit, now))
    }

    /// A person.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRow>> {
        look!(self, accounts::user(id))
    }

    /// The person with that number (E.164), and the hash of their password.
    pub async fn user_by_phone(&self, phone: &str) -> Result<Option<(UserRow, String)>> {
        let phone = phone.to_owned();
        look!(self, accounts::user_by_phone(phone))
    }

    /// Whether anybody is an admin.
    pub async fn has_admin(&self) -> Result<bool> {
        look!(self, accounts::has_admin())
    }

    /// Everybody, in the order of their ids (who came first comes first).
    pub async fn users(&self, after: Option<UserId>, limit: usize) -> Result<Vec<UserRow>> {
        let limit = rows(limit);
        look!(self, accounts::users(after, limit))
    }

    /// How many people there are.
    pub async fn count_users(&self) -> Result<u64> {
        let count = look!(self, accounts::count_users())?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Changes a person's name.
    pub async fn rename_user(
        &self,
        id: UserId,
        name: &str,
        _now: Timestamp,
    ) -> Result<Option<UserRow>> {
        let name = name.to_owned();
        change!(self, accounts::rename_user(id, name))
    }
}

/// A limit as the databases count.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
