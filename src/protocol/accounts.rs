//! Accounts, devices and tokens, as they cross the wire.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::account_security::*;

/// What a device calls itself.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceDescription {
    /// Shown in the list of devices.
    #[schema(example = "Alice's phone", max_length = 100)]
    pub name: String,
    /// For example `ios`, `android`, `web`.
    #[schema(example = "android", max_length = 40)]
    pub platform: String,
}

/// Makes an account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// As dialled from abroad; kept in E.164.
    #[schema(example = "+4915112345678")]
    pub phone: String,
    /// At least `auth.password_min_length` characters.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
    /// How others see the person.
    #[schema(example = "Alice", min_length = 1, max_length = 100)]
    pub name: String,
    /// The device the person sits at.
    pub device: DeviceDescription,
}

/// Signs a device in.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The phone number of the account.
    #[schema(example = "+4915112345678")]
    pub phone: String,
    /// Its password.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
    /// The device; without it one is named for the person.
    pub device: Option<DeviceDescription>,
    /// If the person has a second factor: the code that the authenticator app shows, or a recovery
    /// code. Without it the answer is then `auth/second-factor-required`.
    #[schema(value_type = Option<String>, example = "287082")]
    pub code: Option<Secret<String>>,
}

/// Exchanges a refresh token for new tokens.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The newest refresh token of the device.
    #[schema(value_type = String)]
    pub refresh_token: Secret<String>,
}

/// Makes the first administrator, with the one-time link that the server printed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupAdmin {
    /// What stands behind `#` in the link.
    #[schema(value_type = String)]
    pub setup_token: Secret<String>,
    /// As in registration.
    #[schema(example = "+4915112345678")]
    pub phone: String,
    /// As in registration.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
    /// As in registration.
    pub name: String,
    /// As in registration.
    pub device: DeviceDescription,
}

/// A person, to themselves.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OwnAccount {
    /// Stable.
    #[schema(value_type = String, example = "usr_0198c0de0000700080000000000000aa")]
    pub id: UserId,
    /// In E.164.
    pub phone: String,
    /// How others see the person.
    pub name: String,
    /// `user`, `admin` or `operator`.
    #[schema(example = "user")]
    pub role: String,
}

/// Names a device.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceSummary {
    /// Stable until it is signed out.
    #[schema(value_type = String)]
    pub id: DeviceId,
}

/// The answer to registration, sign-in and refresh.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SignedIn {
    /// Who signed in.
    pub user: OwnAccount,
    /// On which device.
    pub device: DeviceSummary,
    /// For `Authorization: Bearer …` and the event `authenticate`.
    #[schema(value_type = String)]
    pub access_token: Secret<String>,
    /// For one `POST /api/auth/refresh`.
    #[schema(value_type = String)]
    pub refresh_token: Secret<String>,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token ends.
    pub expires_in: u64,
}

/// A signed-in device, as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceView {
    /// For `DELETE /api/me/devices/{id}`.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// As the device named itself.
    pub name: String,
    /// As the device named itself.
    pub platform: String,
    /// When it signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last asked for tokens.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// From which address that was.
    pub last_ip: Option<String>,
    /// What it said it was when it signed in.
    pub user_agent: Option<String>,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// All devices of a person.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Devices {
    /// Newest first.
    pub items: Vec<DeviceView>,
    /// Always `null`: a person has few devices.
    pub next: Option<String>,
}

/// Changes one's own account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMe {
    /// The new name.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
}

/// The public keys of access tokens (RFC 7517, RFC 8037).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Jwks {
    /// The active key and those whose tokens may still be valid.
    pub keys: Vec<Jwk>,
}

/// One public key.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Jwk {
    /// Always `OKP`.
    pub kty: &'static str,
    /// Always `Ed25519`.
    pub crv: &'static str,
    /// Always `EdDSA`.
    pub alg: &'static str,
    /// Always `sig`.
    pub r#use: &'static str,
    /// As in the header of the tokens it signed.
    pub kid: String,
    /// The key, base64url without padding.
    pub x: String,
}
