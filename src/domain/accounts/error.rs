//! Errors of the account service.

use base::error::{CodedError, ErrorKind};
use base::ids::{DeviceId, UserId};

use crate::cluster::RateLimitError;
use crate::domain::vault;

/// Error of the account service.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccountError {
    /// The text is not a phone number.
    #[error("this is not a phone number: write it with + and the country's code")]
    InvalidPhone,
    /// The name is empty, too long, or has control characters.
    #[error("a name has 1 to 100 characters")]
    InvalidName,
    /// The new password is too short or too long; carries the minimum length.
    #[error("a password has at least {0} characters and at most 256 bytes")]
    InvalidPassword(usize),
    /// An account with this phone number exists.
    #[error("there is an account with this phone number")]
    PhoneTaken,
    /// Registration is disabled by `auth.registration`.
    #[error("registration is closed: ask an administrator for an account")]
    RegistrationClosed,
    /// The limit `auth.max_users` is reached.
    #[error("this server has reached its maximum number of users")]
    UserLimitReached,
    /// Phone number or password is wrong; the response does not tell which.
    #[error("phone number or password is wrong")]
    InvalidCredentials,
    /// The password was right, but a second-factor code is required.
    #[error(
        "a second factor is needed: send `code` too, from the authenticator app or a recovery code"
    )]
    SecondFactorRequired,
    /// The password was right; the code was wrong or already used.
    #[error("this code is wrong or was used before: take the next one")]
    SecondFactorInvalid,
    /// The caller's password, requested as confirmation, was wrong.
    #[error("the password is wrong")]
    PasswordIncorrect,
    /// The code, requested as confirmation, was missing, wrong or already used.
    #[error("the code is missing, wrong, or was used before")]
    CodeInvalid,
    /// A second factor is already enabled.
    #[error("a second factor is already enabled: disable it first")]
    SecondFactorAlreadyEnabled,
    /// No second factor is enabled or awaiting confirmation.
    #[error("no second factor is enabled or awaiting confirmation")]
    SecondFactorNotEnabled,
    /// The password reset link is unknown, used or expired.
    #[error("this password reset link is no longer valid")]
    InvalidResetLink,
    /// No user has this id.
    #[error("user not found")]
    UserNotFound,
    /// The operation would leave the server without an administrator.
    #[error("this is the last administrator: appoint another one first")]
    LastAdmin,
    /// Not one of the roles.
    #[error("role must be user, admin or operator")]
    InvalidRole,
    /// The refresh token is unknown or expired.
    #[error("this refresh token is not valid: sign in again")]
    InvalidRefreshToken,
    /// A refresh token was used twice, so somebody may have a copy. The device is signed out.
    #[error("this refresh token was used before: the device is signed out, sign in again")]
    RefreshTokenReused {
        /// User of the token.
        user: UserId,
        /// Device that was signed out.
        device: DeviceId,
    },
    /// The access token is unknown or expired, or its device was signed out.
    #[error("this access token is not valid")]
    InvalidToken,
    /// The setup link is unknown or was used.
    #[error("this setup link is no longer valid")]
    InvalidSetupLink,
    /// The user has no such device.
    #[error("device not found")]
    DeviceNotFound,
    /// The password hashing queue is full.
    #[error("the server is busy checking passwords: try again")]
    Overloaded,
    /// The rate limit was exceeded, or the counter store failed.
    #[error(transparent)]
    RateLimited(#[from] RateLimitError),
    /// A database error.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Sealing or opening a secret failed.
    #[error(transparent)]
    Vault(#[from] vault::VaultError),
    /// An internal error; the text is logged, not sent to the client.
    #[error("{0}")]
    Internal(String),
}

impl CodedError for AccountError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::InvalidPhone
            | Self::InvalidName
            | Self::InvalidPassword(_)
            | Self::InvalidRole => ErrorKind::Invalid,
            Self::PhoneTaken | Self::SecondFactorAlreadyEnabled | Self::LastAdmin => {
                ErrorKind::Conflict
            }
            Self::RegistrationClosed
            | Self::UserLimitReached
            | Self::PasswordIncorrect
            | Self::CodeInvalid => ErrorKind::Forbidden,
            Self::InvalidCredentials
            | Self::SecondFactorRequired
            | Self::SecondFactorInvalid
            | Self::InvalidResetLink
            | Self::InvalidRefreshToken
            | Self::RefreshTokenReused { .. }
            | Self::InvalidToken
            | Self::InvalidSetupLink => ErrorKind::Unauthenticated,
            Self::DeviceNotFound | Self::SecondFactorNotEnabled | Self::UserNotFound => {
                ErrorKind::NotFound
            }
            Self::Overloaded => ErrorKind::Unavailable,
            Self::RateLimited(e) => e.kind(),
            Self::Store(e) => e.kind(),
            Self::Vault(e) => e.kind(),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InvalidPhone => "auth/invalid-phone",
            Self::InvalidName => "auth/invalid-name",
            Self::InvalidPassword(_) => "auth/invalid-password",
            Self::PhoneTaken => "auth/phone-already-registered",
            Self::RegistrationClosed => "auth/registration-closed",
            Self::UserLimitReached => "auth/user-limit-reached",
            Self::InvalidCredentials => "auth/invalid-credentials",
            Self::SecondFactorRequired => "auth/second-factor-required",
            Self::SecondFactorInvalid => "auth/second-factor-invalid",
            Self::PasswordIncorrect => "auth/password-incorrect",
            Self::CodeInvalid => "auth/code-invalid",
            Self::SecondFactorAlreadyEnabled => "auth/second-factor-already-enabled",
            Self::SecondFactorNotEnabled => "auth/second-factor-not-enabled",
            Self::InvalidResetLink => "auth/invalid-reset-link",
            Self::UserNotFound => "users/person-not-found",
            Self::LastAdmin => "users/last-admin",
            Self::InvalidRole => "users/invalid-role",
            Self::InvalidRefreshToken => "auth/invalid-refresh-token",
            Self::RefreshTokenReused { .. } => "auth/refresh-token-reused",
            Self::InvalidToken => "auth/invalid-token",
            Self::InvalidSetupLink => "auth/invalid-setup-link",
            Self::DeviceNotFound => "auth/device-not-found",
            Self::Overloaded => "auth/overloaded",
            Self::RateLimited(e) => e.code(),
            Self::Store(e) => e.code(),
            Self::Vault(e) => e.code(),
            Self::Internal(_) => "internal",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited(e) => e.retry_after(),
            Self::Store(e) => e.retry_after(),
            Self::Vault(e) => e.retry_after(),
            Self::Overloaded => Some(1),
            _ => None,
        }
    }
}
