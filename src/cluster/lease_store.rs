//! Storage of heartbeats and leases: the database, or an in-memory value in simulations, which are
//! confined to one thread.

use std::time::Duration;

use base::ids::NodeId;
use store::{HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow, Result, Store};

use super::cache::BoxFuture;

/// The storage that all nodes share, as [`NodeLeases`](super::NodeLeases) needs it. Each method is
/// one transaction, under the storage's own clock.
pub trait LeaseStore: Send + Sync + 'static {
    /// Registers a node; its first heartbeat is valid for `ttl`.
    fn join(&self, heartbeat: NodeHeartbeat, ttl: Duration) -> BoxFuture<'_, Result<()>>;
    /// Renews a node's heartbeat.
    fn heartbeat(
        &self,
        heartbeat: NodeHeartbeat,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<HeartbeatOutcome>>;
    /// A node leaves: what it still owns can be claimed at once.
    fn leave(&self, id: NodeId) -> BoxFuture<'_, Result<()>>;
    /// All nodes whose heartbeat is valid.
    fn live_nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>>>;
    /// Declares a node dead that the bus does not find, before its heartbeat expires.
    fn declare_dead(&self, id: NodeId) -> BoxFuture<'_, Result<bool>>;
    /// Claims `key` for `me` unless its owner is alive.
    fn claim(
        &self,
        key: String,
        value: String,
        me: NodeId,
    ) -> BoxFuture<'_, Result<LeaseClaimOutcome>>;
    /// The lease `key`, whether its owner is alive or dead.
    fn lease(&self, key: String) -> BoxFuture<'_, Result<Option<LeaseRow>>>;
    /// The lease with which `value` is stored.
    fn lease_by_value(&self, value: String) -> BoxFuture<'_, Result<Option<LeaseRow>>>;
    /// The leases of dead nodes whose keys start with `prefix`.
    fn orphaned_leases(&self, prefix: String) -> BoxFuture<'_, Result<Vec<LeaseRow>>>;
    /// Transfers a lease to another live node; returns the new epoch.
    fn transfer(
        &self,
        token: store::FencingTokenRow,
        to: NodeId,
    ) -> BoxFuture<'_, Result<Option<i64>>>;
    /// Replaces the value of a lease; false if the fencing token is stale.
    fn set_value(
        &self,
        token: store::FencingTokenRow,
        value: String,
    ) -> BoxFuture<'_, Result<bool>>;
    /// Releases a lease; false if the fencing token is stale.
    fn release(&self, token: store::FencingTokenRow) -> BoxFuture<'_, Result<bool>>;
}

impl LeaseStore for Store {
    fn join(&self, heartbeat: NodeHeartbeat, ttl: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.join_cluster(heartbeat, ttl))
    }

    fn heartbeat(
        &self,
        heartbeat: NodeHeartbeat,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<HeartbeatOutcome>> {
        Box::pin(Self::heartbeat(self, heartbeat, ttl))
    }

    fn leave(&self, id: NodeId) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.leave_cluster(id))
    }

    fn live_nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>>> {
        Box::pin(Self::live_nodes(self))
    }

    fn declare_dead(&self, id: NodeId) -> BoxFuture<'_, Result<bool>> {
        Box::pin(Self::declare_dead(self, id))
    }

    fn claim(
        &self,
        key: String,
        value: String,
        me: NodeId,
    ) -> BoxFuture<'_, Result<LeaseClaimOutcome>> {
        Box::pin(Self::claim_lease(self, key, value, me))
    }

    fn lease(&self, key: String) -> BoxFuture<'_, Result<Option<LeaseRow>>> {
        Box::pin(Self::lease(self, key))
    }

    fn lease_by_value(&self, value: String) -> BoxFuture<'_, Result<Option<LeaseRow>>> {
        Box::pin(Self::lease_by_value(self, value))
    }

    fn orphaned_leases(&self, prefix: String) -> BoxFuture<'_, Result<Vec<LeaseRow>>> {
        Box::pin(Self::orphaned_leases(self, prefix))
    }

    fn transfer(
        &self,
        token: store::FencingTokenRow,
        to: NodeId,
    ) -> BoxFuture<'_, Result<Option<i64>>> {
        Box::pin(Self::transfer_lease(self, token, to))
    }

    fn set_value(
        &self,
        token: store::FencingTokenRow,
        value: String,
    ) -> BoxFuture<'_, Result<bool>> {
        Box::pin(self.set_lease_value(token, value))
    }

    fn release(&self, token: store::FencingTokenRow) -> BoxFuture<'_, Result<bool>> {
        Box::pin(Self::release_lease(self, token))
    }
}
