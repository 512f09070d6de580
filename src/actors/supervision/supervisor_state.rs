//! The state machine of a supervisor with ordered children: events in, actions out; no clock, no
//! task.

use std::time::Duration;

use tokio::time::Instant;

use super::actor_stats::ActorState;
use super::exit::ExitReason;
use super::policy::{
    Intensity, Restart, RestartDecision, RestartHistory, RestartPolicy, RestartWindow, Strategy,
};

/// An event for the state machine. Children are identified by their index in the start order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ChildEvent {
    Start,
    Up(usize),
    Down(usize, ExitReason),
    /// A timer requested with `SetTimer` has fired.
    TimerFired(usize, Instant),
    Stop,
    Kill,
    /// An operator wants the child to stay down until further notice.
    Hold(usize),
    /// An operator wants the child restarted.
    Restart(usize),
}

/// What the supervisor has to do after an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum SupervisorAction {
    Start(usize),
    Stop(usize),
    Kill(usize),
    /// Stop waiting for the child: it does not even react to a kill.
    Abandon(usize),
    /// Close the mailbox, as nothing will read it.
    CloseMailbox(usize),
    /// Deliver `TimerFired` at this time.
    SetTimer(usize, Instant),
    /// All children are up.
    AllUp,
    /// All children are down.
    AllDown(ExitReason),
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
    history: RestartHistory,
    state: ActorState,
    timer_at: Option<Instant>,
    kill_sent: bool,
    /// It stops because a sibling failed.
    in_group_restart: bool,
    /// It waits for its turn in the start order.
    start_pending: bool,
    is_held: bool,
    restart_pending: bool,
}

#[derive(Debug)]
pub(super) struct SupervisorState {
    strategy: Strategy,
    intensity: Intensity,
    /// Whether the supervisor ends when one of its children has ended.
    ends_with_child: bool,
    children: Vec<ChildEntry>,
    window: RestartWindow,
    phase: StartupPhase,
    closing: Option<ExitReason>,
    /// The back-off before the children of a group restart are started.
    group_backoff: Duration,
    actions: Vec<SupervisorAction>,
}

impl SupervisorState {
    pub(super) fn new(
        strategy: Strategy,
        intensity: Intensity,
        policies: Vec<RestartPolicy>,
    ) -> Self {
        let child = |policy| ChildEntry {
            policy,
            history: RestartHistory::default(),
            state: ActorState::Down,
            timer_at: None,
            kill_sent: false,
            in_group_restart: false,
            start_pending: false,
            is_held: false,
            restart_pending: false,
        };
        Self {
            strategy,
            intensity,
            ends_with_child: false,
            children: policies.into_iter().map(child).collect(),
            window: RestartWindow::default(),
            phase: StartupPhase::Idle,
            closing: None,
            group_backoff: Duration::ZERO,
            actions: vec![],
        }
    }

    /// Makes the supervisor end when one of its children has ended.
    pub(super) fn ending_with_child(mut self) -> Self {
        self.ends_with_child = true;
        self
    }

    /// Resets everything except the list of children.
    pub(super) fn reset(&mut self) {
        let policies = self.children.iter().map(|child| child.policy).collect();
        let ends_with_child = self.ends_with_child;
        *self = Self { ends_with_child, ..Self::new(self.strategy, self.intensity, policies) };
    }

    pub(super) fn child_state(&self, i: usize) -> ActorState {
        self.children[i].state
    }

    /// Whether it accepts operator commands.
    pub(super) fn is_open(&self) -> bool {
        self.phase != StartupPhase::Idle && self.closing.is_none()
    }

