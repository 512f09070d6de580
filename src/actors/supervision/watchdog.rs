//! A thread that detects blocked threads: it warns, replaces them, and finally reports them as
//! unrecoverable.

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
    pub warn_after: Duration,
    /// After this the thread is replaced: all actors on it are restarted on a new one.
    pub replace_after: Duration,
    /// After this `on_unrecoverable` is called, once.
    pub unrecoverable_after: Duration,
    /// What to do when a thread never comes back, such as ending the process; gets the stuck actor.
    pub on_unrecoverable: Arc<dyn Fn(StuckActor) + Send + Sync>,
}

impl Default for WatchdogThresholds {
    /// 1 s, 5 s, 30 s, and no action when unrecoverable.
    fn default() -> Self {
        Self {
            warn_after: Duration::from_secs(1),
            replace_after: Duration::from_secs(5),
            unrecoverable_after: Duration::from_secs(30),
            on_unrecoverable: Arc::new(|_| {}),
        }
    }
}

/// An actor that holds its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckActor {
    /// Path in the tree.
    pub path: String,
    /// The type of the message or future, or the hook, that is running.
    pub message: String,
    /// For how long it has been running.
    pub blocked_for: Duration,
}

impl From<&RunningHandler> for StuckActor {
    fn from(handler: &RunningHandler) -> Self {
        let path = handler.stats.path().to_owned();
        Self { path, message: handler.operation.to_owned(), blocked_for: handler.elapsed() }
    }
}

/// What was already done about a blocked thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StuckStage {
    Warned,
    ThreadReplaced,
    Unrecoverable,
}

impl WatchdogThresholds {
    /// The stage that is due after `done`: one at most, so that between two stages there is always
    /// a check interval in which the thread may come back.
    fn next_stage(&self, done: Option<StuckStage>, blocked_for: Duration) -> Option<StuckStage> {
        let (stage, after) = match done {
            None => (StuckStage::Warned, self.warn_after),
            Some(StuckStage::Warned) => (StuckStage::ThreadReplaced, self.replace_after),
            Some(StuckStage::ThreadReplaced) => {
                (StuckStage::Unrecoverable, self.unrecoverable_after)
            }
            Some(StuckStage::Unrecoverable) => return None,
        };
        (blocked_for >= after).then_some(stage)
    }

    /// The time between two checks.
    fn check_interval(&self) -> Duration {
        (self.warn_after / 4).max(Duration::from_millis(5))
    }

    /// Whether a pause between two checks was so long that the whole process must have been
    /// suspended or starved, watchdog included: no actor is to blame for such time.
    fn is_process_stall(&self, pause: Duration) -> bool {
        pause > self.check_interval() + self.warn_after
    }
}

/// The running watchdog; it ends when this is dropped.
pub(super) struct Watchdog {
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    /// Starts watching `pools`; `None` if its thread cannot be created.
    pub(super) fn start(
        index: Arc<TreeIndex>,
        pools: Arc<ThreadPools>,
        thresholds: WatchdogThresholds,
    ) -> Option<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop_flag = Arc::clone(&is_stopped);
        let pause = thresholds.check_interval();
        let mut state = WatchState::new(index, pools, thresholds);
        let run = move || {
            while !stop_flag.load(Ordering::Acquire) {
                state.check(Instant::now());
                std::thread::park_timeout(pause);
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(run);
        let thread = thread
            .inspect_err(|error| tracing::error!(%error, "watchdog thread failed to start"))
            .ok()?;
        Some(Self { is_stopped, thread })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }
}

struct WatchState {
    index: Arc<TreeIndex>,
    pools: Arc<ThreadPools>,
    thresholds: WatchdogThresholds,
    /// The last stage reached for a thread, and since when its handler runs.
    stages: HashMap<u64, (Instant, StuckStage)>,
    /// When the last check was.
    last_check: Instant,
    /// Since when it has checked without a process stall.
    no_stall_since: Instant,
}

impl WatchState {
    fn new(index: Arc<TreeIndex>, pools: Arc<ThreadPools>, thresholds: WatchdogThresholds) -> Self {
        let now = Instant::now();
        Self {
            index,
            pools,
            thresholds,
            stages: HashMap::new(),
            last_check: now,
            no_stall_since: now,
        }
    }

