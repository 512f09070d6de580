//! Settings of what nodes share.

use std::path::PathBuf;

use base::secret::Secret;
use serde::{Deserialize, Serialize};

/// `[cluster]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    #[serde(skip_serializing)] // it may hold a password
    pub amqp_url: Secret<String>,
    #[serde(skip_serializing)] // it may hold a password
    pub redis_url: Secret<String>,
    pub redis_key_prefix: String,
    pub ca_file: PathBuf,
    pub outbox_capacity: usize,
    pub queue_max_length: u32,
}

impl ClusterConfig {
    /// Whether there may be other nodes.
    pub fn is_on(&self) -> bool {
        !self.amqp_url.expose().is_empty()
    }

    /// The text of `certificates`, if it is set.
    ///
    /// # Errors
    /// The file cannot be read, in words.
    pub fn authorities(&self) -> Result<Option<String>, String> {
        let path = &self.ca_file;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path);
        text.map(Some).map_err(|e| format!("cluster.ca_file {}: {e}", path.display()))
    }
}
