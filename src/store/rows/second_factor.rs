//! What proves a person beside the password, and signing in with both.

use base::clock::Timestamp;

use super::{DeviceRow, NewDeviceRow, NewRefresh};

/// A person's second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactorRow {
    /// As the caller sealed it.
    pub secret: Vec<u8>,
    /// Since when it must be given; `None` while it is being set up.
    pub confirmed_at: Option<Timestamp>,
    /// How many recovery codes are left.
    pub recovery_codes: u64,
}

/// A proof to be spent: each works once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondFactorProof {
    /// The code of this time step (RFC 6238) was right.
    Step(i64),
    /// The hash of a recovery code.
    Recovery([u8; 32]),
}

/// A device that signs in with a password, and with a second factor if the person has one.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The device; its person must exist.
    pub device: NewDeviceRow,
    /// Its first refresh token.
    pub refresh: NewRefresh,
    /// What the password was checked against: one that was changed meanwhile opens nothing.
    pub password_hash: String,
    /// The second factor, if one was given.
    pub factor: Option<SecondFactorProof>,
}

/// How signing in ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// The device is signed in.
    Done(DeviceRow),
    /// The person is suspended or gone, or has another password by now.
    Refused,
    /// The person has a second factor, and none was given.
    FactorMissing,
    /// The second factor was spent before, or is not theirs.
    FactorRefused,
}
