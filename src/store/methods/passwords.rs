//! Password changes: by the user, or with a reset link from an administrator.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};

use crate::error::Result;
use crate::rows::NewAudit;
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// The hash of a user's password; that of a deleted user is empty and matches nothing.
    pub async fn password_hash(&self, user: UserId) -> Result<Option<String>> {
        read_tx!(self, passwords::password_hash(user))
    }

    /// Changes a password whose hash is `old` and signs out all other devices, which it returns;
    /// `None` if the password was changed meanwhile.
    #[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
    pub async fn change_password(
        &self,
        user: UserId,
        old: String,
        new: String,
        keep_device: DeviceId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<Option<Vec<DeviceId>>> {
        write_tx!(self, passwords::change_password(user, old, new, keep_device, audit, now))
    }

    /// Stores the hash of a password reset link, replacing all earlier ones of that user; false if
    /// there is no such user.
    #[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
    pub async fn create_reset_link(
        &self,
        user: UserId,
        hash: [u8; 32],
        drops_second_factor: bool,
        expires_at: Timestamp,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        write_tx!(
            self,
            passwords::create_reset_link(user, hash, drops_second_factor, expires_at, audit, now)
        )
    }

    /// The user whose password a reset link changes, if the link is valid.
    pub async fn reset_link_user(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<UserId>> {
        read_tx!(self, passwords::reset_link_user(hash, now))
    }

    /// Changes the password with a reset link, consumes the link and signs out all devices, which
    /// it returns; `None` if the link is not valid.
    pub async fn reset_password(
        &self,
        hash: [u8; 32],
        new: String,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<Option<Vec<DeviceId>>> {
        write_tx!(self, passwords::reset_password(hash, new, audit, now))
    }
}
