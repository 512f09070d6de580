//! User administration API.

use base::clock::Timestamp;
use base::ids::UserId;
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Filters users. An absent filter matches every user.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeopleQuery {
    /// Maximum number of users: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next` of the previous page.
    pub after: Option<String>,
    /// Prefix of a display name, or of a phone number if it starts with `+`.
    pub q: Option<String>,
    /// Only users with this role: `user`, `admin` or `operator`.
    pub role: Option<String>,
    /// Only suspended (`true`) or not suspended (`false`) users.
    pub suspended: Option<bool>,
}

/// A user, as administrators see them.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct UserAdminView {
    /// Stable identifier of the user.
    #[schema(value_type = String)]
    pub id: UserId,
    /// Phone number in E.164.
    pub phone: String,
    /// Display name of the user.
    pub name: String,
    /// Server-wide role: `user`, `admin` or `operator`.
    #[schema(example = "user")]
    pub role: String,
    /// When the account was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the user was suspended; `null` if not suspended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub suspended_at: Option<Timestamp>,
    /// Whether signing in requires a code.
    pub second_factor: bool,
}

/// Changes a user's server-wide role.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRole {
    /// New role: `user`, `admin` or `operator`.
    #[schema(example = "operator")]
    pub role: String,
}

/// Creates a one-time token with which a user sets a new password.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePasswordReset {
    /// Whether using the token also disables the second factor, for a user who lost both the
    /// authenticator and the recovery codes.
    #[serde(default)]
    pub drop_second_factor: bool,
}

/// A password reset token, returned only once. It replaces earlier tokens of the user.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedPasswordReset {
    /// Token for `POST /api/auth/reset`.
    #[schema(value_type = String)]
    pub reset_token: Secret<String>,
    /// When the token expires.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
