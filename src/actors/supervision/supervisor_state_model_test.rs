//! Invariants of [`SupervisorState`], checked by random events against children that behave
//! arbitrarily.

use std::time::Duration;

use base::backoff::Backoff;
use proptest::prelude::*;
use tokio::time::Instant;

use super::exit::ExitReason;
use super::policy::{Intensity, Restart, RestartPolicy, Strategy as SupervisionStrategy};
use super::supervisor_state::{ChildEvent, SupervisorAction, SupervisorState};

const CHILDREN: usize = 4;

/// The environment of a supervisor: children that run, stop or refuse as the test dictates.
struct TestWorld {
    state: SupervisorState,
    now: Instant,
    running: [bool; CHILDREN],
    up: [bool; CHILDREN],
    stop_requested: [bool; CHILDREN],
    killed: [bool; CHILDREN],
    timers: Vec<(Instant, usize)>,
    all_up_count: u32,
    all_down: Option<ExitReason>,
    failures: u32,
}

impl TestWorld {
    fn new(strategy: SupervisionStrategy, intensity: Intensity, restart: Restart) -> Self {
        let backoff = Backoff { initial: Duration::from_millis(3), max: Duration::from_millis(50) };
        let child_intensity = Intensity { max_restarts: 1000, ..intensity };
        let policy =
            RestartPolicy { restart, backoff, intensity: child_intensity, ..RestartPolicy::CHILD };
        Self {
            state: SupervisorState::new(strategy, intensity, vec![policy; CHILDREN]),
            now: Instant::now(),
            running: [false; CHILDREN],
            up: [false; CHILDREN],
            stop_requested: [false; CHILDREN],
            killed: [false; CHILDREN],
            timers: vec![],
            all_up_count: 0,
            all_down: None,
            failures: 0,
        }
    }

    fn apply(&mut self, event: ChildEvent) {
        for action in self.state.apply(event, self.now, 0.5) {
            match action {
                SupervisorAction::Start(i) => {
                    assert!(!self.running[i], "{i} was started while running");
                    assert_eq!(self.all_down, None, "{i} was started after the end");
                    (self.running[i], self.up[i], self.stop_requested[i], self.killed[i]) =
                        (true, false, false, false);
                }
                SupervisorAction::Stop(i) => {
                    assert!(
                        self.running[i] && !self.stop_requested[i],
                        "{i} was asked to stop needlessly"
                    );
                    self.stop_requested[i] = true;
                }
                SupervisorAction::Kill(i) => {
                    assert!(self.running[i], "{i} was killed while not running");
                    self.killed[i] = true;
                }
                SupervisorAction::Abandon(i) => {
                    assert!(self.running[i] && self.killed[i], "{i} was abandoned without a kill");
                    self.running[i] = false;
                }
                SupervisorAction::CloseMailbox(i) => {
                    assert!(!self.running[i], "the mailbox of {i} was closed while it runs")
                }
                SupervisorAction::SetTimer(i, at) => self.timers.push((at, i)),
                SupervisorAction::AllUp => {
                    self.all_up_count += 1;
                }
                SupervisorAction::AllDown(exit) => {
                    assert_eq!(
                        self.running, [false; CHILDREN],
                        "all-down reported while children run"
                    );
                    assert_eq!(self.all_down.replace(exit), None, "all-down reported twice");
                }
            }
        }
    }

    fn end_child(&mut self, i: usize, exit: ExitReason) {
        if self.running[i] {
            self.running[i] = false;
            // A failure while the group stops for a sibling is not counted a second time.
            let group_stopping =
                (0..CHILDREN).any(|j| (self.running[j] || j == i) && self.stop_requested[j]);
            self.failures += u32::from(exit.is_failure() && !group_stopping);
            self.apply(ChildEvent::Down(i, exit));
        }
    }

    /// Advances to the earliest timer and fires it.
    fn fire_next_timer(&mut self) {
        let Some(at) = (0..self.timers.len()).min_by_key(|&n| self.timers[n].0) else { return };
        let (moment, i) = self.timers.remove(at);
        self.now = self.now.max(moment);
        self.apply(ChildEvent::TimerFired(i, moment));
    }

