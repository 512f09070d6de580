//! A supervisor with ordered children as a value: events in, deeds out; no clock, no task.

use std::time::Duration;

use tokio::time::Instant;

use super::cell::State;
use super::exit::Exit;
use super::policy::{Intensity, Policy, Record, Restart, Strategy, Verdict, Window};

/// What happens to a family. Children are known by their place in the start order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Start,
    Up(usize),
    Down(usize, Exit),
    /// A moment that was asked for has come.
    Due(usize, Instant),
    Stop,
    Kill,
    /// An operator wants the child down until further notice.
    Hold(usize),
    /// An operator wants the child started afresh.
    Renew(usize),
}

/// What has to be done about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Deed {
    Start(usize),
    Stop(usize),
    Kill(usize),
    /// It does not even react to being killed.
    Abandon(usize),
    /// Nobody will read its mailbox.
    Close(usize),
    /// Come back with `Due` then.
    Wake(usize, Instant),
    /// All children are up.
    Opened,
    /// All children are down.
    Over(Exit),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Idle,
    Opening,
    Open,
}

#[derive(Debug)]
struct Kid {
    policy: Policy,
    record: Record,
    state: State,
    until: Option<Instant>,
    killed: bool,
    /// Comes down with a sibling that failed.
    doomed: bool,
    /// Waits for its turn in the start order.
    queued: bool,
    held: bool,
    renew: bool,
}

#[derive(Debug)]
pub(super) struct Family {
    strategy: Strategy,
    intensity: Intensity,
    /// Ends when one of its children has ended.
    ends_with_child: bool,
    kids: Vec<Kid>,
    window: Window,
    phase: Phase,
    closing: Option<Exit>,
    /// The back-off before the children of a group restart come up.
    pause: Duration,
    deeds: Vec<Deed>,
}

impl Family {
    pub(super) fn new(strategy: Strategy, intensity: Intensity, policies: Vec<Policy>) -> Self {
        let kid = |policy| Kid {
            policy,
            record: Record::default(),
            state: State::Down,
            until: None,
            killed: false,
            doomed: false,
            queued: false,
            held: false,
            renew: false,
        };
        Self {
            strategy,
            intensity,
            ends_with_child: false,
            kids: policies.into_iter().map(kid).collect(),
            window: Window::default(),
            phase: Phase::Idle,
            closing: None,
            pause: Duration::ZERO,
            deeds: vec![],
        }
    }

    /// It ends when one of its children has ended.
    pub(super) fn ending_with_child(mut self) -> Self {
        self.ends_with_child = true;
        self
    }

    /// Forgets everything but who belongs to it.
    pub(super) fn reset(&mut self) {
        let policies = self.kids.iter().map(|kid| kid.policy).collect();
        let ends_with_child = self.ends_with_child;
        *self = Self { ends_with_child, ..Self::new(self.strategy, self.intensity, policies) };
    }

    pub(super) fn state(&self, i: usize) -> State {
        self.kids[i].state
    }

    /// Whether it takes commands.
    pub(super) fn is_open(&self) -> bool {
        self.phase != Phase::Idle && self.closing.is_none()
    }

    /// What to do after `event` at `now`; `chance` (0 to 1) is the jitter of a wait.
    pub(super) fn handle(&mut self, event: Event, now: Instant, chance: f64) -> Vec<Deed> {
        match event {
            Event::Start => self.open(),
            Event::Up(i) => self.up(i, now),
            Event::Down(i, exit) => self.down(i, &exit, now, chance),
            Event::Due(i, at) if self.kids[i].until == Some(at) => self.due(i, now),
            Event::Due(..) => {}
            Event::Stop => self.close(Exit::Shutdown),
            Event::Kill => {
                self.close(Exit::Killed);
                (0..self.kids.len()).for_each(|i| self.kill(i, now));
            }
            Event::Hold(i) => self.hold(i, now),
            Event::Renew(i) => self.renew(i, now),
        }
        self.advance(now);
        std::mem::take(&mut self.deeds)
    }

    fn open(&mut self) {
        (self.phase, self.closing, self.pause) = (Phase::Opening, None, Duration::ZERO);
        self.window = Window::default();
        for kid in &mut self.kids {
            kid.record = Record::default();
            kid.queued = !kid.held;
        }
    }

    fn up(&mut self, i: usize, now: Instant) {
        let kid = &mut self.kids[i];
        if kid.state == State::Starting {
            kid.state = State::Running;
            kid.queued &= kid.doomed; // who goes down with a sibling has its turn again
            kid.record.up(now);
        }
    }

    fn down(&mut self, i: usize, exit: &Exit, now: Instant, chance: f64) {
        let kid = &mut self.kids[i];
        if !kid.state.is_alive() {
            return;
        }
        (kid.state, kid.until, kid.killed) = (State::Down, None, false);
        if kid.held {
            (kid.state, kid.queued, kid.renew) = (State::Stopped, false, false);
            return self.deeds.push(Deed::Close(i));
        }
        if self.closing.is_some() {
            return;
        }
        if kid.doomed {
            if kid.policy.restart == Restart::Temporary {
                self.retire(i);
            }
            return;
        }
        if std::mem::take(&mut kid.renew) {
            return self.start(i);
        }
        match kid.record.ended(&kid.policy, exit, now, chance) {
            Verdict::End => {
                self.retire(i);
                if self.ends_with_child {
                    self.close(exit.clone());
                }
            }
            Verdict::Again(wait)
                if *exit == Exit::Lost || self.window.admits(self.intensity, now) =>
            {
                self.again(i, wait, now);
            }
            Verdict::Again(_) | Verdict::TooMany => {
                self.close(Exit::Escalated(format!("child {i} failed too often, at last: {exit}")));
            }
        }
    }

