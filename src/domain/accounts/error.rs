//! Why something about an account was not done.

use base::error::{CodedError, ErrorKind};
use base::ids::{DeviceId, UserId};

use crate::cluster::RateLimitError;
use crate::domain::vault;

/// The one error of this area.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccountError {
    /// Not a phone number.
    #[error("this is not a phone number: write it with + and the country's code")]
    BadPhone,
    /// A name that is empty, too long, or has control characters.
    #[error("a name has 1 to 100 characters")]
    BadName,
    /// Too short or too long.
    #[error("a password has at least {0} characters and at most 256 bytes")]
    BadPassword(usize),
    /// Somebody registered this number.
    #[error("there is an account with this phone number")]
    PhoneTaken,
    /// The operator closed registration.
    #[error("registration is closed here: ask an administrator")]
    RegistrationClosed,
    /// `auth.max_users` is reached.
    #[error("this server has no room for more people")]
    CapReached,
    /// Wrong phone number or wrong password; nobody learns which.
    #[error("phone number or password is wrong")]
    InvalidCredentials,
    /// The password was right; a code is needed too.
    #[error(
        "a second factor is needed: send `code` too, from the authenticator app or a recovery code"
    )]
    SecondFactorRequired,
    /// The password was right, the code was not, or was used before.
    #[error("this code is wrong or was used before: take the next one")]
    SecondFactorRefused,
    /// The person's own password, asked for again, was wrong.
    #[error("the password is wrong")]
    WrongPassword,
    /// The code, asked for again, was missing, wrong, or used before.
    #[error("the code is missing, wrong, or was used before")]
    WrongCode,
    /// There is one.
    #[error("there is a second factor already: switch it off first")]
    SecondFactorOn,
    /// There is none, or none to be confirmed.
    #[error("there is no second factor, or none to be confirmed")]
    NoSecondFactor,
    /// The reset link does not work.
    #[error("this link to a new password does not work any more")]
    InvalidReset,
    /// Nobody of this id.
    #[error("there is no such person")]
    NoSuchPerson,
    /// The last one who may do everything.
    #[error("this is the last administrator: make somebody else one first")]
    LastAdmin,
    /// Not a role.
    #[error("a role is user, admin or operator")]
    BadRole,
    /// No such refresh token, or its time is over.
    #[error("this refresh token does not work: sign in again")]
    InvalidRefresh,
    /// A refresh token came twice: somebody has a copy.
    #[error("this refresh token was used before: the device is signed out, sign in again")]
    RefreshReused {
        /// Whose it was.
        user: UserId,
        /// What is signed out now.
        device: DeviceId,
    },
    /// No such access token, its time is over, or its device was signed out.
    #[error("this access token does not work")]
    InvalidToken,
    /// The set-up link does not exist any more.
    #[error("this set-up link does not work any more")]
    InvalidSetUp,
    /// No such device.
    #[error("there is no such device")]
    NoSuchDevice,
    /// Too many passwords are being checked.
    #[error("the server is busy checking passwords: try again")]
    Busy,
    /// Too often.
    #[error(transparent)]
    Refused(#[from] RateLimitError),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
    /// Our own mistake.
    #[error("{0}")]
    Internal(String),
}

impl CodedError for AccountError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadPhone | Self::BadName | Self::BadPassword(_) | Self::BadRole => {
                ErrorKind::Invalid
            }
            Self::PhoneTaken | Self::SecondFactorOn | Self::LastAdmin => ErrorKind::Conflict,
            Self::RegistrationClosed | Self::CapReached | Self::WrongPassword | Self::WrongCode => {
                ErrorKind::Forbidden
            }
            Self::InvalidCredentials
            | Self::SecondFactorRequired
            | Self::SecondFactorRefused
            | Self::InvalidReset
            | Self::InvalidRefresh
            | Self::RefreshReused { .. }
            | Self::InvalidToken
            | Self::InvalidSetUp => ErrorKind::Unauthenticated,
            Self::NoSuchDevice | Self::NoSecondFactor | Self::NoSuchPerson => ErrorKind::NotFound,
            Self::Busy => ErrorKind::Unavailable,
            Self::Refused(e) => e.kind(),
            Self::Store(e) => e.kind(),
            Self::Vault(e) => e.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadPhone => "auth/invalid-phone",
            Self::BadName => "auth/invalid-name",
            Self::BadPassword(_) => "auth/invalid-password",
            Self::PhoneTaken => "auth/phone-already-registered",
            Self::RegistrationClosed => "auth/registration-closed",
            Self::CapReached => "auth/user-limit-reached",
            Self::InvalidCredentials => "auth/invalid-credentials",
            Self::SecondFactorRequired => "auth/second-factor-required",
            Self::SecondFactorRefused => "auth/second-factor-invalid",
            Self::WrongPassword => "auth/password-incorrect",
            Self::WrongCode => "auth/code-invalid",
            Self::SecondFactorOn => "auth/second-factor-already-enabled",
            Self::NoSecondFactor => "auth/second-factor-not-enabled",
            Self::InvalidReset => "auth/invalid-reset-link",
            Self::NoSuchPerson => "users/person-not-found",
            Self::LastAdmin => "users/last-admin",
            Self::BadRole => "users/invalid-role",
            Self::InvalidRefresh => "auth/invalid-refresh-token",
            Self::RefreshReused { .. } => "auth/refresh-token-reused",
            Self::InvalidToken => "auth/invalid-token",
            Self::InvalidSetUp => "auth/invalid-setup-link",
            Self::NoSuchDevice => "auth/device-not-found",
            Self::Busy => "auth/overloaded",
            Self::Refused(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Vault(e) => e.code(),
            Self::Internal(_) => "internal",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Refused(e) => e.retry_after(),
            Self::Store(e) => e.retry_after(),
            Self::Vault(e) => e.retry_after(),
            Self::Busy => Some(1),
            _ => None,
        }
    }
}