    fn step(&mut self, (what, i): (u8, usize)) {
        match what {
            0 | 1 if self.running[i] && !self.up[i] => {
                self.up[i] = true;
                self.apply(ChildEvent::Up(i));
            }
            2 => self.end_child(i, ExitReason::Panic("boom".into())),
            3 => self.end_child(i, ExitReason::Normal),
            4 => self.end_child(i, ExitReason::Lost),
            5 | 6 if self.stop_requested[i] || self.killed[i] => {
                self.end_child(i, ExitReason::Shutdown)
            }
            7 if self.state.is_open() => self.apply(ChildEvent::Hold(i)),
            8 if self.state.is_open() => self.apply(ChildEvent::Restart(i)),
            9 | 10 => self.fire_next_timer(),
            _ => {}
        }
    }

    /// Children do what they were asked, until nothing is pending any more.
    fn run_to_quiescence(&mut self) {
        for _ in 0..300 {
            for i in 0..CHILDREN {
                self.step((0, i));
                self.step((5, i));
            }
            self.fire_next_timer();
        }
    }
}

fn strategies() -> impl Strategy<Value = SupervisionStrategy> {
    prop_oneof![
        Just(SupervisionStrategy::OneForOne),
        Just(SupervisionStrategy::OneForAll),
        Just(SupervisionStrategy::RestForOne)
    ]
}

fn restarts() -> impl Strategy<Value = Restart> {
    prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)]
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize)>> {
    proptest::collection::vec((0u8..11, 0..CHILDREN), 0..150)
}

const HIGH_INTENSITY: Intensity = Intensity { max_restarts: 1000, period: Duration::from_secs(60) };

proptest! {
    #[test]
    fn supervisor_always_terminates_on_stop_or_kill(
        strategy in strategies(), restart in restarts(), steps in steps(), kill in any::<bool>(),
    ) {
        let mut world = TestWorld::new(strategy, HIGH_INTENSITY, restart);
        world.apply(ChildEvent::Start);
        steps.into_iter().for_each(|step| world.step(step));
        if world.all_down.is_none() {
            world.apply(if kill { ChildEvent::Kill } else { ChildEvent::Stop });
            // Children that refuse everything: timers alone bring them down.
            for _ in 0..1000 {
                world.fire_next_timer();
            }
        }
        prop_assert!(world.all_down.is_some());
    }

    #[test]
    fn supervisor_without_faults_starts_all_children(strategy in strategies(), steps in steps()) {
        let mut world = TestWorld::new(strategy, HIGH_INTENSITY, Restart::Permanent);
        world.apply(ChildEvent::Start);
        let without_operator_stops = steps.into_iter().filter(|(what, _)| *what != 7);
        without_operator_stops.for_each(|step| world.step(step));
        world.run_to_quiescence();
        prop_assert_eq!(world.running, [true; CHILDREN]);
        prop_assert_eq!(world.up, [true; CHILDREN]);
        prop_assert_eq!(world.all_up_count, 1, "all-up reported once");
    }

    #[test]
    fn supervisor_gives_up_beyond_restart_intensity(
        strategy in strategies(), max_restarts in 0u32..5, steps in steps(),
    ) {
        let mut world = TestWorld::new(strategy, Intensity { max_restarts, ..HIGH_INTENSITY }, Restart::Permanent);
        world.apply(ChildEvent::Start);
        let failing = steps.into_iter().filter(|(what, _)| ![3, 4, 7, 8].contains(what));
        for step in failing {
            world.step(step);
            prop_assert!(world.failures <= max_restarts || !world.state.is_open());
        }
    }

    #[test]
    fn children_stop_one_at_a_time_in_reverse_order(strategy in strategies()) {
        let mut world = TestWorld::new(strategy, HIGH_INTENSITY, Restart::Permanent);
        world.apply(ChildEvent::Start);
        world.run_to_quiescence();
        world.apply(ChildEvent::Stop);
        for i in (0..CHILDREN).rev() {
            let stop_requested: Vec<_> = (0..CHILDREN).filter(|&i| world.running[i] && world.stop_requested[i]).collect();
            prop_assert_eq!(stop_requested, vec![i]);
            world.end_child(i, ExitReason::Shutdown);
        }
        prop_assert_eq!(world.all_down, Some(ExitReason::Shutdown));
    }
}
