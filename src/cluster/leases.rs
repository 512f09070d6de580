//! The directory that many nodes share: rows in PostgreSQL, under the database's clock.

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

/// Says whether this node's lock is known to be held.
pub type LockCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// Leases of one node; cheap to clone.
#[derive(Clone)]
pub struct NodeLeases {
    registry: Arc<dyn LeaseStore>,
    clock: Clock,
    locked: LockCheck,
    me: Arc<NodeInfo>,
    /// Until when this node's word surely holds, by its own monotonic clock.
    sure: Arc<Mutex<Instant>>,
}

struct NodeInfo {
    id: NodeId,
    name: String,
    url: String,
}

/// What a beat gave.
#[derive(Clone, Debug)]
pub struct LiveNodes {
    /// Whether this node is still taken for alive.
    pub alive: bool,
    /// All nodes that are.
    pub nodes: Vec<NodeRow>,
}

impl NodeLeases {
    /// A node that is not known to live yet.
    pub fn new(
        registry: Arc<dyn LeaseStore>,
        clock: Clock,
        locked: LockCheck,
        id: NodeId,
        name: String,
        url: String,
    ) -> Self {
        let sure = Arc::new(Mutex::new(Instant::now()));
        Self { registry, clock, locked, me: Arc::new(NodeInfo { id, name, url }), sure }
    }

    fn word(&self, state: NodeState) -> NodeHeartbeat {
        let NodeInfo { id, name, url } = &*self.me;
        let locked = (self.locked)();
        NodeHeartbeat { id: *id, name: name.clone(), url: url.clone(), state, locked }
    }

    fn surely_until(&self, until: Instant) {
        *self.sure.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Comes into being.
    ///
    /// # Errors
    /// The database's.
    pub async fn join(&self) -> Result<LiveNodes, DirectoryError> {
        self.registry.join(self.word(NodeState::Joining), LEASE_TTL).await?;
        self.beat(NodeState::Up).await
    }

    /// Says that this node lives, and sets its clock by the database's.
    ///
    /// # Errors
    /// The database's; the word given before may still hold.
    pub async fn beat(&self, state: NodeState) -> Result<LiveNodes, DirectoryError> {
        let (sent, wall) = (Instant::now(), self.clock.now());
        let HeartbeatOutcome { alive, now, nodes } =
            self.registry.beat(self.word(state), LEASE_TTL).await?;
        if alive {
            self.surely_until(sent + LEASE_TTL.saturating_sub(LEASE_SAFETY_MARGIN));
        } else {
            self.surely_until(sent);
        }
        self.set_clock(now, wall, sent.elapsed());
        Ok(LiveNodes { alive, nodes })
    }

    /// The database read its clock somewhere between question and answer.
    fn set_clock(&self, theirs: Timestamp, asked: Timestamp, took: Duration) {
        let ours = asked + took / 2;
        self.clock.correct(theirs.micros().saturating_sub(ours.micros()), took / 2);
    }

    /// Leaves: what is still owned can be claimed at once.
    ///
    /// # Errors
    /// The database's.
    pub async fn leave(&self) -> Result<(), DirectoryError> {
        self.surely_until(Instant::now());
        Ok(self.registry.leave(self.me.id).await?)
    }

    /// All nodes that live.
    ///
    /// # Errors
    /// The database's.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, DirectoryError> {
        Ok(self.registry.nodes().await?)
    }

    /// What dead nodes own under keys that begin like this.
    ///
    /// # Errors
    /// The database's.
    pub async fn orphans(&self, prefix: &str) -> Result<Vec<(String, Ownership)>, DirectoryError> {
        let found = self.registry.orphans(prefix.to_owned()).await?;
        Ok(found.into_iter().map(|lease| (lease.key.clone(), holding(lease))).collect())
    }
}

fn holding(lease: store::LeaseRow) -> Ownership {
    Ownership { owner: lease.owner, epoch: lease.epoch.unsigned_abs(), value: lease.value }
}

impl OwnershipDirectory for NodeLeases {
    fn claim<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
    ) -> BoxFuture<'a, Result<ClaimOutcome, DirectoryError>> {
        Box::pin(async move {
            let claimed = self.registry.claim(key.to_owned(), value.to_owned(), self.me.id).await?;
            Ok(match claimed {
                LeaseClaimOutcome::New(lease) => {
                    ClaimOutcome::Mine { epoch: holding(lease).epoch, left: None }
                }
                LeaseClaimOutcome::Taken(lease) => {
                    let Ownership { epoch, value, .. } = holding(lease);
                    ClaimOutcome::Mine { epoch, left: Some(value) }
                }
                LeaseClaimOutcome::Held(lease) => ClaimOutcome::Held(holding(lease)),
                LeaseClaimOutcome::NotAlive => return Err(DirectoryError::NotAlive),
            })
        })
    }

    fn note<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
        value: &'a str,
    ) -> BoxFuture<'a, Result<bool, DirectoryError>> {
        Box::pin(async move {
            let Some(fence) = self.fence(key, epoch) else { return Ok(true) };
            Ok(self.registry.note(fence.into(), value.to_owned()).await?)
        })
    }

    fn find<'a>(
        &'a self,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Ownership>, DirectoryError>> {
        Box::pin(async move { Ok(self.registry.lease(key.to_owned()).await?.map(holding)) })
    }

    fn find_value<'a>(
        &'a self,
        value: &'a str,
    ) -> BoxFuture<'a, Result<Option<(String, Ownership)>, DirectoryError>> {
        Box::pin(async move {
            let found = self.registry.lease_of(value.to_owned()).await?;
            Ok(found.map(|lease| (lease.key.clone(), holding(lease))))
        })
    }

    fn take<'a>(
        &'a self,
        key: &'a str,
        from: NodeId,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Option<u64>, DirectoryError>> {
        Box::pin(async move {
            let theirs = FencingToken { key: key.to_owned(), owner: from, epoch };
            let taken = self.registry.hand_over(theirs.into(), self.me.id).await?;
            Ok(taken.map(i64::unsigned_abs))
        })
    }

    fn is_dead(&self, node: NodeId) -> BoxFuture<'_, Result<bool, DirectoryError>> {
        Box::pin(async move { Ok(self.registry.certify_death(node).await?) })
    }

    fn release<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
    ) -> BoxFuture<'a, Result<(), DirectoryError>> {
        Box::pin(async move {
            if let Some(fence) = self.fence(key, epoch) {
                self.registry.release(fence.into()).await?;
            }
            Ok(())
        })
    }

    fn fence(&self, key: &str, epoch: u64) -> Option<FencingToken> {
        Some(FencingToken { key: key.to_owned(), owner: self.me.id, epoch })
    }

    fn owns(&self, holding: &Ownership) -> bool {
        holding.owner == self.me.id
    }

    fn lease_is_valid(&self) -> bool {
        Instant::now() < *self.sure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<FencingToken> for store::FencingTokenRow {
    fn from(fence: FencingToken) -> Self {
        let epoch = i64::try_from(fence.epoch).unwrap_or(i64::MAX);
        Self { key: fence.key, owner: fence.owner, epoch }
    }
}
