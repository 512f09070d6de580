//! Second factors, and signing in with password and second factor.

use base::clock::Timestamp;

use super::{DeviceRow, NewDeviceRow, NewRefresh};

/// A user's second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactorRow {
    /// The TOTP secret as the caller sealed it.
    pub secret: Vec<u8>,
    /// Time since when it is required; `None` during set-up.
    pub confirmed_at: Option<Timestamp>,
    /// Number of unused recovery codes.
    pub recovery_codes: u64,
}

/// A proof to be consumed: each works once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondFactorProof {
    /// A valid TOTP code of this time step (RFC 6238).
    TotpStep(i64),
    /// SHA-256 of a recovery code.
    RecoveryCode([u8; 32]),
}

/// A sign-in with a password, and with a second factor if the user has one.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The device; its user must exist.
    pub device: NewDeviceRow,
    /// Its first refresh token.
    pub refresh: NewRefresh,
    /// The hash that the password was checked against: if it changed meanwhile, the sign-in is
    /// rejected.
    pub password_hash: String,
    /// The second factor, if one was given.
    pub second_factor: Option<SecondFactorProof>,
}

/// Result of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// The device is signed in.
    Done(DeviceRow),
    /// The user is suspended or deleted, or their password changed meanwhile.
    Rejected,
    /// The user has a second factor, and none was given.
    SecondFactorRequired,
    /// The second factor was used before, or is wrong.
    SecondFactorRejected,
}
