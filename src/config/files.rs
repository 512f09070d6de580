//! Settings of attachments and uploads.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[files]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    pub max_bytes: u64,
    pub user_quota_bytes: u64,
    pub max_concurrent_uploads: usize,
    pub max_resumable_uploads_per_user: u32,
    pub upload_ttl_hours: u64,
    pub unreferenced_ttl_hours: u64,
    pub max_image_bytes: u64,
    pub max_image_pixels: u64,
    pub image_threads: usize,
    pub thumbnail_max_edge_pixels: u32,
}

impl FilesConfig {
    /// How long an upload may take before it is discarded.
    pub fn upload_ttl(&self) -> Duration {
        Duration::from_secs(self.upload_ttl_hours * 3600)
    }

    /// How long an attachment is kept that no message uses.
    pub fn unreferenced_ttl(&self) -> Duration {
        Duration::from_secs(self.unreferenced_ttl_hours * 3600)
    }
}
