//! What holds for a family whatever happens to it: played against children that obey no plan.

use std::time::Duration;

use base::backoff::Backoff;
use proptest::prelude::*;
use tokio::time::Instant;

use super::exit::ExitReason;
use super::policy::{Intensity, Restart, RestartPolicy, Strategy as Plan};
use super::supervisor_state::{ChildEvent, SupervisorAction, SupervisorState};

const KIDS: usize = 4;

/// The world of a family: children that live, stop or refuse as the dice fall.
struct World {
    family: SupervisorState,
    now: Instant,
    alive: [bool; KIDS],
    up: [bool; KIDS],
    asked: [bool; KIDS],
    killed: [bool; KIDS],
    wakes: Vec<(Instant, usize)>,
    opened: u32,
    over: Option<ExitReason>,
    failures: u32,
}

impl World {
    fn new(strategy: Plan, intensity: Intensity, restart: Restart) -> Self {
        let backoff = Backoff { initial: Duration::from_millis(3), max: Duration::from_millis(50) };
        let own = Intensity { most: 1000, ..intensity };
        let policy = RestartPolicy { restart, backoff, intensity: own, ..RestartPolicy::CHILD };
        Self {
            family: SupervisorState::new(strategy, intensity, vec![policy; KIDS]),
            now: Instant::now(),
            alive: [false; KIDS],
            up: [false; KIDS],
            asked: [false; KIDS],
            killed: [false; KIDS],
            wakes: vec![],
            opened: 0,
            over: None,
            failures: 0,
        }
    }

    fn tell(&mut self, event: ChildEvent) {
        for deed in self.family.handle(event, self.now, 0.5) {
            match deed {
                SupervisorAction::Start(i) => {
                    assert!(!self.alive[i], "{i} was started while it lives");
                    assert_eq!(self.over, None, "{i} was started after the end");
                    (self.alive[i], self.up[i], self.asked[i], self.killed[i]) =
                        (true, false, false, false);
                }
                SupervisorAction::Stop(i) => {
                    assert!(self.alive[i] && !self.asked[i], "{i} was asked to stop for nothing");
                    self.asked[i] = true;
                }
                SupervisorAction::Kill(i) => {
                    assert!(self.alive[i], "{i} was killed when dead");
                    self.killed[i] = true;
                }
                SupervisorAction::Abandon(i) => {
                    assert!(self.alive[i] && self.killed[i], "{i} was abandoned without a kill");
                    self.alive[i] = false;
                }
                SupervisorAction::Close(i) => {
                    assert!(!self.alive[i], "the mailbox of {i} was closed while it lives")
                }
                SupervisorAction::Wake(i, at) => self.wakes.push((at, i)),
                SupervisorAction::Opened => {
                    self.opened += 1;
                }
                SupervisorAction::Over(exit) => {
                    assert_eq!(self.alive, [false; KIDS], "over while children live");
                    assert_eq!(self.over.replace(exit), None, "over twice");
                }
            }
        }
    }

    fn die(&mut self, i: usize, exit: ExitReason) {
        if self.alive[i] {
            self.alive[i] = false;
            // Who fails while the family goes down for a sibling is not judged a second time.
            let leaving = (0..KIDS).any(|j| (self.alive[j] || j == i) && self.asked[j]);
            self.failures += u32::from(exit.is_failure() && !leaving);
            self.tell(ChildEvent::Down(i, exit));
        }
    }

    /// The next moment anybody asked for.
    fn pass_time(&mut self) {
        let Some(at) = (0..self.wakes.len()).min_by_key(|&n| self.wakes[n].0) else { return };
        let (moment, i) = self.wakes.remove(at);
        self.now = self.now.max(moment);
        self.tell(ChildEvent::Due(i, moment));
    }

