//! Restart policies, restart intensity and back-off, as pure functions of state, event and time.

use std::collections::VecDeque;
use std::time::Duration;

use base::backoff::Backoff;
use serde::Serialize;
use tokio::time::Instant;

use super::exit::ExitReason;

/// When a child that ended is restarted (OTP restart type).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// It is always restarted.
    Permanent,
    /// It is restarted only after a failure.
    Transient,
    /// It is never restarted.
    Temporary,
}

/// Which siblings are restarted when a child of a supervisor fails (OTP strategy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// No sibling is restarted.
    OneForOne,
    /// All siblings are restarted.
    OneForAll,
    /// The siblings that were started after it are restarted.
    RestForOne,
}

/// The allowed restarts per period (OTP restart intensity).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Failures allowed within `period`; one more exceeds the intensity.
    pub max_restarts: u32,
    /// Failures older than this no longer count.
    pub period: Duration,
}

/// The times of the failures that still count.
#[derive(Clone, Debug, Default)]
pub(super) struct RestartWindow(VecDeque<Instant>);

impl RestartWindow {
    /// Counts a failure at `now`; false if it exceeds `intensity`.
    pub(super) fn admit(&mut self, intensity: Intensity, now: Instant) -> bool {
        while self.0.front().is_some_and(|&at| now.duration_since(at) > intensity.period) {
            self.0.pop_front();
        }
        let is_admitted = self.0.len() < intensity.max_restarts as usize;
        if is_admitted {
            self.0.push_back(now);
        }
        is_admitted
    }
}

/// The restart and shutdown policy of one child.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestartPolicy {
    /// When it is restarted.
    pub restart: Restart,
    /// How many failures of its own it may have.
    pub intensity: Intensity,
    /// The wait before a restart.
    pub backoff: Backoff,
    /// After being up this long the count of consecutive failures, and with it the back-off, is
    /// reset.
    pub stable_after: Duration,
    /// How long it may take to stop before it is killed.
    pub shutdown: Duration,
    /// How long after a kill it may still hold its thread before it is abandoned.
    pub grace: Duration,
}

impl RestartPolicy {
    /// The default of a child: permanent, 5 failures in 30 s, back-off from 10 ms to 5 s that is
    /// reset after 10 s of being up, 5 s to stop.
    pub const CHILD: Self = Self {
        restart: Restart::Permanent,
        intensity: Intensity { max_restarts: 5, period: Duration::from_secs(30) },
        backoff: Backoff { initial: Duration::from_millis(10), max: Duration::from_secs(5) },
        stable_after: Duration::from_secs(10),
        shutdown: Duration::from_secs(5),
        grace: Duration::from_millis(200),
    };
}

/// What to do with a child that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RestartDecision {
    /// It stays down.
    StayDown,
    /// It is restarted after this wait.
    RestartAfter(Duration),
    /// It failed too often; its supervisor must give up.
    IntensityExceeded,
}

/// The failures of one child that influence its next restart.
#[derive(Clone, Debug, Default)]
pub(super) struct RestartHistory {
    failure_times: RestartWindow,
    consecutive_failures: u32,
    up_since: Option<Instant>,
}

