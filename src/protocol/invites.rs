//! Invite links to groups.

use base::clock::Timestamp;
use base::ids::{InviteId, UserId};
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Creates an invite to a group.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvite {
    /// Validity in seconds, at least 60; one week if absent.
    #[schema(minimum = 60)]
    pub seconds: Option<i64>,
    /// Maximum number of uses; unlimited if absent.
    #[schema(minimum = 1, maximum = 100_000)]
    pub uses: Option<i64>,
}

/// An invite that can still be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct InviteView {
    /// Identifier of the invite; it does not grant access.
    #[schema(value_type = String)]
    pub id: InviteId,
    /// User who created the invite.
    #[schema(value_type = String)]
    pub created_by: UserId,
    /// When the invite was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the invite expires.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Remaining uses; absent if unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses_left: Option<i64>,
    /// Number of times the invite was used.
    pub uses: i64,
}

/// A new invite. The token is returned only once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedInvite {
    /// The invite as it appears in the list.
    #[serde(flatten)]
    pub invite: InviteView,
    /// Secret with which anybody can join: `POST /api/invites/{token}`.
    #[schema(value_type = String)]
    pub token: Secret<String>,
}
