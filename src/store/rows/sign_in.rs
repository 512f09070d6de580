//! Refresh tokens, the first admin, and who a device is.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};

use super::{DeviceRow, UserRow};

/// A refresh token to be remembered by its hash.
#[derive(Clone, Debug)]
pub struct NewRefresh {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
    /// From where it was asked for.
    pub ip: Option<String>,
}

/// What came of showing a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// It was good; its successor is.
    Rotated(UserRow, DeviceRow),
    /// It was just exchanged for the very same successor, which nobody has used yet.
    Repeated(UserRow, DeviceRow),
    /// It was used before: somebody else has it too. The device is signed out now.
    Reused {
        /// Whose it was.
        user_id: UserId,
        /// The device that was signed out.
        device_id: DeviceId,
    },
    /// Never heard of, expired, or of a device or person that may not sign in.
    Unknown,
}

/// How the registration of the first admin ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum FirstAdminOutcome {
    /// There is an admin; the link is spent.
    Done(UserRow, DeviceRow),
    /// No such link, or it is spent or expired.
    LinkUnknown,
    /// Somebody has that number; the link is still good.
    PhoneTaken,
}

/// A device that is signed in, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The person; not suspended.
    pub user: UserRow,
    /// The device; not revoked.
    pub device: DeviceRow,
}
