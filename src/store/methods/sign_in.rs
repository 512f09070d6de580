//! Devices, their refresh tokens, and the first admin.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};

use crate::error::Result;
use crate::rows::{
    DeviceIdentity, DeviceRow, FirstAdminOutcome, NewAudit, NewDeviceRow, NewRefresh, NewUserRow,
    RefreshOutcome,
};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Stores the hash of a setup link, replacing all earlier ones.
    pub async fn create_setup_link(
        &self,
        hash: [u8; 32],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        write_tx!(self, sign_in::create_setup_link(hash, expires_at, now))
    }

    /// Registers an admin (whatever `user.role` says) with a setup link, which is consumed.
    #[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
    pub async fn register_first_admin(
        &self,
        setup_hash: [u8; 32],
        user: NewUserRow,
        device: NewDeviceRow,
        refresh: NewRefresh,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<FirstAdminOutcome> {
        write_tx!(
            self,
            sign_in::register_first_admin(setup_hash, user, device, refresh, audit, now)
        )
    }

    /// Signs in a device. Its user must exist.
    pub async fn create_device(
        &self,
        device: NewDeviceRow,
        refresh: NewRefresh,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<DeviceRow> {
        write_tx!(self, sign_in::create_device(device, refresh, audit, now))
    }

    /// Exchanges a refresh token for its successor, once.
    ///
    /// The caller derives the successor from the old token, so that two honest concurrent requests
    /// get the same answer: the later one is [`RefreshOutcome::Repeated`] for as long as `grace`
    /// and until the successor is used. Any other presentation of a used token signs out the
    /// device, with an audit entry `auth.refresh_reused`.
    pub async fn rotate_refresh(
        &self,
        old_hash: [u8; 32],
        successor: NewRefresh,
        grace: Duration,
        now: Timestamp,
    ) -> Result<RefreshOutcome> {
        write_tx!(self, sign_in::rotate_refresh(old_hash, successor, grace, now))
    }

    /// The user and device of a device id, if it is signed in and the user is not suspended.
    pub async fn device_identity(&self, id: DeviceId) -> Result<Option<DeviceIdentity>> {
        read_tx!(self, sign_in::device_identity(id))
    }

    /// The devices on which a user is signed in, in the order in which they signed in.
    pub async fn devices(&self, user: UserId) -> Result<Vec<DeviceRow>> {
        read_tx!(self, sign_in::devices(user))
    }

    /// Signs out a user's device; false if it is not theirs or was signed out before.
    pub async fn revoke_device(
        &self,
        user: UserId,
        device: DeviceId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        write_tx!(self, sign_in::revoke_device(user, device, audit, now))
    }

    /// Records that a device was seen.
    pub async fn update_device_last_seen(&self, id: DeviceId, now: Timestamp) -> Result<()> {
        write_tx!(self, sign_in::update_device_last_seen(id, now))
    }
}
