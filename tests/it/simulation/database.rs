//! The one database of all nodes on a host of its own: the book, what was said in calls, and what a
//! witness sees who knows everything.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::NodeId;
use securevox::cluster::{BoxFuture, LeaseStore};
use store::{
    FencingTokenRow, HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow, Result,
    StoreError,
};
use tokio::time::{Instant, timeout};

use super::Shared;
use super::book::Book;
use super::post::{Deed, Letter, Wire};

/// As the store's own deadline.
const DEADLINE: Duration = Duration::from_millis(1500);
/// A node notices after this that its lock is perhaps not held.
pub const NOTICED: Duration = Duration::from_secs(3);
/// A cut frees a lock after this, by keepalive: later than the last word is fresh.
const KEEPALIVE: Duration = Duration::from_millis(5500);

/// A word that was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub key: String,
    pub owner: NodeId,
    pub epoch: i64,
    pub word: u64,
    /// It was there already: it counts for nothing but its epoch.
    pub again: bool,
}

pub struct Database {
    pub book: Book,
    /// All accepted writes, in order.
    pub ledger: Vec<Written>,
    /// How far the clock is off, by jumps of it.
    pub off: i64,
    locks: BTreeMap<NodeId, Instant>,
    /// Processes that died while the network was whole: their connections ended at once.
    closed: BTreeSet<NodeId>,
}

impl Database {
    pub fn new() -> Self {
        Self {
            book: Book::new(Timestamp::from_micros(1)), // a life of 0 is none
            ledger: Vec::new(),
            off: 0,
            locks: BTreeMap::new(),
            closed: BTreeSet::new(),
        }
    }

    pub fn close(&mut self, node: NodeId) {
        self.closed.insert(node);
        self.locks.remove(&node);
    }

    fn lock(&mut self, node: NodeId) {
        if !self.closed.contains(&node) {
            self.locks.insert(node, Instant::now());
        }
    }

    /// Sets the book's clock and locks to how things are now.
    fn tick(&mut self) {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap() + self.off + 1_790_000_000_000_000;
        self.book.now = Timestamp::from_micros(now);
        self.locks.retain(|_, heard| heard.elapsed() < KEEPALIVE);
        self.book.locked = self.locks.keys().copied().collect();
    }

    /// An owner's write: `false` if its epoch is over. The same word twice is as good as once.
    pub fn write(&mut self, fence: &FencingTokenRow, word: u64) -> bool {
        let holds = self.book.holds(fence);
        let again = self.ledger.iter().any(|there| there.key == fence.key && there.word == word);
        if holds {
            let FencingTokenRow { key, owner, epoch } = fence.clone();
            self.ledger.push(Written { key, owner, epoch, word, again });
        }
        holds
    }

    pub fn words(&self, key: &str) -> Vec<u64> {
        let first = self.ledger.iter().filter(|there| there.key == key && !there.again);
        first.map(|there| there.word).collect()
    }
}

/// The host's software.
pub async fn serve(shared: Shared) -> turmoil::Result {
    let (wire, _socket) = Wire::bind(shared.post.clone()).await?;
    loop {
        match wire.next().await {
            (from, Letter::Transact { ask, deed }) => {
                let mut database = shared.database.lock().unwrap();
                database.tick();
                let answer = deed(&mut database);
                drop(database);
                wire.send(&from, Letter::Transacted { ask, answer });
            }
            (from, Letter::Lock(node)) => {
                shared.database.lock().unwrap().lock(node);
                wire.send(&from, Letter::Locked(node));
            }
            _ => {}
        }
    }
}

/// A node's connection to it; cheap to clone.
#[derive(Clone)]
pub struct Client(pub Wire);

impl Client {
    pub async fn transact<T: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Database) -> T + Send + 'static,
    ) -> Result<T> {
        let (ask, answer) = self.0.ask();
        let deed: Deed = Box::new(move |database| Box::new(deed(database)) as Box<dyn Any + Send>);
        self.0.send("database", Letter::Transact { ask, deed });
        match timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => Ok(*answer.downcast().expect("the answer to this question")),
            _ => Err(StoreError::Deadline),
        }
    }

    fn book<T: Send + 'static>(
        &self,
        deed: impl FnOnce(&mut Book) -> T + Send + 'static,
    ) -> BoxFuture<'_, Result<T>> {
        Box::pin(self.transact(move |database| deed(&mut database.book)))
    }
}

impl LeaseStore for Client {
    fn join(&self, beat: NodeHeartbeat, ttl: Duration) -> BoxFuture<'_, Result<()>> {
        self.book(move |book| book.join(beat, ttl))
    }

    fn heartbeat(
        &self,
        beat: NodeHeartbeat,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<HeartbeatOutcome>> {
        self.book(move |book| book.beat(beat, ttl))
    }

    fn leave(&self, id: NodeId) -> BoxFuture<'_, Result<()>> {
        self.book(move |book| book.leave(id))
    }

    fn live_nodes(&self) -> BoxFuture<'_, Result<Vec<NodeRow>>> {
        self.book(|book| book.living())
    }

    fn declare_dead(&self, id: NodeId) -> BoxFuture<'_, Result<bool>> {
        self.book(move |book| book.certify_death(id))
    }

    fn claim(
        &self,
        key: String,
        value: String,
        me: NodeId,
    ) -> BoxFuture<'_, Result<LeaseClaimOutcome>> {
        self.book(move |book| book.claim(&key, &value, me))
    }

    fn lease(&self, key: String) -> BoxFuture<'_, Result<Option<LeaseRow>>> {
        self.book(move |book| book.lease(&key))
    }

    fn lease_by_value(&self, value: String) -> BoxFuture<'_, Result<Option<LeaseRow>>> {
        self.book(move |book| book.leases_of(&value).into_iter().next())
    }

    fn orphaned_leases(&self, prefix: String) -> BoxFuture<'_, Result<Vec<LeaseRow>>> {
        self.book(move |book| book.orphans(&prefix))
    }

    fn transfer(&self, fence: FencingTokenRow, to: NodeId) -> BoxFuture<'_, Result<Option<i64>>> {
        self.book(move |book| book.hand_over(&fence, to))
    }

    fn set_value(&self, fence: FencingTokenRow, value: String) -> BoxFuture<'_, Result<bool>> {
        self.book(move |book| book.note(&fence, &value))
    }

    fn release(&self, fence: FencingTokenRow) -> BoxFuture<'_, Result<bool>> {
        self.book(move |book| book.release(&fence))
    }
}

/// The witness's view.
pub type View = Arc<Mutex<Database>>;
