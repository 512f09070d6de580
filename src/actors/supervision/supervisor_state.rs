//! A supervisor with ordered children as a value: events in, deeds out; no clock, no task.

use std::time::Duration;

use tokio::time::Instant;

use super::cell::ActorState;
use super::exit::ExitReason;
use super::policy::{
    Intensity, Restart, RestartDecision, RestartHistory, RestartPolicy, RestartWindow, Strategy,
};

/// What happens to a family. Children are known by their place in the start order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ChildEvent {
    Start,
    Up(usize),
    Down(usize, ExitReason),
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
pub(super) enum SupervisorAction {
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
    Over(ExitReason),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum StartupPhase {
    Idle,
    Opening,
    Open,
}

#[derive(Debug)]
struct ChildEntry {
    policy: RestartPolicy,
    record: RestartHistory,
    state: ActorState,
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
pub(super) struct SupervisorState {
    strategy: Strategy,
    intensity: Intensity,
    /// Ends when one of its children has ended.
    ends_with_child: bool,
    kids: Vec<ChildEntry>,
    window: RestartWindow,
    phase: StartupPhase,
    closing: Option<ExitReason>,
    /// The back-off before the children of a group restart come up.
    pause: Duration,
    deeds: Vec<SupervisorAction>,
}

impl SupervisorState {
    pub(super) fn new(
        strategy: Strategy,
        intensity: Intensity,
        policies: Vec<RestartPolicy>,
    ) -> Self {
        let kid = |policy| ChildEntry {
            policy,
            record: RestartHistory::default(),
            state: ActorState::Down,
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
            window: RestartWindow::default(),
            phase: StartupPhase::Idle,
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

    pub(super) fn state(&self, i: usize) -> ActorState {
        self.kids[i].state
    }

    /// Whether it takes commands.
    pub(super) fn is_open(&self) -> bool {
        self.phase != StartupPhase::Idle && self.closing.is_none()
    }

    /// What to do after `event` at `now`; `chance` (0 to 1) is the jitter of a wait.
    pub(super) fn handle(
        &mut self,
        event: ChildEvent,
        now: Instant,
        chance: f64,
    ) -> Vec<SupervisorAction> {
        match event {
            ChildEvent::Start => self.open(),
            ChildEvent::Up(i) => self.up(i, now),
            ChildEvent::Down(i, exit) => self.down(i, &exit, now, chance),
            ChildEvent::Due(i, at) if self.kids[i].until == Some(at) => self.due(i, now),
            ChildEvent::Due(..) => {}
            ChildEvent::Stop => self.close(ExitReason::Shutdown),
            ChildEvent::Kill => {
                self.close(ExitReason::Killed);
                (0..self.kids.len()).for_each(|i| self.kill(i, now));
            }
            ChildEvent::Hold(i) => self.hold(i, now),
            ChildEvent::Renew(i) => self.renew(i, now),
        }
        self.advance(now);
        std::mem::take(&mut self.deeds)
    }

    fn open(&mut self) {
        (self.phase, self.closing, self.pause) = (StartupPhase::Opening, None, Duration::ZERO);
        self.window = RestartWindow::default();
        for kid in &mut self.kids {
            kid.record = RestartHistory::default();
            kid.queued = !kid.held;
        }
    }

    fn up(&mut self, i: usize, now: Instant) {
        let kid = &mut self.kids[i];
        if kid.state == ActorState::Starting {
            kid.state = ActorState::Running;
            kid.queued &= kid.doomed; // who goes down with a sibling has its turn again
            kid.record.up(now);
        }
    }

    fn down(&mut self, i: usize, exit: &ExitReason, now: Instant, chance: f64) {
        let kid = &mut self.kids[i];
        if !kid.state.is_alive() {
            return;
        }
        (kid.state, kid.until, kid.killed) = (ActorState::Down, None, false);
        if kid.held {
            (kid.state, kid.queued, kid.renew) = (ActorState::Stopped, false, false);
            return self.deeds.push(SupervisorAction::Close(i));
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
            RestartDecision::End => {
                self.retire(i);
                if self.ends_with_child {
                    self.close(exit.clone());
                }
            }
            RestartDecision::Again(wait)
                if *exit == ExitReason::Lost || self.window.admits(self.intensity, now) =>
            {
                self.again(i, wait, now);
            }
            RestartDecision::Again(_) | RestartDecision::TooMany => {
                self.close(ExitReason::Escalated(format!(
                    "child {i} failed too often, at last: {exit}"
                )));
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
            if kid.state == ActorState::Waiting {
                (kid.state, kid.until) = (ActorState::Down, None);
            }
        }
    }

    fn retire(&mut self, i: usize) {
        (self.kids[i].state, self.kids[i].queued) = (ActorState::Ended, false);
        self.deeds.push(SupervisorAction::Close(i));
    }

    fn due(&mut self, i: usize, now: Instant) {
        match (self.kids[i].state, self.kids[i].killed) {
            (ActorState::Waiting, _) => self.start(i),
            (ActorState::Stopping, false) => self.kill(i, now),
            (ActorState::Stopping, true) => {
                self.deeds.push(SupervisorAction::Abandon(i));
                self.down(i, &ExitReason::Killed, now, 0.0);
            }
            _ => {}
        }
    }

    fn close(&mut self, why: ExitReason) {
        self.closing.get_or_insert(why);
        for kid in &mut self.kids {
            kid.queued = false;
            if kid.state == ActorState::Waiting {
                (kid.state, kid.until) = (ActorState::Down, None);
            }
        }
    }

    fn hold(&mut self, i: usize, now: Instant) {
        let kid = &mut self.kids[i];
        (kid.held, kid.queued, kid.renew) = (true, false, false);
        match kid.state {
            ActorState::Starting | ActorState::Running => self.stop(i, now),
            ActorState::Stopping => {}
            _ => {
                (kid.state, kid.until) = (ActorState::Stopped, None);
                self.deeds.push(SupervisorAction::Close(i));
            }
        }
    }

    fn renew(&mut self, i: usize, now: Instant) {
        let kid = &mut self.kids[i];
        (kid.held, kid.record) = (false, RestartHistory::default());
        match kid.state {
            ActorState::Starting | ActorState::Running => {
                kid.renew = true;
                self.stop(i, now);
            }
            ActorState::Stopping => kid.renew = true,
            _ => self.start(i),
        }
    }

    fn start(&mut self, i: usize) {
        (self.kids[i].state, self.kids[i].until) = (ActorState::Starting, None);
        self.deeds.push(SupervisorAction::Start(i));
    }

    fn start_after(&mut self, i: usize, wait: Duration, now: Instant) {
        if wait.is_zero() {
            return self.start(i);
        }
        self.kids[i].state = ActorState::Waiting;
        self.wake(i, now + wait);
    }

    fn stop(&mut self, i: usize, now: Instant) {
        self.kids[i].state = ActorState::Stopping;
        self.deeds.push(SupervisorAction::Stop(i));
        self.wake(i, now + self.kids[i].policy.shutdown);
    }

    fn kill(&mut self, i: usize, now: Instant) {
        if self.kids[i].state.is_alive() {
            (self.kids[i].state, self.kids[i].killed) = (ActorState::Stopping, true);
            self.deeds.push(SupervisorAction::Kill(i));
            self.wake(i, now + self.kids[i].policy.grace);
        }
    }

    fn wake(&mut self, i: usize, at: Instant) {
        self.kids[i].until = Some(at);
        self.deeds.push(SupervisorAction::Wake(i, at));
    }

    /// One step further: down in reverse order, one after the other; then up in order, each after
    /// the one before it.
    fn advance(&mut self, now: Instant) {
        if self.phase == StartupPhase::Idle {
            return;
        }
        let closing = self.closing.is_some();
        let leaves = |kid: &ChildEntry| (closing || kid.doomed) && kid.state.is_alive();
        if let Some(i) = self.kids.iter().rposition(leaves) {
            if self.kids[i].state != ActorState::Stopping {
                self.stop(i, now);
            }
            return;
        }
        self.kids.iter_mut().for_each(|kid| kid.doomed = false);
        if let Some(why) = self.closing.take() {
            self.phase = StartupPhase::Idle;
            return self.deeds.push(SupervisorAction::Over(why));
        }
        self.kids
            .iter_mut()
            .filter(|kid| kid.state == ActorState::Running)
            .for_each(|kid| kid.queued = false);
        match self.kids.iter().position(|kid| kid.queued) {
            Some(i)
                if self.kids[i].state == ActorState::Waiting || self.kids[i].state.is_alive() => {}
            Some(i) => {
                let wait = std::mem::take(&mut self.pause);
                self.start_after(i, wait, now);
            }
            None if self.phase == StartupPhase::Opening => {
                self.phase = StartupPhase::Open;
                self.deeds.push(SupervisorAction::Opened);
            }
            None => {}
        }
    }
}
