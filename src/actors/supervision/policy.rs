//! What follows a failure: restart types, windows, back-off; pure functions of state, event and now.

use std::collections::VecDeque;
use std::time::Duration;

use base::backoff::Backoff;
use serde::Serialize;
use tokio::time::Instant;

use super::exit::ExitReason;

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Always.
    Permanent,
    /// Only after a failure.
    Transient,
    /// Never.
    Temporary,
}

/// Who else is restarted when a child of a supervisor fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Nobody.
    OneForOne,
    /// All its siblings.
    OneForAll,
    /// The siblings that were started after it.
    RestForOne,
}

/// How many failures are borne within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// This many are borne; one more is too many.
    pub most: u32,
    /// Failures older than this are forgotten.
    pub window: Duration,
}

/// The failures that still count.
#[derive(Clone, Debug, Default)]
pub(super) struct RestartWindow(VecDeque<Instant>);

impl RestartWindow {
    /// Counts a failure at `now`; false if it is one too many.
    pub(super) fn admits(&mut self, intensity: Intensity, now: Instant) -> bool {
        while self.0.front().is_some_and(|&at| now.duration_since(at) > intensity.window) {
            self.0.pop_front();
        }
        let admits = self.0.len() < intensity.most as usize;
        if admits {
            self.0.push_back(now);
        }
        admits
    }
}

/// The terms of one child.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RestartPolicy {
    /// When it comes back.
    pub restart: Restart,
    /// How many failures of its own it may have.
    pub intensity: Intensity,
    /// How long it waits before it comes back.
    pub backoff: Backoff,
    /// After being up this long its failures in a row are forgotten.
    pub stable_after: Duration,
    /// How long it may take to stop before it is killed.
    pub shutdown: Duration,
    /// How long after a kill it may still hold its thread before it is abandoned.
    pub grace: Duration,
}

impl RestartPolicy {
    /// What a child gets unless told otherwise: permanent, 5 failures in 30 s, back-off from 10 ms
    /// to 5 s forgotten after 10 s, 5 s to stop.
    pub const CHILD: Self = Self {
        restart: Restart::Permanent,
        intensity: Intensity { most: 5, window: Duration::from_secs(30) },
        backoff: Backoff { initial: Duration::from_millis(10), max: Duration::from_secs(5) },
        stable_after: Duration::from_secs(10),
        shutdown: Duration::from_secs(5),
        grace: Duration::from_millis(200),
    };
}

/// What happens to a child that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RestartDecision {
    /// Nothing: it stays down.
    End,
    /// It is started again after this wait.
    Again(Duration),
    /// It failed too often: its supervisor must give up on it.
    TooMany,
}

/// What is remembered of one child from failure to failure.
#[derive(Clone, Debug, Default)]
pub(super) struct RestartHistory {
    window: RestartWindow,
    streak: u32,
    up_since: Option<Instant>,
}

