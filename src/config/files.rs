//! Settings of files that people send.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[files]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    pub max_bytes: u64,
    pub quota_bytes: u64,
    pub at_once: usize,
    pub uploads_per_person: u32,
    pub upload_hours: u64,
    pub unused_hours: u64,
    pub picture_bytes: u64,
    pub picture_pixels: u64,
    pub picture_threads: usize,
    pub thumbnail_pixels: u32,
}

impl FilesConfig {
    /// How long an upload may take before it is given up.
    pub fn upload(&self) -> Duration {
        Duration::from_secs(self.upload_hours * 3600)
    }

    /// How long a file waits for a message.
    pub fn unused(&self) -> Duration {
        Duration::from_secs(self.unused_hours * 3600)
    }
}
