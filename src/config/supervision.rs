//! Settings of the watchdog for stuck actors.

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
    /// After how long a blocked handler is reported.
    pub fn warn_after(&self) -> Duration {
        Duration::from_millis(self.watchdog_warn_ms)
    }

    /// After how long its thread is replaced.
    pub fn replace_thread_after(&self) -> Duration {
        Duration::from_millis(self.watchdog_replace_thread_ms)
    }

    /// After how long the process ends.
    pub fn exit_after(&self) -> Duration {
        Duration::from_millis(self.watchdog_exit_ms)
    }
}