impl RestartHistory {
    /// The child handles messages since `now`.
    pub(super) fn up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// Decides after the child ended at `now`; `jitter` (0 to 1) is the jitter of the wait.
    pub(super) fn decide(
        &mut self,
        policy: &RestartPolicy,
        exit: &ExitReason,
        now: Instant,
        jitter: f64,
    ) -> RestartDecision {
        let up = self.up_since.take();
        if up.is_some_and(|since| now.duration_since(since) >= policy.stable_after) {
            self.consecutive_failures = 0;
        }
        match (policy.restart, exit.is_failure()) {
            (Restart::Temporary, _) | (Restart::Transient, false) => {
                return RestartDecision::StayDown;
            }
            (Restart::Permanent, _) | (Restart::Transient, true) => {}
        }
        // A lost thread is no failure of its actors: twenty children on it must not exceed the
        // intensity.
        if *exit != ExitReason::Lost && !self.failure_times.admit(policy.intensity, now) {
            return RestartDecision::IntensityExceeded;
        }
        self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        RestartDecision::RestartAfter(policy.backoff.delay(self.consecutive_failures, jitter))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(restart: Restart) -> RestartPolicy {
        RestartPolicy { restart, ..RestartPolicy::CHILD }
    }

    fn panic_exit() -> ExitReason {
        ExitReason::Panic("boom".into())
    }

    #[test]
    fn transient_child_restarts_only_after_failure() {
        let now = Instant::now();
        let policy_ = policy(Restart::Transient);
        assert_eq!(
            RestartHistory::default().decide(&policy_, &ExitReason::Normal, now, 0.0),
            RestartDecision::StayDown
        );
        assert_ne!(
            RestartHistory::default().decide(&policy_, &panic_exit(), now, 0.0),
            RestartDecision::StayDown
        );
    }

    #[test]
    fn temporary_child_never_and_permanent_child_always_restarts() {
        let now = Instant::now();
        for exit in [ExitReason::Normal, ExitReason::Lost, panic_exit()] {
            let mut history = RestartHistory::default();
            assert_eq!(
                history.decide(&policy(Restart::Temporary), &exit, now, 0.0),
                RestartDecision::StayDown
            );
            let again = history.decide(&policy(Restart::Permanent), &exit, now, 0.0);
            assert!(matches!(again, RestartDecision::RestartAfter(_)));
        }
    }

    #[test]
    fn restart_backoff_grows_until_child_is_stable() {
        let (mut history, mut now) = (RestartHistory::default(), Instant::now());
        let policy_ = RestartPolicy {
            intensity: Intensity { max_restarts: 99, ..RestartPolicy::CHILD.intensity },
            ..RestartPolicy::CHILD
        };
        for wait in [10, 20, 40] {
            let decision = history.decide(&policy_, &panic_exit(), now, 0.0);
            assert_eq!(decision, RestartDecision::RestartAfter(Duration::from_millis(wait)));
        }
        history.up(now);
        now += policy_.stable_after;
        let decision = history.decide(&policy_, &panic_exit(), now, 0.0);
        assert_eq!(decision, RestartDecision::RestartAfter(Duration::from_millis(10)));
    }

    #[test]
    fn lost_thread_does_not_count_toward_restart_intensity() {
        let (mut history, now) = (RestartHistory::default(), Instant::now());
        for _ in 0..100 {
            let decision = history.decide(&RestartPolicy::CHILD, &ExitReason::Lost, now, 0.0);
            assert!(matches!(decision, RestartDecision::RestartAfter(_)));
        }
    }

    proptest! {
        #[test]
        fn restarts_never_exceed_intensity_within_period(
            max_restarts in 0u32..6,
            failure_times in 1u64..500,
            gaps in proptest::collection::vec(0u64..200, 1..80),
        ) {
            let intensity = Intensity { max_restarts, period: Duration::from_millis(failure_times) };
            let policy_ = RestartPolicy { intensity, ..RestartPolicy::CHILD };
            let (mut history, mut now, mut restarts) = (RestartHistory::default(), Instant::now(), vec![]);
            for gap in gaps {
                now += Duration::from_millis(gap);
                match history.decide(&policy_, &panic_exit(), now, 0.5) {
                    RestartDecision::RestartAfter(wait) => {
                        prop_assert!(wait <= policy_.backoff.max);
                        restarts.push(now);
                    }
                    RestartDecision::IntensityExceeded => {}
                    RestartDecision::StayDown => prop_assert!(false, "a permanent child ended"),
                }
                let recent = restarts.iter().filter(|&&at| now - at <= intensity.period).count();
                prop_assert!(recent <= max_restarts as usize);
            }
        }

        #[test]
        fn child_failing_slower_than_period_is_always_restarted(max_restarts in 1u32..6, gaps in proptest::collection::vec(101u64..300, 1..40)) {
            let intensity = Intensity { max_restarts, period: Duration::from_millis(100) };
            let policy_ = RestartPolicy { intensity, ..RestartPolicy::CHILD };
            let (mut history, mut now) = (RestartHistory::default(), Instant::now());
            for gap in gaps {
                now += Duration::from_millis(gap);
                prop_assert!(matches!(history.decide(&policy_, &panic_exit(), now, 0.5), RestartDecision::RestartAfter(_)));
            }
        }
    }
}
