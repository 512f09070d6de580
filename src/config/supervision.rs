//! Settings of when an actor counts as stuck.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[supervision]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisionConfig {
    pub watchdog_warn_ms: u64,
    pub watchdog_replace_thread_ms: u64,
    pub watchdog_exit_ms: u64,
}

impl SupervisionConfig {
    /// When a blocked handler is reported.
    pub fn warn(&self) -> Duration {
        Duration::from_millis(self.watchdog_warn_ms)
    }

    /// When its thread is given up.
    pub fn lost(&self) -> Duration {
        Duration::from_millis(self.watchdog_replace_thread_ms)
    }

    /// When the process ends.
    pub fn exit(&self) -> Duration {
        Duration::from_millis(self.watchdog_exit_ms)
    }
}
