//! Request and response types for accounts, devices and tokens.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::account_security::*;

/// How a device describes itself at sign-in.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceDescription {
    /// Display name in the list of devices; at most 100 characters.
    #[schema(example = "Alice's phone", max_length = 100)]
    pub name: String,
    /// Platform, for example `ios`, `android` or `web`; at most 40 characters.
    #[schema(example = "android", max_length = 40)]
    pub platform: String,
}

/// Creates an account and signs its first device in.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// Phone number in international format; stored in E.164.
    #[schema(example = "+4915112345678")]
    pub phone: String,
    /// Password; at least `auth.password_min_length` characters.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
    /// Display name, 1 to 100 characters.
    #[schema(example = "Alice", min_length = 1, max_length = 100)]
    pub name: String,
    /// The device to sign in.
    pub device: DeviceDescription,
}

/// Signs a device in.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Phone number of the account, in international format.
    #[schema(example = "+4915112345678")]
    pub phone: String,
    /// Password of the account.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
    /// The device to sign in. If absent, the server gives it a default name.
    pub device: Option<DeviceDescription>,
    /// TOTP code of the authenticator app, or a recovery code. Required if the account has a second
    /// factor; without it the request fails with `auth/second-factor-required`.
    #[schema(value_type = Option<String>, example = "287082")]
    pub code: Option<Secret<String>>,
}

/// Exchanges a refresh token for new tokens.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The device's newest refresh token. It works once.
    #[schema(value_type = String)]
    pub refresh_token: Secret<String>,
}

/// Creates the first administrator with the one-time link that the server printed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupAdmin {
    /// The fragment of the link: everything after `#`.
    #[schema(value_type = String)]
    pub setup_token: Secret<String>,
    /// Phone number, as in registration.
    #[schema(example = "+4915112345678")]
    pub phone: String,
    /// Password, as in registration.
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
    /// Display name, as in registration.
    pub name: String,
    /// The device to sign in, as in registration.
    pub device: DeviceDescription,
}

/// The caller's own account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OwnAccount {
    /// Stable identifier of the user.
    #[schema(value_type = String, example = "usr_0198c0de0000700080000000000000aa")]
    pub id: UserId,
    /// Phone number in E.164.
    pub phone: String,
    /// Display name, as other users see it.
    pub name: String,
    /// Server-wide role: `user`, `admin` or `operator`.
    #[schema(example = "user")]
    pub role: String,
}

/// Identifies a device in a response.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceSummary {
    /// Stable until the device is signed out.
    #[schema(value_type = String)]
    pub id: DeviceId,
}

/// Response to registration, sign-in and refresh.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SignedIn {
    /// The account that signed in.
    pub user: OwnAccount,
    /// The device that signed in.
    pub device: DeviceSummary,
    /// Access token for `Authorization: Bearer …` and for the event `authenticate`.
    #[schema(value_type = String)]
    pub access_token: Secret<String>,
    /// Refresh token for one `POST /api/auth/refresh`.
    #[schema(value_type = String)]
    pub refresh_token: Secret<String>,
    /// Always `Bearer`.
    pub token_type: &'static str,
    /// Seconds until the access token expires.
    pub expires_in: u64,
}

/// A signed-in device, as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeviceView {
    /// Identifier for `DELETE /api/me/devices/{id}`.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// Name the device gave at sign-in.
    pub name: String,
    /// Platform the device gave at sign-in.
    pub platform: String,
    /// When the device signed in.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the device last obtained tokens.
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
    /// IP address from which the device last obtained tokens.
    pub last_ip: Option<String>,
    /// `User-Agent` header of the sign-in request.
    pub user_agent: Option<String>,
    /// Whether this is the device that sent the request.
    pub current: bool,
}

/// All signed-in devices of the caller.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Devices {
    /// Devices, newest first.
    pub items: Vec<DeviceView>,
    /// Always `null`: the list is not paginated.
    pub next: Option<String>,
}

/// Changes the caller's own account. Absent fields keep their value.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMe {
    /// New display name, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
}

/// The public keys of access tokens as a JWK set (RFC 7517, RFC 8037).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Jwks {
    /// The active key, and older keys whose tokens may still be valid.
    pub keys: Vec<Jwk>,
}

/// One public key (RFC 8037).
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
    /// Key id, as in the header of the tokens it signed.
    pub kid: String,
    /// Public key, base64url without padding.
    pub x: String,
}
