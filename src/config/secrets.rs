//! Settings of the keys that seal secrets in the database.

use std::path::{Path, PathBuf};

use base::secret::Secret;
use serde::{Deserialize, Serialize};

/// `[secrets]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretsConfig {
    #[serde(skip_serializing)]
    pub keys: Vec<Secret<String>>,
    pub key_file: PathBuf,
}

impl SecretsConfig {
    /// Path of the key file; `None` if the keys are given in the settings themselves.
    pub fn key_file(&self, data_dir: &Path) -> Option<PathBuf> {
        if !self.keys.is_empty() {
            None
        } else if self.key_file.as_os_str().is_empty() {
            Some(data_dir.join("secrets.keys"))
        } else {
            Some(self.key_file.clone())
        }
    }
}
