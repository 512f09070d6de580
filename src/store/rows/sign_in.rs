//! Refresh tokens, the first admin, and the identity of a device.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};

use super::{DeviceRow, UserRow};

/// A refresh token to be stored by its hash.
#[derive(Clone, Debug)]
pub struct NewRefresh {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// The token is invalid from then on.
    pub expires_at: Timestamp,
    /// IP address of the request.
    pub ip: Option<String>,
}

/// Result of presenting a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// The token was valid and its successor is valid now.
    Rotated(UserRow, DeviceRow),
    /// It was exchanged a moment ago for the same successor, which nobody has used yet.
    Repeated(UserRow, DeviceRow),
    /// It was used before: somebody else has it too. The device is signed out now.
    Reused {
        /// The user who owned it.
        user_id: UserId,
        /// The device that was signed out.
        device_id: DeviceId,
    },
    /// Unknown, expired, or of a device or user that may not sign in.
    Unknown,
}

/// Result of registering the first admin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub enum FirstAdminOutcome {
    /// The admin exists; the link is consumed.
    Done(UserRow, DeviceRow),
    /// There is no such link, or it is consumed or expired.
    LinkNotFound,
    /// Another user has that phone number; the link is still valid.
    PhoneTaken,
}

/// A signed-in device and its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The user; not suspended.
    pub user: UserRow,
    /// The device; not signed out.
    pub device: DeviceRow,
}
