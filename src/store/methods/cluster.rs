//! Nodes and what they own.

use std::time::Duration;

use base::ids::{DeviceId, NodeId, UserId};

use crate::error::Result;
use crate::rows::{
    FencingTokenRow, HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow,
};
use crate::store::{Store, change, look};

impl Store {
    /// A node comes into being; its word that it lives holds for `ttl`.
    pub async fn join_cluster(&self, beat: NodeHeartbeat, ttl: Duration) -> Result<()> {
        change!(self, cluster::join_cluster(beat, ttl))
    }

    /// A node says again that it lives.
    pub async fn beat(&self, beat: NodeHeartbeat, ttl: Duration) -> Result<HeartbeatOutcome> {
        change!(self, cluster::beat(beat, ttl))
    }

    /// All nodes whose word holds.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>> {
        look!(self, cluster::living())
    }

    /// A node leaves: what it still owns can be claimed at once.
    pub async fn leave_cluster(&self, id: NodeId) -> Result<()> {
        change!(self, cluster::leave_cluster(id))
    }

    /// Certifies the death of a node which the bus does not find, before its word is over; true if
    /// it is dead. Ask only when the bus says that nobody listens there: each proof alone is none.
    pub async fn certify_death(&self, id: NodeId) -> Result<bool> {
        change!(self, cluster::certify_death(id))
    }

    /// Which of these devices are signed out, or belong to somebody who may not be here.
    pub async fn signed_out(&self, devices: Vec<DeviceId>) -> Result<Vec<DeviceId>> {
        look!(self, cluster::signed_out(devices))
    }

    /// Which of these people are suspended, or are no more.
    pub async fn kept_out(&self, people: Vec<UserId>) -> Result<Vec<UserId>> {
        look!(self, cluster::suspended_users(people))
    }

    /// Takes `key` for `me` unless its owner lives.
    pub async fn claim(&self, key: String, value: String, me: NodeId) -> Result<LeaseClaimOutcome> {
        change!(self, cluster::claim(key, value, me))
    }

    /// Who has `key`, dead or alive.
    pub async fn lease(&self, key: String) -> Result<Option<LeaseRow>> {
        look!(self, cluster::find_lease(key))
    }

    /// The lease beside which `value` is noted.
    pub async fn lease_of(&self, value: String) -> Result<Option<LeaseRow>> {
        look!(self, cluster::find_lease_of(value))
    }

    /// What dead nodes own under keys that begin like this.
    pub async fn orphans(&self, prefix: String) -> Result<Vec<LeaseRow>> {
        look!(self, cluster::orphans(prefix))
    }

    /// Gives what is owned to another node; the new epoch, or `None` if the proof is void or the
    /// other does not live.
    pub async fn hand_over(&self, fence: FencingTokenRow, to: NodeId) -> Result<Option<i64>> {
        change!(self, cluster::hand_over(fence, to))
    }

    /// Notes something else beside what is owned; false if the proof is void.
    pub async fn note_lease(&self, fence: FencingTokenRow, value: String) -> Result<bool> {
        change!(self, cluster::note_lease(fence, value))
    }

    /// Gives up what is owned; false if the proof is void.
    pub async fn release(&self, fence: FencingTokenRow) -> Result<bool> {
        change!(self, cluster::release(fence))
    }
}
