//! Settings of the blob store.

use std::path::{Path, PathBuf};

use base::secret::Secret;
use serde::{Deserialize, Serialize};

/// `[storage]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    pub backend: StorageKind,
    pub path: PathBuf,
    pub bucket: String,
    pub prefix: String,
    pub endpoint: String,
    pub region: String,
    pub path_style: bool,
    pub access_key: String,
    #[serde(skip_serializing)]
    pub secret_key: Secret<String>,
    pub secret_key_file: PathBuf,
}

/// Backend of the blob store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageKind {
    /// A directory.
    Disk,
    /// An S3 bucket.
    S3,
}

impl StorageConfig {
    /// The directory of blobs and of uploads in progress.
    pub fn directory(&self, data_dir: &Path) -> PathBuf {
        if self.path.as_os_str().is_empty() { data_dir.to_owned() } else { self.path.clone() }
    }
}