    /// The actions after `event` at `now`; `jitter` (0 to 1) is the jitter of a wait.
    pub(super) fn apply(
        &mut self,
        event: ChildEvent,
        now: Instant,
        jitter: f64,
    ) -> Vec<SupervisorAction> {
        match event {
            ChildEvent::Start => self.begin_startup(),
            ChildEvent::Up(i) => self.up(i, now),
            ChildEvent::Down(i, exit) => self.down(i, &exit, now, jitter),
            ChildEvent::TimerFired(i, at) if self.children[i].timer_at == Some(at) => {
                self.on_timer(i, now)
            }
            ChildEvent::TimerFired(..) => {}
            ChildEvent::Stop => self.begin_closing(ExitReason::Shutdown),
            ChildEvent::Kill => {
                self.begin_closing(ExitReason::Killed);
                (0..self.children.len()).for_each(|i| self.kill(i, now));
            }
            ChildEvent::Hold(i) => self.hold(i, now),
            ChildEvent::Restart(i) => self.restart_child(i, now),
        }
        self.advance(now);
        std::mem::take(&mut self.actions)
    }

    fn begin_startup(&mut self) {
        (self.phase, self.closing, self.group_backoff) =
            (StartupPhase::Opening, None, Duration::ZERO);
        self.window = RestartWindow::default();
        for child in &mut self.children {
            child.history = RestartHistory::default();
            child.start_pending = !child.is_held;
        }
    }

    fn up(&mut self, i: usize, now: Instant) {
        let child = &mut self.children[i];
        if child.state == ActorState::Starting {
            child.state = ActorState::Running;
            // a child that stops with a sibling is started again in its turn
            child.start_pending &= child.in_group_restart;
            child.history.up(now);
        }
    }

    fn down(&mut self, i: usize, exit: &ExitReason, now: Instant, jitter: f64) {
        let child = &mut self.children[i];
        if !child.state.is_alive() {
            return;
        }
        (child.state, child.timer_at, child.kill_sent) = (ActorState::Down, None, false);
        if child.is_held {
            (child.state, child.start_pending, child.restart_pending) =
                (ActorState::Stopped, false, false);
            return self.actions.push(SupervisorAction::CloseMailbox(i));
        }
        if self.closing.is_some() {
            return;
        }
        if child.in_group_restart {
            if child.policy.restart == Restart::Temporary {
                self.retire(i);
            }
            return;
        }
        if std::mem::take(&mut child.restart_pending) {
            return self.start(i);
        }
        match child.history.decide(&child.policy, exit, now, jitter) {
            RestartDecision::StayDown => {
                self.retire(i);
                if self.ends_with_child {
                    self.begin_closing(exit.clone());
                }
            }
            RestartDecision::RestartAfter(wait)
                if *exit == ExitReason::Lost || self.window.admit(self.intensity, now) =>
            {
                self.schedule_restart(i, wait, now);
            }
            RestartDecision::RestartAfter(_) | RestartDecision::IntensityExceeded => {
                self.begin_closing(ExitReason::Escalated(format!(
                    "child {i} exceeded the restart intensity, last exit: {exit}"
                )));
            }
        }
    }

    fn schedule_restart(&mut self, i: usize, wait: Duration, now: Instant) {
        let first_affected = match self.strategy {
            Strategy::OneForOne => return self.start_after(i, wait, now),
            Strategy::OneForAll => 0,
            Strategy::RestForOne => i,
        };
        self.group_backoff = self.group_backoff.max(wait);
        for (j, child) in self.children.iter_mut().enumerate().skip(first_affected) {
            child.in_group_restart = child.state.is_alive();
            let ended =
                child.policy.restart == Restart::Temporary && j != i && !child.in_group_restart;
            child.start_pending = !child.is_held && !ended;
            if child.state == ActorState::Waiting {
                (child.state, child.timer_at) = (ActorState::Down, None);
            }
        }
    }

    fn retire(&mut self, i: usize) {
        (self.children[i].state, self.children[i].start_pending) = (ActorState::Ended, false);
        self.actions.push(SupervisorAction::CloseMailbox(i));
    }

    fn on_timer(&mut self, i: usize, now: Instant) {
        match (self.children[i].state, self.children[i].kill_sent) {
            (ActorState::Waiting, _) => self.start(i),
            (ActorState::Stopping, false) => self.kill(i, now),
            (ActorState::Stopping, true) => {
                self.actions.push(SupervisorAction::Abandon(i));
                self.down(i, &ExitReason::Killed, now, 0.0);
            }
            _ => {}
        }
    }

