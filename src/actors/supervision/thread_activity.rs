//! What a thread is doing now, for those who look at it from outside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::cell::{ActorStats, locked};

/// One thread's sign on the door. A thread that replaces a lost one gets a new desk.
pub(super) struct ThreadActivity {
    /// Unlike any other; never 0.
    pub(super) id: u64,
    now: Mutex<Option<RunningHandler>>,
}

/// An actor at work.
#[derive(Clone)]
pub(super) struct RunningHandler {
    pub(super) cell: Arc<ActorStats>,
    pub(super) what: &'static str,
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
        Arc::new(Self { id: NEXT.fetch_add(1, Ordering::Relaxed), now: Mutex::new(None) })
    }

    pub(super) fn enter(&self, cell: &Arc<ActorStats>, what: &'static str) {
        let doing = RunningHandler { cell: Arc::clone(cell), what, since: Instant::now() };
        *locked(&self.now) = Some(doing);
    }

    pub(super) fn note(&self, what: &'static str, since: Instant) {
        if let Some(doing) = locked(&self.now).as_mut() {
            (doing.what, doing.since) = (what, since);
        }
    }

    pub(super) fn leave(&self) {
        *locked(&self.now) = None;
    }

    pub(super) fn now(&self) -> Option<RunningHandler> {
        locked(&self.now).clone()
    }
}
