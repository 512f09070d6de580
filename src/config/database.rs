//! Settings of where things are kept.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[database]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    #[serde(skip_serializing)] // it may hold a password
    pub url: String,
    pub max_connections: u32,
    pub sqlite_read_connections: u32,
    pub queue_capacity: usize,
    pub operation_timeout_ms: u64,
    pub group_commit_max_jobs: usize,
    pub synchronous: SynchronousMode,
}

/// What SQLite does before a commit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SynchronousMode {
    /// fsync: survives a power cut.
    Full,
    /// Hand it to the operating system: survives a crash of this program.
    Normal,
}

impl DatabaseConfig {
    /// The database's address: as configured, or the embedded file in `data_dir`.
    pub fn location(&self, data_dir: &Path) -> String {
        if self.url.is_empty() {
            data_dir.join("securevox.db").display().to_string()
        } else {
            self.url.clone()
        }
    }

    /// How long an operation may take.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.operation_timeout_ms)
    }
}
