//! Settings of rate limits.

use serde::{Deserialize, Serialize};

/// `[limits]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimitsConfig {
    pub api_per_second: u32,
    pub api_burst: u32,
    pub login_per_minute: u32,
    pub registration_per_minute: u32,
    pub second_factor_attempts_per_hour: u32,
    pub contact_requests_per_minute: u32,
    pub rings_per_callee_per_minute: u32,
    pub address_book_lookups_per_hour: u32,
    pub events_per_second: u32,
    pub events_burst: u32,
    pub events_max_violations: u32,
    pub max_tracked_keys: usize,
}
