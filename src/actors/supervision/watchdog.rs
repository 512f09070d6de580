//! A thread that sees other threads stuck: says so, gives them up, and at last calls for help.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::exit::ExitReason;
use super::thread_activity::RunningHandler;
use super::threads::ThreadPools;
use super::tree::TreeIndex;

/// How long an actor may hold its thread.
#[derive(Clone)]
pub struct WatchdogThresholds {
    /// After this a warning names the actor and its message.
    pub warn: Duration,
    /// After this the thread is given up: all who live on it are started on a new one.
    pub give_up: Duration,
    /// After this `last_resort` is called, once.
    pub despair: Duration,
    /// What to do when a thread never came back, as ending the process; gets what is stuck.
    pub last_resort: Arc<dyn Fn(StuckActor) + Send + Sync>,
}

impl Default for WatchdogThresholds {
    /// 1 s, 5 s, 30 s, and nothing as the last resort.
    fn default() -> Self {
        Self {
            warn: Duration::from_secs(1),
            give_up: Duration::from_secs(5),
            despair: Duration::from_secs(30),
            last_resort: Arc::new(|_| {}),
        }
    }
}

/// An actor that holds its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckActor {
    /// Its place in the tree.
    pub path: String,
    /// The type of the message or future, or the hook, that it is at.
    pub message: String,
    /// For how long.
    pub lasts: Duration,
}

impl From<&RunningHandler> for StuckActor {
    fn from(doing: &RunningHandler) -> Self {
        let path = doing.cell.path().to_owned();
        Self { path, message: doing.what.to_owned(), lasts: doing.elapsed() }
    }
}

/// How far it has come with a desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StuckStage {
    Warned,
    GivenUp,
    Despaired,
}

impl WatchdogThresholds {
    /// What is due after `done`: one step at most, so that between two of them there is always a
    /// nap in which the thread may come back.
    fn due(&self, done: Option<StuckStage>, lasts: Duration) -> Option<StuckStage> {
        let (step, after) = match done {
            None => (StuckStage::Warned, self.warn),
            Some(StuckStage::Warned) => (StuckStage::GivenUp, self.give_up),
            Some(StuckStage::GivenUp) => (StuckStage::Despaired, self.despair),
            Some(StuckStage::Despaired) => return None,
        };
        (lasts >= after).then_some(step)
    }

    /// The time between two looks.
    fn nap(&self) -> Duration {
        (self.warn / 4).max(Duration::from_millis(5))
    }

    /// Whether a nap took so long that the whole process must have been paused, or starved, with
    /// its watchdog: no actor is to blame for such time.
    fn overslept(&self, nap: Duration) -> bool {
        nap > self.nap() + self.warn
    }
}

