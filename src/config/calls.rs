//! Settings of calls.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[calls]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallsConfig {
    pub ring_seconds: u64,
    pub max_seconds: u64,
    pub max_participants: usize,
    pub max_calls: usize,
    pub max_in_calls: usize,
    pub max_per_person: usize,
    pub sessions: SessionCreationPolicy,
    pub token_seconds: u64,
}

/// Who may open a session by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionCreationPolicy {
    /// Everybody who is signed in and knows the name.
    Anybody,
    /// Services only, which hand out call tokens.
    Services,
}

impl CallsConfig {
    /// How long devices ring.
    pub const fn ring(&self) -> Duration {
        Duration::from_secs(self.ring_seconds)
    }

    /// How long a call may last, if there is an end to it.
    pub fn longest(&self) -> Option<Duration> {
        (self.max_seconds > 0).then(|| Duration::from_secs(self.max_seconds))
    }
}