    fn begin_closing(&mut self, why: ExitReason) {
        self.closing.get_or_insert(why);
        for child in &mut self.children {
            child.start_pending = false;
            if child.state == ActorState::Waiting {
                (child.state, child.timer_at) = (ActorState::Down, None);
            }
        }
    }

    fn hold(&mut self, i: usize, now: Instant) {
        let child = &mut self.children[i];
        (child.is_held, child.start_pending, child.restart_pending) = (true, false, false);
        match child.state {
            ActorState::Starting | ActorState::Running => self.stop(i, now),
            ActorState::Stopping => {}
            _ => {
                (child.state, child.timer_at) = (ActorState::Stopped, None);
                self.actions.push(SupervisorAction::CloseMailbox(i));
            }
        }
    }

    fn restart_child(&mut self, i: usize, now: Instant) {
        let child = &mut self.children[i];
        (child.is_held, child.history) = (false, RestartHistory::default());
        match child.state {
            ActorState::Starting | ActorState::Running => {
                child.restart_pending = true;
                self.stop(i, now);
            }
            ActorState::Stopping => child.restart_pending = true,
            _ => self.start(i),
        }
    }

    fn start(&mut self, i: usize) {
        (self.children[i].state, self.children[i].timer_at) = (ActorState::Starting, None);
        self.actions.push(SupervisorAction::Start(i));
    }

    fn start_after(&mut self, i: usize, wait: Duration, now: Instant) {
        if wait.is_zero() {
            return self.start(i);
        }
        self.children[i].state = ActorState::Waiting;
        self.set_timer(i, now + wait);
    }

    fn stop(&mut self, i: usize, now: Instant) {
        self.children[i].state = ActorState::Stopping;
        self.actions.push(SupervisorAction::Stop(i));
        self.set_timer(i, now + self.children[i].policy.shutdown);
    }

    fn kill(&mut self, i: usize, now: Instant) {
        if self.children[i].state.is_alive() {
            (self.children[i].state, self.children[i].kill_sent) = (ActorState::Stopping, true);
            self.actions.push(SupervisorAction::Kill(i));
            self.set_timer(i, now + self.children[i].policy.grace);
        }
    }

    fn set_timer(&mut self, i: usize, at: Instant) {
        self.children[i].timer_at = Some(at);
        self.actions.push(SupervisorAction::SetTimer(i, at));
    }

    /// Takes one step: stops children in reverse order, one after the other; then starts them in
    /// order, each after the one before it.
    fn advance(&mut self, now: Instant) {
        if self.phase == StartupPhase::Idle {
            return;
        }
        let closing = self.closing.is_some();
        let must_stop =
            |child: &ChildEntry| (closing || child.in_group_restart) && child.state.is_alive();
        if let Some(i) = self.children.iter().rposition(must_stop) {
            if self.children[i].state != ActorState::Stopping {
                self.stop(i, now);
            }
            return;
        }
        self.children.iter_mut().for_each(|child| child.in_group_restart = false);
        if let Some(why) = self.closing.take() {
            self.phase = StartupPhase::Idle;
            return self.actions.push(SupervisorAction::AllDown(why));
        }
        self.children
            .iter_mut()
            .filter(|child| child.state == ActorState::Running)
            .for_each(|child| child.start_pending = false);
        match self.children.iter().position(|child| child.start_pending) {
            Some(i)
                if self.children[i].state == ActorState::Waiting
                    || self.children[i].state.is_alive() => {}
            Some(i) => {
                let wait = std::mem::take(&mut self.group_backoff);
                self.start_after(i, wait, now);
            }
            None if self.phase == StartupPhase::Opening => {
                self.phase = StartupPhase::Open;
                self.actions.push(SupervisorAction::AllUp);
            }
            None => {}
        }
    }
}
