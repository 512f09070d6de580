//! Settings of calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[calls]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallsConfig {
    pub ring_timeout_seconds: u64,
    pub max_duration_seconds: u64,
    pub max_participants: usize,
    pub max_calls: usize,
    pub max_participants_per_node: usize,
    pub max_calls_per_user: usize,
    pub session_creation: SessionCreationPolicy,
    pub token_ttl_seconds: u64,
}

/// Who may create a call session by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionCreationPolicy {
    /// Every signed-in user who knows the name.
    Anybody,
    /// Only services, which issue call tokens.
    Services,
}

impl CallsConfig {
    /// How long devices ring.
    pub const fn ring_timeout(&self) -> Duration {
        Duration::from_secs(self.ring_timeout_seconds)
    }

    /// Maximum duration of a call; `None` without limit.
    pub fn max_duration(&self) -> Option<Duration> {
        (self.max_duration_seconds > 0).then(|| Duration::from_secs(self.max_duration_seconds))
    }
}
