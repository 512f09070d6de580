//! Cluster nodes and the leases they own.

use std::time::Duration;

use base::ids::{DeviceId, NodeId, UserId};

use crate::error::Result;
use crate::rows::{
    FencingTokenRow, HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow,
};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Registers a node; its first heartbeat is valid for `ttl`.
    pub async fn join_cluster(&self, heartbeat: NodeHeartbeat, ttl: Duration) -> Result<()> {
        write_tx!(self, cluster::join_cluster(heartbeat, ttl))
    }

    /// Renews a node's heartbeat.
    pub async fn heartbeat(
        &self,
        heartbeat: NodeHeartbeat,
        ttl: Duration,
    ) -> Result<HeartbeatOutcome> {
        write_tx!(self, cluster::heartbeat(heartbeat, ttl))
    }

    /// All nodes whose heartbeat is valid.
    pub async fn live_nodes(&self) -> Result<Vec<NodeRow>> {
        read_tx!(self, cluster::live_nodes())
    }

    /// A node leaves: its leases can be claimed at once.
    pub async fn leave_cluster(&self, id: NodeId) -> Result<()> {
        write_tx!(self, cluster::leave_cluster(id))
    }

    /// Declares a node dead that the bus cannot reach, before its heartbeat expires; true if it is
    /// dead. Call it only when the bus reports that nobody listens there: neither sign alone is
    /// proof.
    pub async fn declare_dead(&self, id: NodeId) -> Result<bool> {
        write_tx!(self, cluster::declare_dead(id))
    }

    /// Which of these devices are signed out, or belong to a suspended or deleted user.
    pub async fn signed_out_devices(&self, devices: Vec<DeviceId>) -> Result<Vec<DeviceId>> {
        read_tx!(self, cluster::signed_out_devices(devices))
    }

    /// Which of these users are suspended or deleted.
    pub async fn suspended_users(&self, users: Vec<UserId>) -> Result<Vec<UserId>> {
        read_tx!(self, cluster::suspended_users(users))
    }

    /// Claims the lease `key` for `me` unless its owner is alive.
    pub async fn claim_lease(
        &self,
        key: String,
        value: String,
        me: NodeId,
    ) -> Result<LeaseClaimOutcome> {
        write_tx!(self, cluster::claim_lease(key, value, me))
    }

    /// The lease `key`, whether its owner is alive or dead.
    pub async fn lease(&self, key: String) -> Result<Option<LeaseRow>> {
        read_tx!(self, cluster::lease(key))
    }

    /// The lease whose value is `value`.
    pub async fn lease_by_value(&self, value: String) -> Result<Option<LeaseRow>> {
        read_tx!(self, cluster::lease_by_value(value))
    }

    /// The leases of dead nodes whose keys start with `prefix`.
    pub async fn orphaned_leases(&self, prefix: String) -> Result<Vec<LeaseRow>> {
        read_tx!(self, cluster::orphaned_leases(prefix))
    }

    /// Transfers a lease to another node; returns the new epoch, or `None` if the fencing token is
    /// stale or the other node is not alive.
    pub async fn transfer_lease(&self, token: FencingTokenRow, to: NodeId) -> Result<Option<i64>> {
        write_tx!(self, cluster::transfer_lease(token, to))
    }

    /// Replaces a lease's value; false if the fencing token is stale.
    pub async fn set_lease_value(&self, token: FencingTokenRow, value: String) -> Result<bool> {
        write_tx!(self, cluster::set_lease_value(token, value))
    }

    /// Releases a lease; false if the fencing token is stale.
    pub async fn release_lease(&self, token: FencingTokenRow) -> Result<bool> {
        write_tx!(self, cluster::release_lease(token))
    }
}
