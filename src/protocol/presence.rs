//! Presence of users.

use base::clock::Timestamp;
use base::ids::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Presence state of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// Connected and available.
    Online,
    /// Connected, but away.
    Away,
    /// Not connected, or hidden by the user.
    Offline,
}

/// Sets the caller's presence status.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutStatus {
    /// State to show while connected; `offline` hides presence and last-seen time.
    pub state: PresenceState,
    /// Free status text, at most 140 characters.
    #[serde(default)]
    #[schema(max_length = 140)]
    pub text: String,
}

/// Presence of a user; sent to accepted contacts only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PresenceEvent {
    /// Identifier of the user.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Current presence state.
    pub state: PresenceState,
    /// Free status text; absent if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// When the user was last online; absent while online or if hidden.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
}
