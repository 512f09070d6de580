//! One partition of a dynamic supervisor: each child has its own restart intensity and affects no
//! other.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::actor_stats::ActorState;
use super::command::{CommandError, OperatorCommand};
use super::exit::ExitReason;
use super::parent_link::{ChildHandle, ExitNotifier, ParentCommand, ParentLink, SupervisorEvent};
use super::policy::{RestartDecision, RestartHistory, RestartPolicy};
use super::supervisor_task::{SupervisorLogic, TimerQueue, TreeContext};

pub(super) struct PartitionSupervisor {
    context: TreeContext,
    children: HashMap<u64, PartitionChild>,
    last_id: u64,
    to_self: mpsc::UnboundedSender<SupervisorEvent>,
    parent: Option<ExitNotifier>,
    closing: bool,
}

struct PartitionChild {
    handle: Box<dyn ChildHandle>,
    policy: Arc<RestartPolicy>,
    history: RestartHistory,
    incarnation: u32,
    state: ActorState,
    timer_at: Option<Instant>,
    kill_sent: bool,
    /// What an operator wants once it is down.
    requested: Option<OperatorCommand>,
    starter: Option<oneshot::Sender<Result<(), ExitReason>>>,
    operators: Vec<oneshot::Sender<Result<(), CommandError>>>,
}

impl PartitionChild {
    fn set_state(&mut self, state: ActorState) {
        self.state = state;
        self.handle.stats().set_state(state);
    }

    fn resolve_operators(&mut self, result: &Result<(), CommandError>) {
        for operator in self.operators.drain(..) {
            let _ = operator.send(result.clone()); // the operator may have left
        }
    }

    fn set_timer(&mut self, id: u64, at: Instant, timers: &mut TimerQueue) {
        self.timer_at = Some(at);
        timers.schedule(at, id);
    }

    fn start(&mut self, id: u64, to_self: &mpsc::UnboundedSender<SupervisorEvent>) {
        let is_restart = self.incarnation > 0;
        if is_restart {
            self.handle.stats().restarts.fetch_add(1, Relaxed);
            metrics::counter!("securevox_actor_restarts_total").increment(1);
        }
        self.incarnation = self.incarnation.wrapping_add(1);
        (self.timer_at, self.kill_sent) = (None, false);
        self.set_state(ActorState::Starting);
        self.handle.start(
            ParentLink { parent: to_self.clone(), child_id: id },
            self.incarnation,
            is_restart,
        );
    }

    fn stop(&mut self, id: u64, now: Instant, timers: &mut TimerQueue) {
        if self.state != ActorState::Stopping {
            self.set_state(ActorState::Stopping);
            self.handle.stop();
            self.set_timer(id, now + self.policy.shutdown, timers);
        }
    }

    fn kill(&mut self, id: u64, now: Instant, timers: &mut TimerQueue) {
        self.kill_sent = true;
        self.set_state(ActorState::Stopping);
        self.handle.kill();
        self.set_timer(id, now + self.policy.grace, timers);
    }
}

impl PartitionSupervisor {
    pub(super) fn new(
        context: TreeContext,
        to_self: mpsc::UnboundedSender<SupervisorEvent>,
    ) -> Self {
        Self {
            context,
            children: HashMap::new(),
            last_id: 0,
            to_self,
            parent: None,
            closing: false,
        }
    }

    fn is_open(&self) -> bool {
        self.parent.is_some() && !self.closing
    }

    fn add_child(
        &mut self,
        handle: Box<dyn ChildHandle>,
        policy: Arc<RestartPolicy>,
        reply: oneshot::Sender<Result<(), ExitReason>>,
    ) {
        if !self.is_open() {
            drop(handle); // before the reply, so that the name is free again
            let _ = reply.send(Err(ExitReason::Shutdown));
            return;
        }
        self.last_id += 1;
        let id = self.last_id;
        self.context
            .index
            .insert(handle.stats(), ParentLink { parent: self.to_self.clone(), child_id: id });
        let mut child = PartitionChild {
            handle,
            policy,
            history: RestartHistory::default(),
            incarnation: 0,
            state: ActorState::Down,
            timer_at: None,
            kill_sent: false,
            requested: None,
            starter: Some(reply),
            operators: vec![],
        };
        child.start(id, &self.to_self);
        self.children.insert(id, child);
    }

    /// Removes the child: its path, its name and its mailbox.
    fn remove(&mut self, id: u64, exit: ExitReason, result: &Result<(), CommandError>) {
        let Some(mut child) = self.children.remove(&id) else { return };
        child.set_state(ActorState::Ended);
        self.context.index.remove(child.handle.stats());
        let (starter, operators) = (child.starter.take(), std::mem::take(&mut child.operators));
        drop(child); // before the replies, so that its name is free again
        if let Some(starter) = starter {
            let _ = starter.send(Err(exit)); // the caller may have left
        }
        for operator in operators {
            let _ = operator.send(result.clone());
        }
        self.report_if_closed();
    }

    fn report_if_closed(&mut self) {
        if self.closing && self.children.is_empty() {
            self.closing = false;
            if let Some(parent) = self.parent.take() {
                parent.down(ExitReason::Shutdown, "supervision");
            }
        }
    }