impl RestartHistory {
    /// The child takes messages since `now`.
    pub(super) fn up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// The child ended at `now`; `chance` (0 to 1) is the jitter of the wait.
    pub(super) fn ended(
        &mut self,
        policy: &RestartPolicy,
        exit: &ExitReason,
        now: Instant,
        chance: f64,
    ) -> RestartDecision {
        let up = self.up_since.take();
        if up.is_some_and(|since| now.duration_since(since) >= policy.stable_after) {
            self.streak = 0;
        }
        match (policy.restart, exit.is_failure()) {
            (Restart::Temporary, _) | (Restart::Transient, false) => return RestartDecision::End,
            (Restart::Permanent, _) | (Restart::Transient, true) => {}
        }
        // A lost thread is nobody's failure: twenty children on it must not look like a storm.
        if *exit != ExitReason::Lost && !self.window.admits(policy.intensity, now) {
            return RestartDecision::TooMany;
        }
        self.streak = self.streak.saturating_add(1);
        RestartDecision::Again(policy.backoff.delay(self.streak, chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(restart: Restart) -> RestartPolicy {
        RestartPolicy { restart, ..RestartPolicy::CHILD }
    }

    fn boom() -> ExitReason {
        ExitReason::Panic("boom".into())
    }

    #[test]
    fn transient_child_restarts_only_after_failure() {
        let now = Instant::now();
        let p = policy(Restart::Transient);
        assert_eq!(
            RestartHistory::default().ended(&p, &ExitReason::Normal, now, 0.0),
            RestartDecision::End
        );
        assert_ne!(RestartHistory::default().ended(&p, &boom(), now, 0.0), RestartDecision::End);
    }

    #[test]
    fn temporary_child_never_and_permanent_child_always_restarts() {
        let now = Instant::now();
        for exit in [ExitReason::Normal, ExitReason::Lost, boom()] {
            let mut record = RestartHistory::default();
            assert_eq!(
                record.ended(&policy(Restart::Temporary), &exit, now, 0.0),
                RestartDecision::End
            );
            let again = record.ended(&policy(Restart::Permanent), &exit, now, 0.0);
            assert!(matches!(again, RestartDecision::Again(_)));
        }
    }

    #[test]
    fn restart_backoff_grows_until_child_is_stable() {
        let (mut record, mut now) = (RestartHistory::default(), Instant::now());
        let p = RestartPolicy {
            intensity: Intensity { most: 99, ..RestartPolicy::CHILD.intensity },
            ..RestartPolicy::CHILD
        };
        for wait in [10, 20, 40] {
            let verdict = record.ended(&p, &boom(), now, 0.0);
            assert_eq!(verdict, RestartDecision::Again(Duration::from_millis(wait)));
        }
        record.up(now);
        now += p.stable_after;
        let verdict = record.ended(&p, &boom(), now, 0.0);
        assert_eq!(verdict, RestartDecision::Again(Duration::from_millis(10)));
    }

    #[test]
    fn lost_thread_does_not_count_toward_restart_intensity() {
        let (mut record, now) = (RestartHistory::default(), Instant::now());
        for _ in 0..100 {
            let verdict = record.ended(&RestartPolicy::CHILD, &ExitReason::Lost, now, 0.0);
            assert!(matches!(verdict, RestartDecision::Again(_)));
        }
    }

    proptest! {
        #[test]
        fn restarts_never_exceed_intensity_within_period(
            most in 0u32..6,
            window in 1u64..500,
            gaps in proptest::collection::vec(0u64..200, 1..80),
        ) {
            let intensity = Intensity { most, window: Duration::from_millis(window) };
            let p = RestartPolicy { intensity, ..RestartPolicy::CHILD };
            let (mut record, mut now, mut restarts) = (RestartHistory::default(), Instant::now(), vec![]);
            for gap in gaps {
                now += Duration::from_millis(gap);
                match record.ended(&p, &boom(), now, 0.5) {
                    RestartDecision::Again(wait) => {
                        prop_assert!(wait <= p.backoff.max);
                        restarts.push(now);
                    }
                    RestartDecision::TooMany => {}
                    RestartDecision::End => prop_assert!(false, "a permanent child ended"),
                }
                let recent = restarts.iter().filter(|&&at| now - at <= intensity.window).count();
                prop_assert!(recent <= most as usize);
            }
        }

        #[test]
        fn child_failing_slower_than_period_is_always_restarted(most in 1u32..6, gaps in proptest::collection::vec(101u64..300, 1..40)) {
            let intensity = Intensity { most, window: Duration::from_millis(100) };
            let p = RestartPolicy { intensity, ..RestartPolicy::CHILD };
            let (mut record, mut now) = (RestartHistory::default(), Instant::now());
            for gap in gaps {
                now += Duration::from_millis(gap);
                prop_assert!(matches!(record.ended(&p, &boom(), now, 0.5), RestartDecision::Again(_)));
            }
        }
    }
}
