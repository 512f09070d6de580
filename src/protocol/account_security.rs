//! Request and response types for account security: passwords, second factors, data exports.

use base::clock::Timestamp;
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Confirms an operation with the caller's own password.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordConfirmation {
    /// Current password of the account.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
}

/// Confirms an operation with the caller's own password and, if a second factor is enabled, a code.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reauthentication {
    /// Current password of the account.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
    /// TOTP code of the authenticator app, or a recovery code. Required if a second factor is
    /// enabled.
    #[schema(value_type = Option<String>, example = "287082")]
    pub code: Option<Secret<String>>,
}

/// A code of the authenticator app (TOTP, RFC 6238).
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpCode {
    /// Six decimal digits.
    #[schema(value_type = String, example = "287082")]
    pub code: Secret<String>,
}

/// Changes the caller's own password.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// Current password of the account.
    #[schema(value_type = String, format = Password)]
    pub old_password: Secret<String>,
    /// New password; at least `auth.password_min_length` characters.
    #[schema(value_type = String, format = Password)]
    pub new_password: Secret<String>,
}

/// Sets a new password with the one-time token issued by an administrator.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// One-time token from `POST /api/admin/users/{user_id}/reset`.
    #[schema(value_type = String)]
    pub reset_token: Secret<String>,
    /// New password; at least `auth.password_min_length` characters.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
}

/// State of the caller's second factor.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SecondFactorStatus {
    /// Whether signing in requires a code.
    pub enabled: bool,
    /// When the second factor was enabled; `null` if it is not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Number of unused recovery codes.
    pub recovery_codes_left: u64,
}

/// A second factor that awaits confirmation. Returned only once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TotpSetup {
    /// TOTP secret in base32, for manual entry into an authenticator app.
    #[schema(value_type = String)]
    pub secret: Secret<String>,
    /// The same secret as an `otpauth://…` URL, to be shown as a QR code.
    #[schema(value_type = String)]
    pub url: Secret<String>,
}

/// One-time codes for use when the authenticator app is lost. Returned only once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Ten codes; each works once.
    #[schema(value_type = Vec<String>)]
    pub recovery_codes: Vec<Secret<String>>,
}

/// A data export that is not finished yet. Poll again after a moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExportPending {
    /// State of the export job: `waiting` or `running`.
    pub state: &'static str,
    /// When the export was requested.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}
