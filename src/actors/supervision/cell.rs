//! What can be seen of one actor or supervisor from outside, without asking it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;

use super::exit::FailureRecord;
use super::policy::Restart;

/// This many failures of an actor are remembered.
pub(super) const MAX_FAILURE_RECORDS: usize = 10;

/// What stands at a path of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeNodeKind {
    /// Children known from the start, in order.
    Supervisor,
    /// A part of a nursery: children that come and go.
    Partition,
    /// A leaf.
    Actor,
}

/// Where in its life an actor or a supervisor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Not started yet, or waiting for its turn while its siblings come down.
    Down,
    /// Failed; waiting for its back-off to pass.
    Waiting,
    /// Its factory or `started` runs, or what `started` waits for.
    Starting,
    /// It takes messages.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It ended and its policy does not bring it back.
    Ended,
    /// An operator stopped it; only an operator brings it back.
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

    /// Whether an incarnation may hold a thread now.
    pub(super) const fn is_alive(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping)
    }
}

/// The counters of one path. The supervisor writes the state, the actor its figures, all read.
pub(super) struct ActorStats {
    path: OnceLock<Box<str>>,
    pub(super) kind: TreeNodeKind,
    restart: OnceLock<Restart>,
    state: AtomicU8,
    pub(super) restarts: AtomicU32,
    /// Milliseconds after the birth of the tree; meaningful while up.
    pub(super) up_since: AtomicU64,
    pub(super) depth: AtomicU64,
    pub(super) handled: AtomicU64,
    pub(super) longest_wait_us: AtomicU64,
    /// The desk (thread) the last incarnation was sent to; 0 before the first.
    pub(super) desk: AtomicU64,
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
            longest_wait_us: AtomicU64::new(0),
            desk: AtomicU64::new(0),
            failures: Mutex::new(VecDeque::new()),
        }
    }

    /// Its place in the tree; empty before the launch.
    pub(super) fn path(&self) -> &str {
        self.path.get().map_or("", |path| path)
    }

    /// Said once, when the place in the tree is known.
    pub(super) fn place(&self, path: String, restart: Restart) {
        let fresh = self.path.set(path.into()).is_ok() && self.restart.set(restart).is_ok();
        debug_assert!(fresh, "a child is placed once");
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
        let mut ring = locked(&self.failures);
        if ring.len() == MAX_FAILURE_RECORDS {
            ring.pop_front();
        }
        ring.push_back(failure);
    }

    /// Oldest first.
    pub(super) fn failures(&self) -> Vec<FailureRecord> {
        locked(&self.failures).iter().cloned().collect()
    }
}

/// Nothing of a user runs under our locks, so a poisoned one is as good as any.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
