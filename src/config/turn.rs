//! Settings of what relays media.

use std::time::Duration;

use base::secret::Secret;
use serde::{Deserialize, Serialize};

/// `[turn]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    pub credential_seconds: u64,
    #[serde(serialize_with = "hidden")]
    pub secret: Secret<String>,
    pub urls: Vec<String>,
}

impl Turn {
    /// How long credentials work.
    pub const fn lifetime(&self) -> Duration {
        Duration::from_secs(self.credential_seconds)
    }
}

/// `config check` prints the settings, but no secret.
fn hidden<S: serde::Serializer>(secret: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(if secret.expose().is_empty() { "" } else { "***" })
}
