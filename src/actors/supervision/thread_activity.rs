//! What a thread is running right now, readable by other threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::actor_stats::{ActorStats, locked};

/// The activity of one thread. A thread that replaces a lost one gets a new `ThreadActivity`.
pub(super) struct ThreadActivity {
    /// Unique in the process; never 0.
    pub(super) id: u64,
    running: Mutex<Option<RunningHandler>>,
}

/// A handler that is running on a thread.
#[derive(Clone)]
pub(super) struct RunningHandler {
    pub(super) stats: Arc<ActorStats>,
    pub(super) operation: &'static str,
    pub(super) since: Instant,
}

impl RunningHandler {
    pub(super) fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.since)
    }
}

impl ThreadActivity {
    pub(super) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), running: Mutex::new(None) })
    }

    pub(super) fn enter(&self, stats: &Arc<ActorStats>, operation: &'static str) {
        let handler = RunningHandler { stats: Arc::clone(stats), operation, since: Instant::now() };
        *locked(&self.running) = Some(handler);
    }

    pub(super) fn update(&self, operation: &'static str, since: Instant) {
        if let Some(handler) = locked(&self.running).as_mut() {
            (handler.operation, handler.since) = (operation, since);
        }
    }

    pub(super) fn leave(&self) {
        *locked(&self.running) = None;
    }

    pub(super) fn current(&self) -> Option<RunningHandler> {
        locked(&self.running).clone()
    }
}
