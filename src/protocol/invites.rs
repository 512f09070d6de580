//! Links with which people join a group, as they cross the wire.

use base::clock::Timestamp;
use base::ids::{InviteId, UserId};
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Makes an invite.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvite {
    /// How long it is good; a week where it is left out.
    #[schema(minimum = 60)]
    pub seconds: Option<i64>,
    /// How often it may be used; any number where it is left out.
    #[schema(minimum = 1, maximum = 100_000)]
    pub uses: Option<i64>,
}

/// An invite that is still good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InviteView {
    /// Names it, without opening anything.
    #[schema(value_type = String)]
    pub id: InviteId,
    /// Who made it.
    #[schema(value_type = String)]
    pub created_by: UserId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Until when it is good.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// How often it may still be used; any number where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<i64>,
    /// How often it was used.
    pub uses: i64,
}

/// An invite that was just made; its token is shown this once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedInvite {
    /// The invite.
    #[serde(flatten)]
    pub invite: InviteView,
    /// With it anybody joins: `POST /api/invites/{token}`.
    #[schema(value_type = String)]
    pub token: Secret<String>,
}
