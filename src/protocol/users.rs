//! Users, as other users see them.

use base::ids::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Identity of a user, as shown to other users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserSummary {
    /// Identifier of the user.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Display name of the user.
    pub name: String,
}
