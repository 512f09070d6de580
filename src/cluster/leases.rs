//! The ownership directory that many nodes share: rows in PostgreSQL, under the database's clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::clock::{Clock, Timestamp};
use base::ids::NodeId;
use store::{HeartbeatOutcome, LeaseClaimOutcome, NodeHeartbeat, NodeRow, NodeState};
use tokio::time::Instant;

use super::cache::BoxFuture;
use super::directory::{
    ClaimOutcome, DirectoryError, FencingToken, LEASE_SAFETY_MARGIN, LEASE_TTL, Ownership,
    OwnershipDirectory,
};
use super::lease_store::LeaseStore;

/// Tells whether this node's lock is known to be held.
pub type LockCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// Heartbeat and leases of one node; cheap to clone.
#[derive(Clone)]
pub struct NodeLeases {
    store: Arc<dyn LeaseStore>,
    clock: Clock,
    is_locked: LockCheck,
    me: Arc<NodeInfo>,
    /// Until when this node's heartbeat is certainly valid, by its own monotonic clock.
    valid_until: Arc<Mutex<Instant>>,
}

struct NodeInfo {
    id: NodeId,
    name: String,
    url: String,
}

/// Result of a heartbeat.
#[derive(Clone, Debug)]
pub struct LiveNodes {
    /// Whether this node still counts as alive.
    pub is_alive: bool,
    /// All live nodes.
    pub nodes: Vec<NodeRow>,
}

impl NodeLeases {
    /// A node that has not joined yet.
    pub fn new(
        store: Arc<dyn LeaseStore>,
        clock: Clock,
        is_locked: LockCheck,
        id: NodeId,
        name: String,
        url: String,
    ) -> Self {
        let valid_until = Arc::new(Mutex::new(Instant::now()));
        Self { store, clock, is_locked, me: Arc::new(NodeInfo { id, name, url }), valid_until }
    }

    fn heartbeat_row(&self, state: NodeState) -> NodeHeartbeat {
        let NodeInfo { id, name, url } = &*self.me;
        let holds_lock = (self.is_locked)();
        NodeHeartbeat { id: *id, name: name.clone(), url: url.clone(), state, holds_lock }
    }

    fn set_valid_until(&self, until: Instant) {
        *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Joins the cluster.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn join(&self) -> Result<LiveNodes, DirectoryError> {
        self.store.join(self.heartbeat_row(NodeState::Joining), LEASE_TTL).await?;
        self.heartbeat(NodeState::Up).await
    }

    /// Renews the heartbeat and corrects this node's clock by the database's.
    ///
    /// # Errors
    /// A failure of the database; the previous heartbeat may still be valid.
    pub async fn heartbeat(&self, state: NodeState) -> Result<LiveNodes, DirectoryError> {
        let (started, sent_at) = (Instant::now(), self.clock.now());
        let HeartbeatOutcome { is_alive, now, nodes } =
            self.store.heartbeat(self.heartbeat_row(state), LEASE_TTL).await?;
        if is_alive {
            self.set_valid_until(started + LEASE_TTL.saturating_sub(LEASE_SAFETY_MARGIN));
        } else {
            self.set_valid_until(started);
        }
        self.set_clock(now, sent_at, started.elapsed());
        Ok(LiveNodes { is_alive, nodes })
    }

    /// Corrects the clock; the database read its own somewhere between request and reply.
    fn set_clock(&self, database_now: Timestamp, sent_at: Timestamp, round_trip: Duration) {
        let local_now = sent_at + round_trip / 2;
        self.clock
            .correct(database_now.micros().saturating_sub(local_now.micros()), round_trip / 2);
    }

    /// Leaves the cluster: what is still owned can be claimed at once.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn leave(&self) -> Result<(), DirectoryError> {
        self.set_valid_until(Instant::now());
        Ok(self.store.leave(self.me.id).await?)
    }

    /// All live nodes.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn live_nodes(&self) -> Result<Vec<NodeRow>, DirectoryError> {
        Ok(self.store.live_nodes().await?)
    }

    /// What dead nodes own under keys that start with `prefix`.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn orphaned_leases(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, Ownership)>, DirectoryError> {
        let found = self.store.orphaned_leases(prefix.to_owned()).await?;
        Ok(found.into_iter().map(|lease| (lease.key.clone(), ownership(lease))).collect())
    }
}

fn ownership(lease: ::store::LeaseRow) -> Ownership {
    Ownership { owner: lease.owner, epoch: lease.epoch.unsigned_abs(), value: lease.value }
}

impl OwnershipDirectory for NodeLeases {
    fn claim<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<ClaimOutcome, DirectoryError>> {
        Box::pin(async move {
            let claimed = self.store.claim(key.to_owned(), value.to_owned(), self.me.id).await?;
            Ok(match claimed {
                LeaseClaimOutcome::Created(lease) => {
                    ClaimOutcome::Owned { epoch: ownership(lease).epoch, previous_value: None }
                }
                LeaseClaimOutcome::TakenOver(lease) => {
                    let Ownership { epoch, value, .. } = ownership(lease);
                    ClaimOutcome::Owned { epoch, previous_value: Some(value) }
                }
                LeaseClaimOutcome::Held(lease) => ClaimOutcome::Held(ownership(lease)),
                LeaseClaimOutcome::NotAlive => return Err(DirectoryError::NotAlive),
            })
        })
    }

    fn set_value<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>> {
        Box::pin(async move {
            let Some(token) = self.fencing_token(key, epoch) else { return Ok(true) };
            Ok(self.store.set_value(token.into(), value.to_owned()).await?)
        })
    }

    fn owner_of<'a>(
        &'a self,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Ownership>, DirectoryError>> {
        Box::pin(async move { Ok(self.store.lease(key.to_owned()).await?.map(ownership)) })
    }

    fn find_by_value<'a>(
        &'a self,
        value: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Ownership)>, DirectoryError>> {
        Box::pin(async move {
            let found = self.store.lease_by_value(value.to_owned()).await?;
            Ok(found.map(|lease| (lease.key.clone(), ownership(lease))))
        })
    }

    fn take_over<'a>(
        &'a self,
        key: &'a str,
        from: NodeId,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, DirectoryError>> {
        Box::pin(async move {
            let token = FencingToken { key: key.to_owned(), owner: from, epoch };
            let taken = self.store.transfer(token.into(), self.me.id).await?;
            Ok(taken.map(i64::unsigned_abs))
        })
    }

    fn is_dead(&self, node: NodeId) -> BoxFuture<'_, Result<bool, DirectoryError>> {
        Box::pin(async move { Ok(self.store.declare_dead(node).await?) })
    }

    fn release<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), DirectoryError>> {
        Box::pin(async move {
            if let Some(token) = self.fencing_token(key, epoch) {
                self.store.release(token.into()).await?;
            }
            Ok(())
        })
    }

    fn fencing_token(&self, key: &str, epoch: u64) -> Option<FencingToken> {
        Some(FencingToken { key: key.to_owned(), owner: self.me.id, epoch })
    }

    fn owns(&self, ownership: &Ownership) -> bool {
        ownership.owner == self.me.id
    }

    fn lease_is_valid(&self) -> bool {
        Instant::now() < *self.valid_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<FencingToken> for store::FencingTokenRow {
    fn from(token: FencingToken) -> Self {
        let epoch = i64::try_from(token.epoch).unwrap_or(i64::MAX);
        Self { key: token.key, owner: token.owner, epoch }
    }
}
