//! Services shared by the nodes: cache, bus and ownership directory; in-process versions with a
//! single node.

use std::collections::HashSet;
use std::sync::Arc;

use base::ids::NodeId;
use store::NodeLock;

use super::{DomainServices, StartupError, store_config};
use crate::cluster::{
    AmqpBus, Bus, InProcessBus, LocalDirectory, NodeLeases, OwnershipDirectory, amqp,
};
use crate::config::Config;

/// The bus, and the AMQP connections to be driven if it is shared.
fn bus(config: &Config, me: NodeId) -> Result<(Arc<dyn Bus>, Option<AmqpBus>), StartupError> {
    Ok(match shared_bus(config, me).map_err(StartupError::Environment)? {
        Some(bus) => (Arc::new(bus.clone()), Some(bus)),
        None => (Arc::new(InProcessBus::default().connect(me)), None),
    })
}

/// The bus that all nodes share, if one is configured.
///
/// # Errors
/// A text that says which setting is invalid.
pub fn shared_bus(config: &Config, me: NodeId) -> Result<Option<AmqpBus>, String> {
    let cluster = &config.cluster;
    if !cluster.is_enabled() {
        return Ok(None);
    }
    let settings = amqp::AmqpConfig {
        url: cluster.amqp_url.clone(),
        ca_pem: cluster.read_ca_file()?,
        name: config.node.name(),
        outbox_capacity: cluster.outbox_capacity,
        queue_max_length: cluster.queue_max_length,
    };
    AmqpBus::new(me, settings).map(Some).map_err(|e| format!("cluster.amqp_url: {e}"))
}

/// Connection of this node to the others.
pub(super) struct ClusterServices {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) drivers: Option<AmqpBus>,
    pub(super) directory: Arc<dyn OwnershipDirectory>,
    pub(super) leases: Option<NodeLeases>,
    pub(super) lock: Option<Arc<NodeLock>>,
    /// The live nodes.
    pub(super) live_nodes: HashSet<NodeId>,
}

pub(super) async fn cluster(
    config: &Config,
    domain: &DomainServices,
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
            live_nodes: HashSet::new(),
        });
    }
    let (name, url) = (config.node.name(), config.http.public_url.clone());
    let lock = Arc::new(NodeLock::take(&store_config(config).url, node)?);
    let is_locked = Arc::clone(&lock);
    let is_locked = Arc::new(move || is_locked.is_held());
    let lease_store = Arc::new(domain.store.clone());
    let leases = NodeLeases::new(lease_store, domain.clock.clone(), is_locked, node, name, url);
    let members =
        leases.join().await.map_err(|error| StartupError::Environment(error.to_string()))?;
    let live_nodes = members.nodes.into_iter().map(|node| node.id).collect();
    let directory = Arc::new(leases.clone());
    Ok(ClusterServices {
        bus,
        drivers,
        directory,
        leases: Some(leases),
        lock: Some(lock),
        live_nodes,
    })
}
