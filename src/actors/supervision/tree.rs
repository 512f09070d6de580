//! The tree as operators see it: a snapshot without a message, and commands by path.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::cell::{ActorState, ActorStats, TreeNodeKind, locked};
use super::exit::FailureRecord;
use super::parent_link::{OperatorCommand, ParentLink};
use super::policy::Restart;
use super::threads::ThreadPools;

/// One line of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeNodeView {
    /// As in `/node/rooms/0/blue`.
    pub path: String,
    /// A supervisor, a part of a nursery, or an actor.
    pub kind: TreeNodeKind,
    /// Where in its life it is.
    pub state: ActorState,
    /// When it comes back after it ended.
    pub restart: Restart,
    /// How long it has been taking messages, in milliseconds; 0 if it does not.
    pub uptime_ms: u64,
    /// How often it was started again.
    pub restarts: u32,
    /// How many messages wait.
    pub mailbox: u64,
    /// How many messages were handled, by all its incarnations.
    pub handled: u64,
    /// The longest any message has waited, in microseconds.
    pub longest_wait_us: u64,
    /// For how long it has held its thread now, in milliseconds; 0 if it does not.
    pub stuck_ms: u64,
    /// What it holds its thread with: the type of a message or future, or a hook; empty if nothing.
    pub doing: String,
    /// The youngest failure.
    pub last_failure: Option<FailureRecord>,
    /// The last ten failures, the oldest first.
    pub failures: Vec<FailureRecord>,
}

/// Why a command had no success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing stands at this path.
    #[error("nothing stands at this path")]
    NotFound,
    /// Its supervisor is going down or restarting its children.
    #[error("its supervisor is going down")]
    Closing,
    /// It was started but failed at once.
    #[error("it failed: {0}")]
    Failed(String),
}

/// A view of the living tree, and a hand on it.
#[derive(Clone)]
pub struct SupervisionTree {
    pub(super) forest: Arc<TreeIndex>,
    pub(super) places: Arc<ThreadPools>,
}

impl SupervisionTree {
    /// Every supervisor and actor, sorted by path. Sends no message: it answers while all are stuck.
    pub fn snapshot(&self) -> Vec<TreeNodeView> {
        let busy = self.places.desks().into_iter().filter_map(|desk| Some((desk.id, desk.now()?)));
        let busy: HashMap<_, _> = busy.collect();
        let now = self.forest.millis();
        let cells = self.forest.cells();
        let entry = |cell: Arc<ActorStats>| {
            let doing = busy.get(&cell.desk.load(Relaxed));
            let doing = doing.filter(|doing| Arc::ptr_eq(&doing.cell, &cell));
            let state = cell.state();
            let failures = cell.failures();
            TreeNodeView {
                path: cell.path().to_owned(),
                kind: cell.kind,
                state,
                restart: cell.restart(),
                uptime_ms: match state {
                    ActorState::Running => now.saturating_sub(cell.up_since.load(Relaxed)),
                    _ => 0,
                },
                restarts: cell.restarts.load(Relaxed),
                mailbox: cell.depth.load(Relaxed),
                handled: cell.handled.load(Relaxed),
                longest_wait_us: cell.longest_wait_us.load(Relaxed),
                stuck_ms: doing.map_or(0, |doing| {
                    u64::try_from(doing.elapsed().as_millis()).unwrap_or(u64::MAX)
                }),
                doing: doing.map_or_else(String::new, |doing| doing.what.to_owned()),
                last_failure: failures.last().cloned(),
                failures,
            }
        };
        cells.into_iter().map(entry).collect()
    }

    /// Starts again what stands at `path`, whatever its state; a supervisor with all below it.
    /// Returns when it is up.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn restart(&self, path: &str) -> Result<(), CommandError> {
        self.command(path, OperatorCommand::Restart).await
    }

    /// Stops what stands at `path`, whatever its policy; it stays listed as stopped until
    /// [`SupervisionTree::restart`]. A child of a nursery is removed. Returns when it is down.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn stop(&self, path: &str) -> Result<(), CommandError> {
        self.command(path, OperatorCommand::Stop).await
    }

    async fn command(&self, path: &str, command: OperatorCommand) -> Result<(), CommandError> {
        let line = self.forest.line(path).ok_or(CommandError::NotFound)?;
        let (reply, done) = oneshot::channel();
        line.command(command, reply);
        done.await.unwrap_or(Err(CommandError::Closing))
    }
}

/// A cell, and the line to the supervisor of what stands there.
type TreeSlot = (Arc<ActorStats>, ParentLink);

/// All cells of a tree by path.
pub(super) struct TreeIndex {
    born: Instant,
    posts: Mutex<BTreeMap<Box<str>, TreeSlot>>,
    bare: Notify,
}

impl TreeIndex {
    pub(super) fn new() -> Self {
        Self { born: Instant::now(), posts: Mutex::new(BTreeMap::new()), bare: Notify::new() }
    }

    /// Milliseconds since the tree began.
    pub(super) fn millis(&self) -> u64 {
        let age = Instant::now().saturating_duration_since(self.born);
        u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn insert(&self, cell: &Arc<ActorStats>, line: ParentLink) {
        locked(&self.posts).insert(cell.path().into(), (Arc::clone(cell), line));
    }

    /// Forgets `cell`, but not a younger namesake.
    pub(super) fn remove(&self, cell: &Arc<ActorStats>) {
        let mut posts = locked(&self.posts);
        if posts.get(cell.path()).is_some_and(|(there, _)| Arc::ptr_eq(there, cell)) {
            posts.remove(cell.path());
            if posts.is_empty() {
                self.bare.notify_waiters();
            }
        }
    }

    /// Waits until nothing is left of the tree.
    pub(super) async fn wait_until_empty(&self) {
        let mut bare = std::pin::pin!(self.bare.notified());
        bare.as_mut().enable();
        if !locked(&self.posts).is_empty() {
            bare.await;
        }
    }

    fn cells(&self) -> Vec<Arc<ActorStats>> {
        locked(&self.posts).values().map(|(cell, _)| Arc::clone(cell)).collect()
    }

    pub(super) fn line(&self, path: &str) -> Option<ParentLink> {
        locked(&self.posts).get(path).map(|(_, line)| line.clone())
    }

    /// Everyone who was sent to that desk.
    pub(super) fn at(&self, desk: u64) -> Vec<TreeSlot> {
        let posts = locked(&self.posts);
        posts.values().filter(|(cell, _)| cell.desk.load(Relaxed) == desk).cloned().collect()
    }
}
