//! Settings of TURN.

use std::net::IpAddr;
use std::time::Duration;

use base::secret::Secret;
use serde::{Deserialize, Serialize};

/// `[turn]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnConfig {
    pub mode: EmbeddedTurnMode,
    pub bind: IpAddr,
    pub port: u16,
    pub tls_port: u16,
    pub public_host: String,
    pub external_relay_addresses: Vec<IpAddr>,
    pub relay_port_min: u16,
    pub relay_port_max: u16,
    pub allow_private_peers: bool,
    pub max_allocations_per_user: usize,
    pub max_allocations: usize,
    pub max_bps_per_user: u64,
    pub credential_ttl_seconds: u64,
    #[serde(serialize_with = "redacted")]
    pub secret: Secret<String>,
    pub external_urls: Vec<String>,
}

/// Whether the embedded TURN server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddedTurnMode {
    /// Unless `external_urls` names another server.
    Auto,
    On,
    Off,
}

impl TurnConfig {
    /// Whether the embedded TURN server runs.
    pub const fn is_embedded_enabled(&self) -> bool {
        match self.mode {
            EmbeddedTurnMode::Auto => self.external_urls.is_empty(),
            EmbeddedTurnMode::On => true,
            EmbeddedTurnMode::Off => false,
        }
    }

    /// Lifetime of TURN credentials.
    pub const fn credential_ttl(&self) -> Duration {
        Duration::from_secs(self.credential_ttl_seconds)
    }
}

/// Serialises a secret as `***`: `config check` prints the settings, but no secret.
fn redacted<S: serde::Serializer>(secret: &Secret<String>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(if secret.expose().is_empty() { "" } else { "***" })
}
