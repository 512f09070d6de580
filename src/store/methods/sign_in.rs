//! Devices, their refresh tokens, and the first admin.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};

use crate::error::Result;
use crate::rows::{
    DeviceIdentity, DeviceRow, FirstAdminOutcome, NewAudit, NewDeviceRow, NewRefresh, NewUserRow,
    RefreshOutcome,
};
use crate::store::{Store, change, look};

impl Store {
    /// Remembers the hash of a setup link, instead of all earlier ones.
    pub async fn put_setup_link(
        &self,
        hash: [u8; 32],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        change!(self, sign_in::put_setup_link(hash, expires_at, now))
    }

    /// Registers an admin (whatever `user.role` says) for a setup link, which is spent thereby.
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
        change!(self, sign_in::register_first_admin(setup_hash, user, device, refresh, audit, now))
    }

    /// Signs a device in. Its person must exist.
    pub async fn open_device(
        &self,
        device: NewDeviceRow,
        refresh: NewRefresh,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<DeviceRow> {
        change!(self, sign_in::open_device(device, refresh, audit, now))
    }

    /// Exchanges a refresh token for its successor, once.
    ///
    /// The caller derives the successor from the old token, so that two honest requests at the
    /// same time get the same answer: the later one is [`RefreshOutcome::Repeated`] for as long as
    /// `grace` and until the successor is used. Whatever else shows a used token signs the device
    /// out, with an audit entry `auth.refresh_reused`.
    pub async fn rotate_refresh(
        &self,
        old_hash: [u8; 32],
        successor: NewRefresh,
        grace: Duration,
        now: Timestamp,
    ) -> Result<RefreshOutcome> {
        change!(self, sign_in::rotate_refresh(old_hash, successor, grace, now))
    }

    /// Who a device is, if it is signed in and its person not suspended.
    pub async fn identity(&self, id: DeviceId) -> Result<Option<DeviceIdentity>> {
        look!(self, sign_in::identity(id))
    }

    /// The devices on which a person is signed in, in the order in which they signed in.
    pub async fn devices(&self, user: UserId) -> Result<Vec<DeviceRow>> {
        look!(self, sign_in::devices(user))
    }

    /// Signs a person's device out; false if it is not theirs or was signed out before.
    pub async fn revoke_device(
        &self,
        user: UserId,
        device: DeviceId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        change!(self, sign_in::revoke_device(user, device, audit, now))
    }

    /// Remembers that a device is there.
    pub async fn touch_device(&self, id: DeviceId, now: Timestamp) -> Result<()> {
        change!(self, sign_in::touch_device(id, now))
    }
}
