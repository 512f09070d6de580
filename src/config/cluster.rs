//! Settings of what nodes share.

use std::path::PathBuf;

use base::secret::Secret;
use serde::{Deserialize, Serialize};

/// `[cluster]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    #[serde(skip_serializing)] // it may hold a password
    pub bus: Secret<String>,
    #[serde(skip_serializing)] // it may hold a password
    pub cache: Secret<String>,
    pub cache_prefix: String,
    pub certificates: PathBuf,
    pub outbox: usize,
    pub inbox: u32,
}

impl ClusterConfig {
    /// Whether there may be other nodes.
    pub fn is_on(&self) -> bool {
        !self.bus.expose().is_empty()
    }

    /// The text of `certificates`, if it is set.
    ///
    /// # Errors
    /// The file cannot be read, in words.
    pub fn authorities(&self) -> Result<Option<String>, String> {
        let path = &self.certificates;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path);
        text.map(Some).map_err(|e| format!("cluster.certificates {}: {e}", path.display()))
    }
}
