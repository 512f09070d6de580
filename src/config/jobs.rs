//! Settings of background jobs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[jobs]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsConfig {
    pub lease_seconds: u64,
    pub max_attempts: u32,
}

impl JobsConfig {
    /// How long a worker holds the lease of a job.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }
}
