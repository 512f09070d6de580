//! Settings of the database.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[database]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseConfig {
    #[serde(skip_serializing)] // it may contain a password
    pub url: String,
    pub max_connections: u32,
    pub sqlite_read_connections: u32,
    pub queue_capacity: usize,
    pub operation_timeout_ms: u64,
    pub group_commit_max_jobs: usize,
    pub synchronous: SynchronousMode,
}

/// How durable a commit in SQLite is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SynchronousMode {
    /// fsync on commit: survives a power cut.
    Full,
    /// Written to the operating system only: survives a crash of this program.
    Normal,
}

impl DatabaseConfig {
    /// The database's location: the configured URL, or the path of the embedded file in `data_dir`.
    pub fn location(&self, data_dir: &Path) -> String {
        if self.url.is_empty() {
            data_dir.join("securevox.db").display().to_string()
        } else {
            self.url.clone()
        }
    }

    /// How long a database operation may take.
    pub fn operation_timeout(&self) -> Duration {
        Duration::from_millis(self.operation_timeout_ms)
    }
}
