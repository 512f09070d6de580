//! The counters of one actor or supervisor, readable without sending it a message.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;

use super::exit::FailureRecord;
use super::policy::Restart;

/// Failures of an actor that are remembered.
pub(super) const MAX_FAILURE_RECORDS: usize = 10;

/// What kind of node is at a path of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeNodeKind {
    /// A supervisor whose ordered children are known from the start.
    Supervisor,
    /// One partition of a dynamic supervisor.
    Partition,
    /// An actor, which is a leaf.
    Actor,
}

/// Where an actor or a supervisor is in its life cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Not started yet, or waiting while siblings stop before a group restart.
    Down,
    /// Failed, and waiting for its back-off to elapse.
    Waiting,
    /// Its factory, its `started` hook or a future that `started` waits for is running.
    Starting,
    /// It handles messages.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It ended and its policy does not restart it.
    Ended,
    /// An operator stopped it; only an operator starts it again.
    Stopped,
}

impl ActorState {
    const ALL: [Self; 7] = [
        Self::Down,
        Self::Waiting,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Ended,
        Self::Stopped,
    ];

    /// Whether an incarnation may hold a thread in this state.
    pub(super) const fn is_alive(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping)
    }
}

/// The counters of one path. The supervisor writes the state, the actor its counters; anybody may
/// read.
pub(super) struct ActorStats {
    path: OnceLock<Box<str>>,
    pub(super) kind: TreeNodeKind,
    restart: OnceLock<Restart>,
    state: AtomicU8,
    pub(super) restarts: AtomicU32,
    /// Milliseconds since the tree was created; meaningful only while running.
    pub(super) up_since: AtomicU64,
    pub(super) depth: AtomicU64,
    pub(super) handled: AtomicU64,
    pub(super) max_wait_us: AtomicU64,
    /// Id of the thread the last incarnation was sent to; 0 before the first.
    pub(super) thread_id: AtomicU64,
    failures: Mutex<VecDeque<FailureRecord>>,
}

impl ActorStats {
    pub(super) fn new(kind: TreeNodeKind) -> Self {
        Self {
            path: OnceLock::new(),
            kind,
            restart: OnceLock::new(),
            state: AtomicU8::new(0),
            restarts: AtomicU32::new(0),
            up_since: AtomicU64::new(0),
            depth: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            max_wait_us: AtomicU64::new(0),
            thread_id: AtomicU64::new(0),
            failures: Mutex::new(VecDeque::new()),
        }
    }

    /// Path in the tree; empty before the launch.
    pub(super) fn path(&self) -> &str {
        self.path.get().map_or("", |path| path)
    }

    /// Called once, when the path in the tree is known.
    pub(super) fn set_path(&self, path: String, restart: Restart) {
        let fresh = self.path.set(path.into()).is_ok() && self.restart.set(restart).is_ok();
        debug_assert!(fresh, "the path is set once");
    }

    pub(super) fn restart(&self) -> Restart {
        self.restart.get().copied().unwrap_or(Restart::Permanent)
    }

    pub(super) fn state(&self) -> ActorState {
        ActorState::ALL[usize::from(self.state.load(Relaxed)) % ActorState::ALL.len()]
    }

    pub(super) fn set_state(&self, state: ActorState) {
        self.state.store(state as u8, Relaxed);
    }

    pub(super) fn record(&self, failure: FailureRecord) {
        let mut records = locked(&self.failures);
        if records.len() == MAX_FAILURE_RECORDS {
            records.pop_front();
        }
        records.push_back(failure);
    }

    /// The recorded failures, oldest first.
    pub(super) fn failures(&self) -> Vec<FailureRecord> {
        locked(&self.failures).iter().cloned().collect()
    }
}

/// Locks `mutex`. Our locks are never held while foreign code runs, so a poisoned lock still guards
/// consistent data.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
