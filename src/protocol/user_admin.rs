//! People, as administrators see and change them.

use base::clock::Timestamp;
use base::ids::UserId;
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which people are wanted; what is left out fits everybody.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeopleQuery {
    /// How many at most: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the piece before ended.
    pub after: Option<String>,
    /// The beginning of a name; or of a phone number, if it begins with `+`.
    pub q: Option<String>,
    /// `user`, `admin` or `operator`.
    pub role: Option<String>,
    /// Whether they are suspended.
    pub suspended: Option<bool>,
}

/// A person, to administrators.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct UserAdminView {
    /// Stable.
    #[schema(value_type = String)]
    pub id: UserId,
    /// In E.164.
    pub phone: String,
    /// How others see the person.
    pub name: String,
    /// `user`, `admin` or `operator`.
    #[schema(example = "user")]
    pub role: String,
    /// When they came.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Since when they are kept out.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub suspended_at: Option<Timestamp>,
    /// Whether signing in needs a code.
    pub second_factor: bool,
}

/// Changes what a person may do.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRole {
    /// `user`, `admin` or `operator`.
    #[schema(example = "operator")]
    pub role: String,
}

/// Makes a one-time token with which a person chooses a new password.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePasswordReset {
    /// Whether using it also switches the second factor off: the person has lost it, and the
    /// recovery codes.
    #[serde(default)]
    pub drop_second_factor: bool,
}

/// Such a token, shown this once; it replaces earlier ones of that person.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedPasswordReset {
    /// For `POST /api/auth/reset`.
    #[schema(value_type = String)]
    pub reset_token: Secret<String>,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