    fn on_child_exit(
        &mut self,
        id: u64,
        exit: ExitReason,
        at: &str,
        now: Instant,
        timers: &mut TimerQueue,
    ) {
        let Some(child) = self.children.get_mut(&id).filter(|child| child.state.is_alive()) else {
            return;
        };
        self.context.record(child.handle.stats(), &exit, at);
        (child.timer_at, child.kill_sent) = (None, false);
        child.set_state(ActorState::Down);
        if self.closing || child.requested == Some(OperatorCommand::Stop) {
            let closing = self.closing && child.requested == Some(OperatorCommand::Restart);
            return self.remove(
                id,
                exit,
                &if closing { Err(CommandError::Closing) } else { Ok(()) },
            );
        }
        if child.requested.take().is_some() {
            return child.start(id, &self.to_self);
        }
        match child.history.decide(&child.policy, &exit, now, self.context.random.fraction()) {
            RestartDecision::RestartAfter(wait) if wait.is_zero() => child.start(id, &self.to_self),
            RestartDecision::RestartAfter(wait) => {
                child.set_state(ActorState::Waiting);
                child.resolve_operators(&Err(CommandError::Failed(exit.to_string())));
                child.set_timer(id, now + wait, timers);
            }
            RestartDecision::StayDown | RestartDecision::IntensityExceeded => {
                let result = Err(CommandError::Failed(exit.to_string()));
                self.remove(id, exit, &result);
            }
        }
    }

    fn close(&mut self, kill: bool, now: Instant, timers: &mut TimerQueue) {
        self.closing = true;
        let idle: Vec<u64> = self
            .children
            .iter()
            .filter(|(_, child)| !child.state.is_alive())
            .map(|(&id, _)| id)
            .collect();
        for id in idle {
            self.remove(id, ExitReason::Shutdown, &Err(CommandError::Closing));
        }
        for (&id, child) in &mut self.children {
            if kill {
                child.kill(id, now, timers);
            } else {
                child.stop(id, now, timers);
            }
        }
        self.report_if_closed();
    }

    fn command(
        &mut self,
        id: u64,
        command: OperatorCommand,
        reply: oneshot::Sender<Result<(), CommandError>>,
        now: Instant,
        timers: &mut TimerQueue,
    ) {
        let is_open = self.is_open();
        let Some(child) = self.children.get_mut(&id).filter(|_| is_open) else {
            let _ = reply.send(Err(CommandError::Closing)); // the operator may have left
            return;
        };
        child.operators.push(reply);
        child.requested = Some(command);
        child.history = RestartHistory::default();
        match (child.state.is_alive(), command) {
            (true, _) => child.stop(id, now, timers),
            (false, OperatorCommand::Stop) => self.remove(id, ExitReason::Shutdown, &Ok(())),
            (false, OperatorCommand::Restart) => {
                child.requested = None;
                child.start(id, &self.to_self);
            }
        }
    }
}

impl SupervisorLogic for PartitionSupervisor {
    fn on_event(&mut self, event: SupervisorEvent, now: Instant, timers: &mut TimerQueue) -> bool {
        match event {
            SupervisorEvent::Up { child_id, incarnation } => {
                let child = self
                    .children
                    .get_mut(&child_id)
                    .filter(|child| child.incarnation == incarnation);
                if let Some(child) = child.filter(|child| child.state == ActorState::Starting) {
                    child.handle.stats().up_since.store(self.context.index.elapsed_ms(), Relaxed);
                    child.set_state(ActorState::Running);
                    child.history.up(now);
                    child.resolve_operators(&Ok(()));
                    if let Some(starter) = child.starter.take() {
                        let _ = starter.send(Ok(())); // the caller may have left
                    }
                }
            }
            SupervisorEvent::Down { child_id: id, incarnation, exit, at } => {
                if self.children.get(&id).is_some_and(|child| child.incarnation == incarnation) {
                    self.on_child_exit(id, exit, &at, now, timers);
                }
            }
            SupervisorEvent::Lost { child_id: id, thread_id, exit, at } => {
                let child = self.children.get(&id);
                if let Some(child) =
                    child.filter(|child| child.handle.stats().thread_id.load(Relaxed) == thread_id)
                {
                    child.handle.abandon(child.incarnation);
                    self.on_child_exit(id, exit, at, now, timers);
                }
            }
            SupervisorEvent::Start { link, incarnation } => {
                let parent = ExitNotifier::new(link, incarnation);
                parent.up();
                self.parent = Some(parent);
                self.closing = false;
            }
            SupervisorEvent::FromParent(ParentCommand::Stop) => self.close(false, now, timers),
            SupervisorEvent::FromParent(ParentCommand::Kill) => self.close(true, now, timers),
            SupervisorEvent::FromParent(ParentCommand::Close) => {}
            SupervisorEvent::FromParent(ParentCommand::End) => return false,
            SupervisorEvent::Command { child_id, command, reply } => {
                self.command(child_id, command, reply, now, timers);
            }
            SupervisorEvent::AddChild { handle, policy, reply } => {
                self.add_child(handle, policy, reply)
            }
        }
        true
    }

    fn on_timer(&mut self, id: u64, at: Instant, timers: &mut TimerQueue) {
        let now = Instant::now();
        let Some(child) = self.children.get_mut(&id).filter(|child| child.timer_at == Some(at))
        else {
            return;
        };
        match (child.state, child.kill_sent) {
            (ActorState::Waiting, _) => child.start(id, &self.to_self),
            (ActorState::Stopping, false) => child.kill(id, now, timers),
            (ActorState::Stopping, true) => {
                child.handle.abandon(child.incarnation);
                self.on_child_exit(id, ExitReason::Killed, "blocked its thread", now, timers);
            }
            _ => {}
        }
    }

    fn on_panic(&mut self, text: String) {
        tracing::error!(panic = text, "supervisor panicked");
        for (_, child) in self.children.drain() {
            self.context.index.remove(child.handle.stats());
            child.handle.kill();
        }
        self.closing = false;
        if let Some(parent) = self.parent.take() {
            parent.down(ExitReason::Panic(text), "supervision");
        }
    }
}

impl Drop for PartitionSupervisor {
    fn drop(&mut self) {
        for child in self.children.values() {
            child.handle.kill();
            self.context.index.remove(child.handle.stats());
        }
    }
}
