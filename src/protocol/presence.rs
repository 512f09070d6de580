//! Who is here, as it crosses the wire.

use base::clock::Timestamp;
use base::ids::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether somebody is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// Here.
    Online,
    /// Here, but not at hand.
    Away,
    /// Not here, or they do not want it known.
    Offline,
}

/// What you want to be seen as while you are here, and your words.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutStatus {
    /// `offline` hides that you are here, and since when you are not.
    pub state: PresenceState,
    /// In your own words.
    #[serde(default)]
    #[schema(max_length = 140)]
    pub text: String,
}

/// Whether somebody is here; told to their accepted contacts only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PresenceEvent {
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Whether they are here.
    pub state: PresenceState,
    /// In their own words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// When they were here last, if they are not.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
}