    fn play(&mut self, (what, i): (u8, usize)) {
        match what {
            0 | 1 if self.alive[i] && !self.up[i] => {
                self.up[i] = true;
                self.tell(ChildEvent::Up(i));
            }
            2 => self.die(i, ExitReason::Panic("boom".into())),
            3 => self.die(i, ExitReason::Normal),
            4 => self.die(i, ExitReason::Lost),
            5 | 6 if self.asked[i] || self.killed[i] => self.die(i, ExitReason::Shutdown),
            7 if self.family.is_open() => self.tell(ChildEvent::Hold(i)),
            8 if self.family.is_open() => self.tell(ChildEvent::Renew(i)),
            9 | 10 => self.pass_time(),
            _ => {}
        }
    }

    /// Everything that is asked of children happens, until nothing is asked any more.
    fn settle(&mut self) {
        for _ in 0..300 {
            for i in 0..KIDS {
                self.play((0, i));
                self.play((5, i));
            }
            self.pass_time();
        }
    }
}

fn strategies() -> impl Strategy<Value = Plan> {
    prop_oneof![Just(Plan::OneForOne), Just(Plan::OneForAll), Just(Plan::RestForOne)]
}

fn restarts() -> impl Strategy<Value = Restart> {
    prop_oneof![Just(Restart::Permanent), Just(Restart::Transient), Just(Restart::Temporary)]
}

fn turns() -> impl Strategy<Value = Vec<(u8, usize)>> {
    proptest::collection::vec((0u8..11, 0..KIDS), 0..150)
}

const PATIENT: Intensity = Intensity { most: 1000, window: Duration::from_secs(60) };

proptest! {
    #[test]
    fn supervisor_always_terminates_on_stop_or_kill(
        strategy in strategies(), restart in restarts(), turns in turns(), kill in any::<bool>(),
    ) {
        let mut world = World::new(strategy, PATIENT, restart);
        world.tell(ChildEvent::Start);
        turns.into_iter().for_each(|turn| world.play(turn));
        if world.over.is_none() {
            world.tell(if kill { ChildEvent::Kill } else { ChildEvent::Stop });
            // Children that refuse everything: time alone brings them down.
            for _ in 0..1000 {
                world.pass_time();
            }
        }
        prop_assert!(world.over.is_some());
    }

    #[test]
    fn supervisor_without_faults_starts_all_children(strategy in strategies(), turns in turns()) {
        let mut world = World::new(strategy, PATIENT, Restart::Permanent);
        world.tell(ChildEvent::Start);
        let calm = turns.into_iter().filter(|(what, _)| *what != 7);
        calm.for_each(|turn| world.play(turn));
        world.settle();
        prop_assert_eq!(world.alive, [true; KIDS]);
        prop_assert_eq!(world.up, [true; KIDS]);
        prop_assert_eq!(world.opened, 1, "told above once");
    }

    #[test]
    fn supervisor_gives_up_beyond_restart_intensity(
        strategy in strategies(), most in 0u32..5, turns in turns(),
    ) {
        let mut world = World::new(strategy, Intensity { most, ..PATIENT }, Restart::Permanent);
        world.tell(ChildEvent::Start);
        let failing = turns.into_iter().filter(|(what, _)| ![3, 4, 7, 8].contains(what));
        for turn in failing {
            world.play(turn);
            prop_assert!(world.failures <= most || !world.family.is_open());
        }
    }

    #[test]
    fn children_stop_one_at_a_time_in_reverse_order(strategy in strategies()) {
        let mut world = World::new(strategy, PATIENT, Restart::Permanent);
        world.tell(ChildEvent::Start);
        world.settle();
        world.tell(ChildEvent::Stop);
        for i in (0..KIDS).rev() {
            let asked: Vec<_> = (0..KIDS).filter(|&i| world.alive[i] && world.asked[i]).collect();
            prop_assert_eq!(asked, vec![i]);
            world.die(i, ExitReason::Shutdown);
        }
        prop_assert_eq!(world.over, Some(ExitReason::Shutdown));
    }
}