/// The watchdog at work; it ends when this is dropped.
pub(super) struct Watchdog {
    off: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    /// Watches over `places`; none if no thread can be had for it.
    pub(super) fn start(
        forest: Arc<TreeIndex>,
        places: Arc<ThreadPools>,
        patience: WatchdogThresholds,
    ) -> Option<Self> {
        let off = Arc::new(AtomicBool::new(false));
        let seen_off = Arc::clone(&off);
        let nap = patience.nap();
        let mut watch = WatchedThread::new(forest, places, patience);
        let watching = move || {
            while !seen_off.load(Ordering::Acquire) {
                watch.look(Instant::now());
                std::thread::park_timeout(nap);
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(watching);
        let thread = thread
            .inspect_err(|error| tracing::error!(%error, "watchdog thread failed to start"))
            .ok()?;
        Some(Self { off, thread })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.off.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }
}

struct WatchedThread {
    forest: Arc<TreeIndex>,
    places: Arc<ThreadPools>,
    patience: WatchdogThresholds,
    /// What was done about a desk whose sign says so since then.
    steps: HashMap<u64, (Instant, StuckStage)>,
    /// When it looked last.
    looked: Instant,
    /// Since when it has looked without a gap.
    awake: Instant,
}

impl WatchedThread {
    fn new(forest: Arc<TreeIndex>, places: Arc<ThreadPools>, patience: WatchdogThresholds) -> Self {
        let now = Instant::now();
        Self { forest, places, patience, steps: HashMap::new(), looked: now, awake: now }
    }

    fn look(&mut self, now: Instant) {
        let nap = now.saturating_duration_since(std::mem::replace(&mut self.looked, now));
        if self.patience.overslept(nap) {
            tracing::warn!(nap_ms = nap.as_millis(), "process stall detected");
            self.awake = now;
        }
        for desk in self.places.desks() {
            let Some(doing) = desk.now() else {
                self.steps.remove(&desk.id);
                continue;
            };
            let known = self.steps.get(&desk.id).filter(|(since, _)| *since == doing.since);
            let done = known.map(|(_, step)| *step);
            let lasts = now.saturating_duration_since(doing.since.max(self.awake));
            let Some(step) = self.patience.due(done, lasts) else { continue };
            match step {
                StuckStage::Warned => self.warn(&doing),
                StuckStage::GivenUp => self.give_up(desk.id, &doing),
                StuckStage::Despaired => (self.patience.last_resort)(StuckActor::from(&doing)),
            }
            self.steps.insert(desk.id, (doing.since, step));
        }
    }

    fn warn(&self, doing: &RunningHandler) {
        metrics::counter!("securevox_actor_stalls_total").increment(1);
        tracing::warn!(
            actor.path = doing.cell.path(),
            actor.message = doing.what,
            stuck_ms = doing.elapsed().as_millis(),
            "actor blocked its thread"
        );
    }

    /// All who live on the thread are reported lost; the culprit as stuck, which counts against it.
    fn give_up(&self, desk: u64, doing: &RunningHandler) {
        if !self.places.give_up(desk) {
            return;
        }
        metrics::counter!("securevox_actor_threads_replaced_total").increment(1);
        tracing::error!(actor.path = doing.cell.path(), "blocked thread replaced");
        for (cell, line) in self.forest.at(desk) {
            let exit =
                if Arc::ptr_eq(&cell, &doing.cell) { ExitReason::Stuck } else { ExitReason::Lost };
            line.lost(desk, exit, doing.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::super::cell::{ActorStats, TreeNodeKind};
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn watchdog_escalates_one_stage_per_tick() {
        let patience = WatchdogThresholds::default();
        assert_eq!(patience.due(None, S(0)), None);
        assert_eq!(patience.due(None, S(1000)), Some(StuckStage::Warned));
        assert_eq!(patience.due(Some(StuckStage::Warned), S(4)), None);
        assert_eq!(patience.due(Some(StuckStage::Warned), S(1000)), Some(StuckStage::GivenUp));
        assert_eq!(patience.due(Some(StuckStage::GivenUp), S(29)), None);
        assert_eq!(patience.due(Some(StuckStage::GivenUp), S(1000)), Some(StuckStage::Despaired));
        assert_eq!(patience.due(Some(StuckStage::Despaired), S(1000)), None);
    }

    #[test]
    fn watchdog_ignores_small_timer_delay() {
        let patience = WatchdogThresholds::default();
        assert!(!patience.overslept(patience.nap()));
        assert!(!patience.overslept(patience.nap() + patience.warn));
        assert!(patience.overslept(S(30)));
    }

    /// A watch over one actor at work, the calls of its last resort, and when it began.
    fn watch() -> (WatchedThread, Arc<AtomicU32>, Instant) {
        let calls = Arc::new(AtomicU32::new(0));
        let called = Arc::clone(&calls);
        let last_resort = Arc::new(move |_| {
            called.fetch_add(1, Ordering::Relaxed);
        });
        let patience = WatchdogThresholds { last_resort, ..WatchdogThresholds::default() };
        let places = Arc::new(ThreadPools::one_thread());
        places.desks()[0].enter(&Arc::new(ActorStats::new(TreeNodeKind::Actor)), "Work");
        let watch = WatchedThread::new(Arc::new(TreeIndex::new()), places, patience);
        let began = watch.looked;
        (watch, calls, began)
    }

    #[test]
    fn watchdog_does_not_escalate_after_process_suspension() {
        let (mut watch, calls, began) = watch();
        let mut now = began + S(1);
        watch.look(now);
        for _ in 0..3 {
            now += S(3600);
            watch.look(now);
            for _ in 0..16 {
                now += watch.patience.nap();
                watch.look(now);
            }
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        assert!(watch.steps.values().all(|(_, step)| *step == StuckStage::Warned));
    }

    #[test]
    fn stuck_actor_is_reported_unrecoverable_once() {
        let (mut watch, calls, mut now) = watch();
        while now < watch.awake + S(60) {
            assert_eq!(calls.load(Ordering::Relaxed), u32::from(now >= watch.awake + S(30)));
            now += watch.patience.nap();
            watch.look(now);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
