//! Errors of the account service.

use base::error::CodedError;
use base::ids::{DeviceId, UserId};

use crate::cluster::RateLimitError;
use crate::domain::vault;

/// Error of the account service.
#[derive(Clone, Debug, thiserror::Error, CodedError)]
pub enum AccountError {
    /// The text is not a phone number.
    #[error("this is not a phone number: write it with + and the country's code")]
    #[code("auth/invalid-phone", Invalid)]
    InvalidPhone,
    /// The name is empty, too long, or has control characters.
    #[error("a name has 1 to 100 characters")]
    #[code("auth/invalid-name", Invalid)]
    InvalidName,
    /// The new password is too short or too long; carries the minimum length.
    #[error("a password has at least {0} characters and at most 256 bytes")]
    #[code("auth/invalid-password", Invalid)]
    InvalidPassword(usize),
    /// An account with this phone number exists.
    #[error("there is an account with this phone number")]
    #[code("auth/phone-already-registered", Conflict)]
    PhoneTaken,
    /// Registration is disabled by `auth.registration`.
    #[error("registration is closed: ask an administrator for an account")]
    #[code("auth/registration-closed", Forbidden)]
    RegistrationClosed,
    /// The limit `auth.max_users` is reached.
    #[error("this server has reached its maximum number of users")]
    #[code("auth/user-limit-reached", Forbidden)]
    UserLimitReached,
    /// Phone number or password is wrong; the response does not tell which.
    #[error("phone number or password is wrong")]
    #[code("auth/invalid-credentials", Unauthenticated)]
    InvalidCredentials,
    /// The password was right, but a second-factor code is required.
    #[error(
        "a second factor is needed: send `code` too, from the authenticator app or a recovery code"
    )]
    #[code("auth/second-factor-required", Unauthenticated)]
    SecondFactorRequired,
    /// The password was right; the code was wrong or already used.
    #[error("this code is wrong or was used before: take the next one")]
    #[code("auth/second-factor-invalid", Unauthenticated)]
    SecondFactorInvalid,
    /// The caller's password, requested as confirmation, was wrong.
    #[error("the password is wrong")]
    #[code("auth/password-incorrect", Forbidden)]
    PasswordIncorrect,
    /// The code, requested as confirmation, was missing, wrong or already used.
    #[error("the code is missing, wrong, or was used before")]
    #[code("auth/code-invalid", Forbidden)]
    CodeInvalid,
    /// A second factor is already enabled.
    #[error("a second factor is already enabled: disable it first")]
    #[code("auth/second-factor-already-enabled", Conflict)]
    SecondFactorAlreadyEnabled,
    /// No second factor is enabled or awaiting confirmation.
    #[error("no second factor is enabled or awaiting confirmation")]
    #[code("auth/second-factor-not-enabled", NotFound)]
    SecondFactorNotEnabled,
    /// The password reset link is unknown, used or expired.
    #[error("this password reset link is no longer valid")]
    #[code("auth/invalid-reset-link", Unauthenticated)]
    InvalidResetLink,
    /// No user has this id.
    #[error("user not found")]
    #[code("users/user-not-found", NotFound)]
    UserNotFound,
    /// The operation would leave the server without an administrator.
    #[error("this is the last administrator: appoint another one first")]
    #[code("users/last-admin", Conflict)]
    LastAdmin,
    /// Not one of the roles.
    #[error("role must be user, admin or operator")]
    #[code("users/invalid-role", Invalid)]
    InvalidRole,
    /// The refresh token is unknown or expired.
    #[error("this refresh token is not valid: sign in again")]
    #[code("auth/invalid-refresh-token", Unauthenticated)]
    InvalidRefreshToken,
    /// A refresh token was used twice, so somebody may have a copy. The device is signed out.
    #[error("this refresh token was used before: the device is signed out, sign in again")]
    #[code("auth/refresh-token-reused", Unauthenticated)]
    RefreshTokenReused {
        /// User of the token.
        user: UserId,
        /// Device that was signed out.
        device: DeviceId,
    },
    /// The access token is unknown or expired, or its device was signed out.
    #[error("this access token is not valid")]
    #[code("auth/invalid-token", Unauthenticated)]
    InvalidToken,
    /// The setup link is unknown or was used.
    #[error("this setup link is no longer valid")]
    #[code("auth/invalid-setup-link", Unauthenticated)]
    InvalidSetupLink,
    /// The user has no such device.
    #[error("device not found")]
    #[code("auth/device-not-found", NotFound)]
    DeviceNotFound,
    /// The password hashing queue is full.
    #[error("the server is busy checking passwords: try again")]
    #[code("auth/overloaded", Unavailable, retry_after = 1)]
    Overloaded,
    /// The rate limit was exceeded, or the counter store failed.
    #[error(transparent)]
    #[code(transparent)]
    RateLimited(#[from] RateLimitError),
    /// A database error.
    #[error(transparent)]
    #[code(transparent)]
    Store(#[from] store::StoreError),
    /// Sealing or opening a secret failed.
    #[error(transparent)]
    #[code(transparent)]
    Vault(#[from] vault::VaultError),
    /// An internal error; the text is logged, not sent to the client.
    #[error("{0}")]
    #[code("internal", Internal)]
    Internal(String),
}
