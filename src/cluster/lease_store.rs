//! Where it is written down who lives and who owns what: the database; a value in simulations, in
//! which nothing may leave the thread.

use std::time::Duration;

use base::ids::NodeId;
use store::{HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow, Result, Store};

use super::cache::BoxFuture;

/// What a [`Leases`](super::Leases) asks of the one place that all nodes share. Each method is one
/// transaction, under that place's own clock.
pub trait LeaseStore: Send + Sync + 'static {
    /// A node comes into being; its word that it lives holds for `ttl`.
    fn join(&self, beat: NodeHeartbeat, ttl: Duration) -> BoxFuture<'_, Result<()>>;
    /// A node says again that it lives.
    fn beat(&self, beat: NodeHeartbeat, ttl: Duration) -> BoxFuture<'_, Result<HeartbeatOutcome>>;
    /// A node leaves: what it still owns can be claimed at once.
    fn leave(&self, id: NodeId) -> BoxFuture<'_, Result<()>>;
    /// All nodes whose word holds.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>>>;
    /// Certifies the death of a node which the bus does not find, before its word is over.
    fn certify_death(&self, id: NodeId) -> BoxFuture<'_, Result<bool>>;
    /// Takes `key` for `me` unless its owner lives.
    fn claim(
        &self,
        key: String,
        value: String,
        me: NodeId,
    ) -> BoxFuture<'_, Result<LeaseClaimOutcome>>;
    /// Who has `key`, dead or alive.
    fn lease(&self, key: String) -> BoxFuture<'_, Result<Option<LeaseRow>>>;
    /// The lease beside which `value` is noted.
    fn lease_of(&self, value: String) -> BoxFuture<'_, Result<Option<LeaseRow>>>;
    /// What dead nodes own under keys that begin like this.
    fn orphans(&self, prefix: String) -> BoxFuture<'_, Result<Vec<LeaseRow>>>;
    /// Gives what is owned to another node that lives; the new epoch.
    fn hand_over(
        &self,
        fence: store::FencingTokenRow,
        to: NodeId,
    ) -> BoxFuture<'_, Result<Option<i64>>>;
    /// Notes something else beside what is owned; false if the proof is void.
    fn note(&self, fence: store::FencingTokenRow, value: String) -> BoxFuture<'_, Result<bool>>;
    /// Gives up what is owned; false if the proof is void.
    fn release(&self, fence: store::FencingTokenRow) -> BoxFuture<'_, Result<bool>>;
}

impl LeaseStore for Store {
    fn join(&self, beat: NodeHeartbeat, ttl: Duration) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.join_cluster(beat, ttl))
    }

    fn beat(&self, beat: NodeHeartbeat, ttl: Duration) -> BoxFuture<'_, Result<HeartbeatOutcome>> {
        Box::pin(Self::beat(self, beat, ttl))
    }

    fn leave(&self, id: NodeId) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.leave_cluster(id))
    }

    fn nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>>> {
        Box::pin(Self::nodes(self))
    }

    fn certify_death(&self, id: NodeId) -> BoxFuture<'_, Result<bool>> {
        Box::pin(Self::certify_death(self, id))
    }

    fn claim(
        &self,
        key: String,
        value: String,
        me: NodeId,
    ) -> BoxFuture<'_, Result<LeaseClaimOutcome>> {
        Box::pin(Self::claim(self, key, value, me))
    }

    fn lease(&self, key: String) -> BoxFuture<'_, Result<Option<LeaseRow>>> {
        Box::pin(Self::lease(self, key))
    }

    fn lease_of(&self, value: String) -> BoxFuture<'_, Result<Option<LeaseRow>>> {
        Box::pin(Self::lease_of(self, value))
    }

    fn orphans(&self, prefix: String) -> BoxFuture<'_, Result<Vec<LeaseRow>>> {
        Box::pin(Self::orphans(self, prefix))
    }

    fn hand_over(
        &self,
        fence: store::FencingTokenRow,
        to: NodeId,
    ) -> BoxFuture<'_, Result<Option<i64>>> {
        Box::pin(Self::hand_over(self, fence, to))
    }

    fn note(&self, fence: store::FencingTokenRow, value: String) -> BoxFuture<'_, Result<bool>> {
        Box::pin(self.note_lease(fence, value))
    }

    fn release(&self, fence: store::FencingTokenRow) -> BoxFuture<'_, Result<bool>> {
        Box::pin(Self::release(self, fence))
    }
}
