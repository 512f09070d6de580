//! Settings of the services that nodes share.

use std::path::PathBuf;

use base::secret::Secret;
use serde::{Deserialize, Serialize};

/// `[cluster]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    #[serde(skip_serializing)] // it may contain a password
    pub amqp_url: Secret<String>,
    #[serde(skip_serializing)] // it may contain a password
    pub redis_url: Secret<String>,
    pub redis_key_prefix: String,
    pub ca_file: PathBuf,
    pub outbox_capacity: usize,
    pub queue_max_length: u32,
}

impl ClusterConfig {
    /// Whether a bus is configured, so that there may be other nodes.
    pub fn is_enabled(&self) -> bool {
        !self.amqp_url.expose().is_empty()
    }

    /// The content of `ca_file`, if it is set.
    ///
    /// # Errors
    /// A text that says why the file cannot be read.
    pub fn read_ca_file(&self) -> Result<Option<String>, String> {
        let path = &self.ca_file;
        if path.as_os_str().is_empty() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path);
        text.map(Some).map_err(|e| format!("cluster.ca_file {}: {e}", path.display()))
    }
}
