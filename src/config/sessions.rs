//! Settings of sockets and the sessions behind them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[sessions]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsConfig {
    pub authenticate_timeout_seconds: u64,
    pub ping_interval_seconds: u64,
    pub resume_window_seconds: u64,
    pub initial_sync_wait_ms: u64,
    pub max_frame_bytes: usize,
    pub send_queue_capacity: usize,
    pub max_per_device: usize,
    pub max_in_flight_requests: usize,
}

impl SessionsConfig {
    /// How long a socket may stay unauthenticated.
    pub fn authenticate_timeout(&self) -> Duration {
        Duration::from_secs(self.authenticate_timeout_seconds)
    }

    /// Interval between two pings of a socket.
    pub fn ping_interval(&self) -> Duration {
        Duration::from_secs(self.ping_interval_seconds)
    }

    /// How long a session waits for its device to reconnect.
    pub fn resume_window(&self) -> Duration {
        Duration::from_secs(self.resume_window_seconds)
    }

    /// How long messages are held back until the first `sync`.
    pub fn initial_sync_wait(&self) -> Duration {
        Duration::from_millis(self.initial_sync_wait_ms)
    }
}
