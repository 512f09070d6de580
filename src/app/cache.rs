//! The cache: in this process, or shared by all nodes.

use std::sync::Arc;

use base::clock::Clock;

use super::StartupError;
use crate::cluster::{Cache, InMemoryCache, RedisCache, redis};
use crate::config::Config;

/// The cache: in this process, or the one that all nodes share.
pub(super) fn cache(config: &Config, clock: &Clock) -> Result<Arc<dyn Cache>, StartupError> {
    Ok(match shared_cache(config).map_err(StartupError::Environment)? {
        Some(cache) => Arc::new(cache),
        None => Arc::new(InMemoryCache::new(clock.clone(), config.limits.max_tracked_keys)),
    })
}

/// The cache that all nodes share, if one is configured.
///
/// # Errors
/// A text that says which setting is invalid.
pub fn shared_cache(config: &Config) -> Result<Option<RedisCache>, String> {
    let cluster = &config.cluster;
    if cluster.redis_url.expose().is_empty() {
        return Ok(None);
    }
    let settings = redis::RedisConfig {
        url: cluster.redis_url.clone(),
        ca_pem: cluster.read_ca_file()?,
        key_prefix: cluster.redis_key_prefix.clone(),
    };
    RedisCache::new(&settings).map(Some).map_err(|e| format!("cluster.redis_url: {e}"))
}
