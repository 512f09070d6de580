//! The directory that many nodes share: rows in PostgreSQL, under the database's clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::clock::{Clock, Timestamp};
use base::ids::NodeId;
use store::{Beaten, Claimed, Node, NodeBeat, NodeState};
use tokio::time::Instant;

use super::cache::Fut;
use super::directory::{Claim, Directory, DirectoryError, Fence, Holding, MARGIN, TTL};
use super::lease_store::Registry;

/// Says whether this node's lock is known to be held.
pub type Locked = Arc<dyn Fn() -> bool + Send + Sync>;

/// Leases of one node; cheap to clone.
#[derive(Clone)]
pub struct Leases {
    registry: Arc<dyn Registry>,
    clock: Clock,
    locked: Locked,
    me: Arc<About>,
    /// Until when this node's word surely holds, by its own monotonic clock.
    sure: Arc<Mutex<Instant>>,
}

struct About {
    id: NodeId,
    name: String,
    url: String,
}

/// What a beat gave.
#[derive(Clone, Debug)]
pub struct Roster {
    /// Whether this node is still taken for alive.
    pub alive: bool,
    /// All nodes that are.
    pub nodes: Vec<Node>,
}

impl Leases {
    /// A node that is not known to live yet.
    pub fn new(
        registry: Arc<dyn Registry>,
        clock: Clock,
        locked: Locked,
        id: NodeId,
        name: String,
        url: String,
    ) -> Self {
        let sure = Arc::new(Mutex::new(Instant::now()));
        Self { registry, clock, locked, me: Arc::new(About { id, name, url }), sure }
    }

    fn word(&self, state: NodeState) -> NodeBeat {
        let About { id, name, url } = &*self.me;
        let locked = (self.locked)();
        NodeBeat { id: *id, name: name.clone(), url: url.clone(), state, locked }
    }

    fn surely_until(&self, until: Instant) {
        *self.sure.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Comes into being.
    ///
    /// # Errors
    /// The database's.
    pub async fn join(&self) -> Result<Roster, DirectoryError> {
        self.registry.join(self.word(NodeState::Joining), TTL).await?;
        self.beat(NodeState::Up).await
    }

    /// Says that this node lives, and sets its clock by the database's.
    ///
    /// # Errors
    /// The database's; the word given before may still hold.
    pub async fn beat(&self, state: NodeState) -> Result<Roster, DirectoryError> {
        let (sent, wall) = (Instant::now(), self.clock.now());
        let Beaten { alive, now, nodes } = self.registry.beat(self.word(state), TTL).await?;
        if alive {
            self.surely_until(sent + TTL.saturating_sub(MARGIN));
        } else {
            self.surely_until(sent);
        }
        self.set_clock(now, wall, sent.elapsed());
        Ok(Roster { alive, nodes })
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
    pub async fn nodes(&self) -> Result<Vec<Node>, DirectoryError> {
        Ok(self.registry.nodes().await?)
    }

    /// What dead nodes own under keys that begin like this.
    ///
    /// # Errors
    /// The database's.
    pub async fn orphans(&self, prefix: &str) -> Result<Vec<(String, Holding)>, DirectoryError> {
        let found = self.registry.orphans(prefix.to_owned()).await?;
        Ok(found.into_iter().map(|lease| (lease.key.clone(), holding(lease))).collect())
    }
}

fn holding(lease: store::Lease) -> Holding {
    Holding { owner: lease.owner, epoch: lease.epoch.unsigned_abs(), value: lease.value }
}

impl Directory for Leases {
    fn claim<'a>(&'a self, key: &'a str, value: &'a str) -> Fut<'a, Result<Claim, DirectoryError>> {
        Box::pin(async move {
            let claimed = self.registry.claim(key.to_owned(), value.to_owned(), self.me.id).await?;
            Ok(match claimed {
                Claimed::New(lease) => Claim::Mine { epoch: holding(lease).epoch, left: None },
                Claimed::Taken(lease) => {
                    let Holding { epoch, value, .. } = holding(lease);
                    Claim::Mine { epoch, left: Some(value) }
                }
                Claimed::Held(lease) => Claim::Held(holding(lease)),
                Claimed::NotAlive => return Err(DirectoryError::NotAlive),
            })
        })
    }

    fn note<'a>(
        &'a self,
        key: &'a str,
        epoch: u64,
        value: &'a str,
    ) -> Fut<'a, Result<bool, DirectoryError>> {
        Box::pin(async move {
            let Some(fence) = self.fence(key, epoch) else { return Ok(true) };
            Ok(self.registry.note(fence.into(), value.to_owned()).await?)
        })
    }

    fn find<'a>(&'a self, key: &'a str) -> Fut<'a, Result<Option<Holding>, DirectoryError>> {
        Box::pin(async move { Ok(self.registry.lease(key.to_owned()).await?.map(holding)) })
    }

    fn find_value<'a>(
        &'a self,
        value: &'a str,
    ) -> Fut<'a, Result<Option<(String, Holding)>, DirectoryError>> {
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
    ) -> Fut<'a, Result<Option<u64>, DirectoryError>> {
        Box::pin(async move {
            let theirs = Fence { key: key.to_owned(), owner: from, epoch };
            let taken = self.registry.hand_over(theirs.into(), self.me.id).await?;
            Ok(taken.map(i64::unsigned_abs))
        })
    }

    fn is_dead(&self, node: NodeId) -> Fut<'_, Result<bool, DirectoryError>> {
        Box::pin(async move { Ok(self.registry.certify_death(node).await?) })
    }

    fn release<'a>(&'a self, key: &'a str, epoch: u64) -> Fut<'a, Result<(), DirectoryError>> {
        Box::pin(async move {
            if let Some(fence) = self.fence(key, epoch) {
                self.registry.release(fence.into()).await?;
            }
            Ok(())
        })
    }

    fn fence(&self, key: &str, epoch: u64) -> Option<Fence> {
        Some(Fence { key: key.to_owned(), owner: self.me.id, epoch })
    }

    fn owns(&self, holding: &Holding) -> bool {
        holding.owner == self.me.id
    }

    fn is_sure(&self) -> bool {
        Instant::now() < *self.sure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Fence> for store::Fence {
    fn from(fence: Fence) -> Self {
        let epoch = i64::try_from(fence.epoch).unwrap_or(i64::MAX);
        Self { key: fence.key, owner: fence.owner, epoch }
    }
}
