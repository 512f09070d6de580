//! New passwords: chosen by their owner, or with a link that an administrator gave.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};

use crate::error::Result;
use crate::rows::NewAudit;
use crate::store::{Store, change, look};

impl Store {
    /// The hash of a person's password; that of somebody who is gone fits nothing.
    pub async fn password_of(&self, user: UserId) -> Result<Option<String>> {
        look!(self, passwords::password_of(user))
    }

    /// Changes a password whose hash is `old` and signs all other devices out, which it gives;
    /// `None` if it is another one by now.
    #[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
    pub async fn change_password(
        &self,
        user: UserId,
        old: String,
        new: String,
        keep: DeviceId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<Option<Vec<DeviceId>>> {
        change!(self, passwords::change_password(user, old, new, keep, audit, now))
    }

    /// Keeps the hash of a link that leads to a new password, instead of all earlier ones of that
    /// person; false if there is no such person.
    #[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
    pub async fn put_reset_link(
        &self,
        user: UserId,
        hash: [u8; 32],
        drops_second_factor: bool,
        expires_at: Timestamp,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        change!(
            self,
            passwords::put_reset_link(user, hash, drops_second_factor, expires_at, audit, now)
        )
    }

    /// Whose password a link changes, if it works.
    pub async fn reset_link(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<UserId>> {
        look!(self, passwords::reset_link(hash, now))
    }

    /// Changes the password for a link, which is spent thereby, and signs all devices out, which it
    /// gives; `None` if the link does not work.
    pub async fn reset_password(
        &self,
        hash: [u8; 32],
        new: String,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<Option<Vec<DeviceId>>> {
        change!(self, passwords::reset_password(hash, new, audit, now))
    }
}
