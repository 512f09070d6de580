//! What nodes share: the cache, the bus, the directory; each alone where there is one node.

use std::collections::HashSet;
use std::sync::Arc;

use base::clock::Clock;
use base::ids::NodeId;
use store::NodeLock;

use super::{DomainServices, StartupError, store_config};
use crate::cluster::{
    AmqpBus, Bus, Cache, InMemoryCache, InProcessBus, LocalDirectory, NodeLeases,
    OwnershipDirectory, RedisCache, amqp, redis,
};
use crate::config::Config;

/// The cache: within this process, or the one that all nodes share.
pub(super) fn cache(config: &Config, clock: &Clock) -> Result<Arc<dyn Cache>, StartupError> {
    Ok(match shared_cache(config).map_err(StartupError::Outside)? {
        Some(cache) => Arc::new(cache),
        None => Arc::new(InMemoryCache::new(clock.clone(), config.limits.max_tracked_keys)),
    })
}

/// The cache that all nodes share, if one is configured.
///
/// # Errors
/// What is wrong with the settings, in words.
pub fn shared_cache(config: &Config) -> Result<Option<RedisCache>, String> {
    let cluster = &config.cluster;
    if cluster.redis_url.expose().is_empty() {
        return Ok(None);
    }
    let settings = redis::RedisConfig {
        url: cluster.redis_url.clone(),
        authorities: cluster.authorities()?,
        prefix: cluster.redis_key_prefix.clone(),
    };
    RedisCache::new(&settings).map(Some).map_err(|e| format!("cluster.redis_url: {e}"))
}

/// The bus, and its drivers if it leads to other processes.
fn bus(config: &Config, me: NodeId) -> Result<(Arc<dyn Bus>, Option<AmqpBus>), StartupError> {
    Ok(match shared_bus(config, me).map_err(StartupError::Outside)? {
        Some(bus) => (Arc::new(bus.clone()), Some(bus)),
        None => (Arc::new(InProcessBus::default().plug(me)), None),
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
    let settings = amqp::AmqpConfig {
        url: cluster.amqp_url.clone(),
        authorities: cluster.authorities()?,
        name: config.node.name(),
        outbox: cluster.outbox_capacity,
        inbox: cluster.queue_max_length,
    };
    AmqpBus::new(me, settings).map(Some).map_err(|e| format!("cluster.amqp_url: {e}"))
}

/// What there is between nodes.
pub(super) struct ClusterServices {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) drivers: Option<AmqpBus>,
    pub(super) directory: Arc<dyn OwnershipDirectory>,
    pub(super) leases: Option<NodeLeases>,
    pub(super) lock: Option<Arc<NodeLock>>,
    /// The nodes that live.
    pub(super) others: HashSet<NodeId>,
}

pub(super) async fn cluster(
    config: &Config,
    deeds: &DomainServices,
    node: NodeId,
) -> Result<ClusterServices, StartupError> {
    let (bus, drivers) = bus(config, node)?;
    if drivers.is_none() {
        let directory = Arc::new(LocalDirectory::new(node));
        return Ok(ClusterServices {
            bus,
            drivers,
            directory,
            leases: None,
            lock: None,
            others: HashSet::new(),
        });
    }
    let (name, url) = (config.node.name(), config.http.public_url.clone());
    let lock = Arc::new(NodeLock::take(&store_config(config).url, node)?);
    let locked = Arc::clone(&lock);
    let locked = Arc::new(move || locked.is_held());
    let registry = Arc::new(deeds.store.clone());
    let leases = NodeLeases::new(registry, deeds.clock.clone(), locked, node, name, url);
    let roster = leases.join().await.map_err(|error| StartupError::Outside(error.to_string()))?;
    let others = roster.nodes.into_iter().map(|node| node.id).collect();
    let directory = Arc::new(leases.clone());
    Ok(ClusterServices { bus, drivers, directory, leases: Some(leases), lock: Some(lock), others })
}
