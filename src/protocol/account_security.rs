//! The care of an account, as it crosses the wire: passwords, second factors, exports, its end.

use base::clock::Timestamp;
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The person's own password, asked for again.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordConfirmation {
    /// The password.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
}

/// The person's own password, and a code if there is a second factor.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reauthentication {
    /// The password.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
    /// A code of the authenticator app, or a recovery code.
    #[schema(value_type = Option<String>, example = "287082")]
    pub code: Option<Secret<String>>,
}

/// A code of the authenticator app.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpCode {
    /// Six digits.
    #[schema(value_type = String, example = "287082")]
    pub code: Secret<String>,
}

/// Changes one's own password.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The one before.
    #[schema(value_type = String, format = Password)]
    pub old_password: Secret<String>,
    /// The one from now on.
    #[schema(value_type = String, format = Password)]
    pub new_password: Secret<String>,
}

/// Sets a new password with the one-time token that an administrator gave.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// The token.
    #[schema(value_type = String)]
    pub reset_token: Secret<String>,
    /// The password from now on.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
}

/// The person's second factor.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SecondFactorStatus {
    /// Whether signing in needs a code.
    pub enabled: bool,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// How many recovery codes are left.
    pub recovery_codes_left: u64,
}

/// A second factor that is to be confirmed; shown this once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TotpSetup {
    /// The secret, base32, for authenticator apps that are told by hand.
    #[schema(value_type = String)]
    pub secret: Secret<String>,
    /// The same as `otpauth://…`, to be shown as a QR code.
    #[schema(value_type = String)]
    pub url: Secret<String>,
}

/// Codes that work once each, when the authenticator app is lost; shown this once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Ten of them.
    #[schema(value_type = Vec<String>)]
    pub recovery_codes: Vec<Secret<String>>,
}

/// An archive that is being made: ask again in a moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ExportPending {
    /// `waiting` or `running`.
    pub state: &'static str,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}