    fn check(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(std::mem::replace(&mut self.last_check, now));
        if self.thresholds.is_process_stall(pause) {
            tracing::warn!(nap_ms = pause.as_millis(), "process stall detected");
            self.no_stall_since = now;
        }
        for activity in self.pools.activities() {
            let Some(handler) = activity.current() else {
                self.stages.remove(&activity.id);
                continue;
            };
            let last_stage =
                self.stages.get(&activity.id).filter(|(since, _)| *since == handler.since);
            let done = last_stage.map(|(_, stage)| *stage);
            let blocked_for = now.saturating_duration_since(handler.since.max(self.no_stall_since));
            let Some(stage) = self.thresholds.next_stage(done, blocked_for) else { continue };
            match stage {
                StuckStage::Warned => self.warn(&handler),
                StuckStage::ThreadReplaced => self.replace_thread(activity.id, &handler),
                StuckStage::Unrecoverable => {
                    (self.thresholds.on_unrecoverable)(StuckActor::from(&handler))
                }
            }
            self.stages.insert(activity.id, (handler.since, stage));
        }
    }

    fn warn(&self, handler: &RunningHandler) {
        metrics::counter!("securevox_actor_stalls_total").increment(1);
        tracing::warn!(
            actor.path = handler.stats.path(),
            actor.message = handler.operation,
            stuck_ms = handler.elapsed().as_millis(),
            "actor blocked its thread"
        );
    }

    /// All actors on the thread are reported lost, the culprit as stuck, which counts as a failure.
    fn replace_thread(&self, thread_id: u64, handler: &RunningHandler) {
        if !self.pools.replace_thread(thread_id) {
            return;
        }
        metrics::counter!("securevox_actor_threads_replaced_total").increment(1);
        tracing::error!(actor.path = handler.stats.path(), "blocked thread replaced");
        for (stats, link) in self.index.on_thread(thread_id) {
            let exit = if Arc::ptr_eq(&stats, &handler.stats) {
                ExitReason::Stuck
            } else {
                ExitReason::Lost
            };
            link.lost(thread_id, exit, handler.operation);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::super::actor_stats::{ActorStats, TreeNodeKind};
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn watchdog_escalates_one_stage_per_tick() {
        let thresholds = WatchdogThresholds::default();
        assert_eq!(thresholds.next_stage(None, S(0)), None);
        assert_eq!(thresholds.next_stage(None, S(1000)), Some(StuckStage::Warned));
        assert_eq!(thresholds.next_stage(Some(StuckStage::Warned), S(4)), None);
        assert_eq!(
            thresholds.next_stage(Some(StuckStage::Warned), S(1000)),
            Some(StuckStage::ThreadReplaced)
        );
        assert_eq!(thresholds.next_stage(Some(StuckStage::ThreadReplaced), S(29)), None);
        assert_eq!(
            thresholds.next_stage(Some(StuckStage::ThreadReplaced), S(1000)),
            Some(StuckStage::Unrecoverable)
        );
        assert_eq!(thresholds.next_stage(Some(StuckStage::Unrecoverable), S(1000)), None);
    }

    #[test]
    fn watchdog_ignores_small_timer_delay() {
        let thresholds = WatchdogThresholds::default();
        assert!(!thresholds.is_process_stall(thresholds.check_interval()));
        assert!(!thresholds.is_process_stall(thresholds.check_interval() + thresholds.warn_after));
        assert!(thresholds.is_process_stall(S(30)));
    }

    /// A watchdog state over one busy actor, the calls of `on_unrecoverable`, and the start time.
    fn state() -> (WatchState, Arc<AtomicU32>, Instant) {
        let calls = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&calls);
        let on_unrecoverable = Arc::new(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let thresholds = WatchdogThresholds { on_unrecoverable, ..WatchdogThresholds::default() };
        let pools = Arc::new(ThreadPools::one_thread());
        pools.activities()[0].enter(&Arc::new(ActorStats::new(TreeNodeKind::Actor)), "Work");
        let state = WatchState::new(Arc::new(TreeIndex::new()), pools, thresholds);
        let start = state.last_check;
        (state, calls, start)
    }

    #[test]
    fn watchdog_does_not_escalate_after_process_suspension() {
        let (mut state, calls, start) = state();
        let mut now = start + S(1);
        state.check(now);
        for _ in 0..3 {
            now += S(3600);
            state.check(now);
            for _ in 0..16 {
                now += state.thresholds.check_interval();
                state.check(now);
            }
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        assert!(state.stages.values().all(|(_, stage)| *stage == StuckStage::Warned));
    }

    #[test]
    fn stuck_actor_is_reported_unrecoverable_once() {
        let (mut state, calls, mut now) = state();
        while now < state.no_stall_since + S(60) {
            assert_eq!(
                calls.load(Ordering::Relaxed),
                u32::from(now >= state.no_stall_since + S(30))
            );
            now += state.thresholds.check_interval();
            state.check(now);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
