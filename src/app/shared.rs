//! The bus and the cache that the settings ask for: of this process, or those that nodes share.

use std::sync::Arc;

use base::clock::Clock;
use base::ids::NodeId;

use super::Error;
use crate::cluster::{AmqpBus, Bus, Cache, EmbeddedCache, LocalHub, RedisCache, amqp, redis};
use crate::config::Config;

/// The cache: within this process, or the one that all nodes share.
pub(super) fn cache(config: &Config, clock: &Clock) -> Result<Arc<dyn Cache>, Error> {
    Ok(match shared_cache(config).map_err(Error::Outside)? {
        Some(cache) => Arc::new(cache),
        None => Arc::new(EmbeddedCache::new(clock.clone(), config.limits.keys)),
    })
}

/// The cache that all nodes share, if one is configured.
///
/// # Errors
/// What is wrong with the settings, in words.
pub fn shared_cache(config: &Config) -> Result<Option<RedisCache>, String> {
    let cluster = &config.cluster;
    if cluster.cache.expose().is_empty() {
        return Ok(None);
    }
    let settings = redis::Settings {
        url: cluster.cache.clone(),
        authorities: cluster.authorities()?,
        prefix: cluster.cache_prefix.clone(),
    };
    RedisCache::new(&settings).map(Some).map_err(|e| format!("cluster.cache: {e}"))
}

/// The bus, and its drivers if it leads to other processes.
pub(super) fn bus(config: &Config, me: NodeId) -> Result<(Arc<dyn Bus>, Option<AmqpBus>), Error> {
    Ok(match shared_bus(config, me).map_err(Error::Outside)? {
        Some(bus) => (Arc::new(bus.clone()), Some(bus)),
        None => (Arc::new(LocalHub::default().plug(me)), None),
    })
}

/// The bus that all nodes share, if one is configured.
///
/// # Errors
/// What is wrong with the settings, in words.
pub fn shared_bus(config: &Config, me: NodeId) -> Result<Option<AmqpBus>, String> {
    let cluster = &config.cluster;
    if !cluster.is_on() {
        return Ok(None);
    }
    let settings = amqp::Settings {
        url: cluster.bus.clone(),
        authorities: cluster.authorities()?,
        name: config.node.name(),
        outbox: cluster.outbox,
        inbox: cluster.inbox,
    };
    AmqpBus::new(me, settings).map(Some).map_err(|e| format!("cluster.bus: {e}"))
}
