//! The tree as operators see it: snapshots that send no message, and commands by path.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::actor_stats::{ActorState, ActorStats, TreeNodeKind, locked};
use super::command::{CommandError, OperatorCommand};
use super::exit::FailureRecord;
use super::parent_link::ParentLink;
use super::policy::Restart;
use super::threads::ThreadPools;

/// One node of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeNodeView {
    /// Path, as in `/node/rooms/0/blue`.
    pub path: String,
    /// A supervisor, a partition of a dynamic supervisor, or an actor.
    pub kind: TreeNodeKind,
    /// Where it is in its life cycle.
    pub state: ActorState,
    /// When it is restarted after it ended.
    pub restart: Restart,
    /// How long it has been running, in milliseconds; 0 if it is not.
    pub uptime_ms: u64,
    /// How often it was restarted.
    pub restarts: u32,
    /// Number of messages waiting in the mailbox.
    pub mailbox: u64,
    /// Messages handled by all its incarnations.
    pub handled: u64,
    /// The longest time any message has waited, in microseconds.
    pub longest_wait_us: u64,
    /// For how long its current handler has held the thread, in milliseconds; 0 if none runs.
    pub stuck_ms: u64,
    /// The running handler: the type of a message or future, or a hook; empty if none runs.
    pub doing: String,
    /// The latest failure.
    pub last_failure: Option<FailureRecord>,
    /// The last ten failures, the oldest first.
    pub failures: Vec<FailureRecord>,
}

/// The operators' view of a running tree, with commands by path.
#[derive(Clone)]
pub struct SupervisionTree {
    pub(super) index: Arc<TreeIndex>,
    pub(super) pools: Arc<ThreadPools>,
}

impl SupervisionTree {
    /// Every supervisor and actor, sorted by path. Sends no message, so it works while actors are
    /// stuck.
    pub fn snapshot(&self) -> Vec<TreeNodeView> {
        let busy = self
            .pools
            .activities()
            .into_iter()
            .filter_map(|activity| Some((activity.id, activity.current()?)));
        let busy: HashMap<_, _> = busy.collect();
        let now = self.index.elapsed_ms();
        let all_stats = self.index.all_stats();
        let entry = |stats: Arc<ActorStats>| {
            let doing = busy.get(&stats.thread_id.load(Relaxed));
            let doing = doing.filter(|doing| Arc::ptr_eq(&doing.stats, &stats));
            let state = stats.state();
            let failures = stats.failures();
            TreeNodeView {
                path: stats.path().to_owned(),
                kind: stats.kind,
                state,
                restart: stats.restart(),
                uptime_ms: match state {
                    ActorState::Running => now.saturating_sub(stats.up_since.load(Relaxed)),
                    _ => 0,
                },
                restarts: stats.restarts.load(Relaxed),
                mailbox: stats.depth.load(Relaxed),
                handled: stats.handled.load(Relaxed),
                longest_wait_us: stats.max_wait_us.load(Relaxed),
                stuck_ms: doing.map_or(0, |doing| {
                    u64::try_from(doing.elapsed().as_millis()).unwrap_or(u64::MAX)
                }),
                doing: doing.map_or_else(String::new, |doing| doing.operation.to_owned()),
                last_failure: failures.last().cloned(),
                failures,
            }
        };
        all_stats.into_iter().map(entry).collect()
    }

    /// Restarts what is at `path`, whatever its state; a supervisor with everything below it.
    /// Returns when it is up.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn restart(&self, path: &str) -> Result<(), CommandError> {
        self.command(path, OperatorCommand::Restart).await
    }

    /// Stops what is at `path`, whatever its policy; it stays listed as stopped until
    /// [`SupervisionTree::restart`]. A child of a dynamic supervisor is removed. Returns when it is
    /// down.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn stop(&self, path: &str) -> Result<(), CommandError> {
        self.command(path, OperatorCommand::Stop).await
    }

    async fn command(&self, path: &str, command: OperatorCommand) -> Result<(), CommandError> {
        let link = self.index.link(path).ok_or(CommandError::NotFound)?;
        let (reply, done) = oneshot::channel();
        link.command(command, reply);
        done.await.unwrap_or(Err(CommandError::Closing))
    }
}

/// The counters of a node and the link to its supervisor.
type TreeSlot = (Arc<ActorStats>, ParentLink);

/// All nodes of a tree by path.
pub(super) struct TreeIndex {
    created: Instant,
    slots: Mutex<BTreeMap<Box<str>, TreeSlot>>,
    emptied: Notify,
}

impl TreeIndex {
    pub(super) fn new() -> Self {
        Self { created: Instant::now(), slots: Mutex::new(BTreeMap::new()), emptied: Notify::new() }
    }

    /// Milliseconds since the tree was created.
    pub(super) fn elapsed_ms(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.created);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn insert(&self, stats: &Arc<ActorStats>, link: ParentLink) {
        locked(&self.slots).insert(stats.path().into(), (Arc::clone(stats), link));
    }

    /// Removes `stats`, but not a newer node at the same path.
    pub(super) fn remove(&self, stats: &Arc<ActorStats>) {
        let mut slots = locked(&self.slots);
        if slots.get(stats.path()).is_some_and(|(current, _)| Arc::ptr_eq(current, stats)) {
            slots.remove(stats.path());
            if slots.is_empty() {
                self.emptied.notify_waiters();
            }
        }
    }

    /// Waits until the tree has no nodes.
    pub(super) async fn wait_until_empty(&self) {
        let mut emptied = std::pin::pin!(self.emptied.notified());
        emptied.as_mut().enable();
        if !locked(&self.slots).is_empty() {
            emptied.await;
        }
    }

    fn all_stats(&self) -> Vec<Arc<ActorStats>> {
        locked(&self.slots).values().map(|(stats, _)| Arc::clone(stats)).collect()
    }

    pub(super) fn link(&self, path: &str) -> Option<ParentLink> {
        locked(&self.slots).get(path).map(|(_, link)| link.clone())
    }

    /// Every node that was sent to that thread.
    pub(super) fn on_thread(&self, thread_id: u64) -> Vec<TreeSlot> {
        let slots = locked(&self.slots);
        slots
            .values()
            .filter(|(stats, _)| stats.thread_id.load(Relaxed) == thread_id)
            .cloned()
            .collect()
    }
}
