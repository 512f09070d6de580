//! Settings of the process itself.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[node]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub data_dir: PathBuf,
    pub shutdown_seconds: u64,
    pub actor_threads: usize,
}

impl Node {
    /// How long a graceful shutdown may take.
    pub fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds)
    }
}