    fn again(&mut self, i: usize, wait: Duration, now: Instant) {
        let first = match self.strategy {
            Strategy::OneForOne => return self.start_after(i, wait, now),
            Strategy::OneForAll => 0,
            Strategy::RestForOne => i,
        };
        self.pause = self.pause.max(wait);
        for (j, kid) in self.kids.iter_mut().enumerate().skip(first) {
            kid.doomed = kid.state.is_alive();
            let ended = kid.policy.restart == Restart::Temporary && j != i && !kid.doomed;
            kid.queued = !kid.held && !ended;
            if kid.state == State::Waiting {
                (kid.state, kid.until) = (State::Down, None);
            }
        }
    }

    fn retire(&mut self, i: usize) {
        (self.kids[i].state, self.kids[i].queued) = (State::Ended, false);
        self.deeds.push(Deed::Close(i));
    }

    fn due(&mut self, i: usize, now: Instant) {
        match (self.kids[i].state, self.kids[i].killed) {
            (State::Waiting, _) => self.start(i),
            (State::Stopping, false) => self.kill(i, now),
            (State::Stopping, true) => {
                self.deeds.push(Deed::Abandon(i));
                self.down(i, &Exit::Killed, now, 0.0);
            }
            _ => {}
        }
    }

    fn close(&mut self, why: Exit) {
        self.closing.get_or_insert(why);
        for kid in &mut self.kids {
            kid.queued = false;
            if kid.state == State::Waiting {
                (kid.state, kid.until) = (State::Down, None);
            }
        }
    }

    fn hold(&mut self, i: usize, now: Instant) {
        let kid = &mut self.kids[i];
        (kid.held, kid.queued, kid.renew) = (true, false, false);
        match kid.state {
            State::Starting | State::Running => self.stop(i, now),
            State::Stopping => {}
            _ => {
                (kid.state, kid.until) = (State::Stopped, None);
                self.deeds.push(Deed::Close(i));
            }
        }
    }

    fn renew(&mut self, i: usize, now: Instant) {
        let kid = &mut self.kids[i];
        (kid.held, kid.record) = (false, Record::default());
        match kid.state {
            State::Starting | State::Running => {
                kid.renew = true;
                self.stop(i, now);
            }
            State::Stopping => kid.renew = true,
            _ => self.start(i),
        }
    }

    fn start(&mut self, i: usize) {
        (self.kids[i].state, self.kids[i].until) = (State::Starting, None);
        self.deeds.push(Deed::Start(i));
    }

    fn start_after(&mut self, i: usize, wait: Duration, now: Instant) {
        if wait.is_zero() {
            return self.start(i);
        }
        self.kids[i].state = State::Waiting;
        self.wake(i, now + wait);
    }

    fn stop(&mut self, i: usize, now: Instant) {
        self.kids[i].state = State::Stopping;
        self.deeds.push(Deed::Stop(i));
        self.wake(i, now + self.kids[i].policy.shutdown);
    }

    fn kill(&mut self, i: usize, now: Instant) {
        if self.kids[i].state.is_alive() {
            (self.kids[i].state, self.kids[i].killed) = (State::Stopping, true);
            self.deeds.push(Deed::Kill(i));
            self.wake(i, now + self.kids[i].policy.grace);
        }
    }

    fn wake(&mut self, i: usize, at: Instant) {
        self.kids[i].until = Some(at);
        self.deeds.push(Deed::Wake(i, at));
    }

    /// One step further: down in reverse order, one after the other; then up in order, each after
    /// the one before it.
    fn advance(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            return;
        }
        let closing = self.closing.is_some();
        let leaves = |kid: &Kid| (closing || kid.doomed) && kid.state.is_alive();
        if let Some(i) = self.kids.iter().rposition(leaves) {
            if self.kids[i].state != State::Stopping {
                self.stop(i, now);
            }
            return;
        }
        self.kids.iter_mut().for_each(|kid| kid.doomed = false);
        if let Some(why) = self.closing.take() {
            self.phase = Phase::Idle;
            return self.deeds.push(Deed::Over(why));
        }
        self.kids
            .iter_mut()
            .filter(|kid| kid.state == State::Running)
            .for_each(|kid| kid.queued = false);
        match self.kids.iter().position(|kid| kid.queued) {
            Some(i) if self.kids[i].state == State::Waiting || self.kids[i].state.is_alive() => {}
            Some(i) => {
                let wait = std::mem::take(&mut self.pause);
                self.start_after(i, wait, now);
            }
            None if self.phase == Phase::Opening => {
                self.phase = Phase::Open;
                self.deeds.push(Deed::Opened);
            }
            None => {}
        }
    }
}
