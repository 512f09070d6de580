//! Settings of sockets and what lives behind them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[sessions]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsConfig {
    pub authenticate_seconds: u64,
    pub ping_seconds: u64,
    pub grace_seconds: u64,
    pub sync_hold_ms: u64,
    pub frame_bytes: usize,
    pub queue_frames: usize,
    pub per_device: usize,
    pub in_flight: usize,
}

impl SessionsConfig {
    /// How long a socket may stay nameless.
    pub fn authenticate(&self) -> Duration {
        Duration::from_secs(self.authenticate_seconds)
    }

    /// The time between pings.
    pub fn ping(&self) -> Duration {
        Duration::from_secs(self.ping_seconds)
    }

    /// How long a session waits for its device to come back.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }

    /// How long messages wait for the first `sync`.
    pub fn hold(&self) -> Duration {
        Duration::from_millis(self.sync_hold_ms)
    }
}
