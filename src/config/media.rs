//! Settings of the SFU.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `[media]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaConfig {
    pub threads: usize,
    pub bind: IpAddr,
    pub port_base: u16,
    pub external_addresses: Vec<IpAddr>,
    pub last_n_video: usize,
    pub last_n_audio: usize,
    pub max_uplink_bps: u64,
}
