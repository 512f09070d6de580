//! A supervisor of children that come and go: each has its own window, none concerns another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::cell::ActorState;
use super::exit::ExitReason;
use super::parent_link::{
    ChildHandle, ExitNotifier, OperatorCommand, ParentCommand, ParentLink, SupervisorEvent,
};
use super::policy::{RestartDecision, RestartHistory, RestartPolicy};
use super::supervisor_task::{SupervisorLogic, TimerQueue, TreeContext};
use super::tree::CommandError;

pub(super) struct PartitionSupervisor {
    site: TreeContext,
    kids: HashMap<u64, PartitionChild>,
    next: u64,
    to_self: mpsc::UnboundedSender<SupervisorEvent>,
    above: Option<ExitNotifier>,
    closing: bool,
}

struct PartitionChild {
    seat: Box<dyn ChildHandle>,
    policy: Arc<RestartPolicy>,
    record: RestartHistory,
    turn: u32,
    state: ActorState,
    until: Option<Instant>,
    killed: bool,
    /// What an operator wants once it is down.
    wanted: Option<OperatorCommand>,
    starter: Option<oneshot::Sender<Result<(), ExitReason>>>,
    operators: Vec<oneshot::Sender<Result<(), CommandError>>>,
}

impl PartitionChild {
    fn set(&mut self, state: ActorState) {
        self.state = state;
        self.seat.cell().set_state(state);
    }

    fn answer(&mut self, result: &Result<(), CommandError>) {
        for operator in self.operators.drain(..) {
            let _ = operator.send(result.clone()); // the operator may have left
        }
    }

    fn wake(&mut self, id: u64, at: Instant, appointments: &mut TimerQueue) {
        self.until = Some(at);
        appointments.schedule(at, id);
    }

    fn start(&mut self, id: u64, to_self: &mpsc::UnboundedSender<SupervisorEvent>) {
        let again = self.turn > 0;
        if again {
            self.seat.cell().restarts.fetch_add(1, Relaxed);
            metrics::counter!("securevox_actor_restarts_total").increment(1);
        }
        self.turn = self.turn.wrapping_add(1);
        (self.until, self.killed) = (None, false);
        self.set(ActorState::Starting);
        self.seat.start(ParentLink { above: to_self.clone(), kid: id }, self.turn, again);
    }

    fn stop(&mut self, id: u64, now: Instant, appointments: &mut TimerQueue) {
        if self.state != ActorState::Stopping {
            self.set(ActorState::Stopping);
            self.seat.stop();
            self.wake(id, now + self.policy.shutdown, appointments);
        }
    }

    fn kill(&mut self, id: u64, now: Instant, appointments: &mut TimerQueue) {
        self.killed = true;
        self.set(ActorState::Stopping);
        self.seat.kill();
        self.wake(id, now + self.policy.grace, appointments);
    }
}

impl PartitionSupervisor {
    pub(super) fn new(site: TreeContext, to_self: mpsc::UnboundedSender<SupervisorEvent>) -> Self {
        Self { site, kids: HashMap::new(), next: 0, to_self, above: None, closing: false }
    }

    fn is_open(&self) -> bool {
        self.above.is_some() && !self.closing
    }

    fn adopt(
        &mut self,
        seat: Box<dyn ChildHandle>,
        policy: Arc<RestartPolicy>,
        reply: oneshot::Sender<Result<(), ExitReason>>,
    ) {
        if !self.is_open() {
            drop(seat); // before the answer: the name is free again
            let _ = reply.send(Err(ExitReason::Shutdown));
            return;
        }
        self.next += 1;
        let id = self.next;
        self.site.forest.insert(seat.cell(), ParentLink { above: self.to_self.clone(), kid: id });
        let mut kid = PartitionChild {
            seat,
            policy,
            record: RestartHistory::default(),
            turn: 0,
            state: ActorState::Down,
            until: None,
            killed: false,
            wanted: None,
            starter: Some(reply),
            operators: vec![],
        };
        kid.start(id, &self.to_self);
        self.kids.insert(id, kid);
    }

    /// The child is no more: its path, its name and its mailbox are given up.
    fn remove(&mut self, id: u64, exit: ExitReason, result: &Result<(), CommandError>) {
        let Some(mut kid) = self.kids.remove(&id) else { return };
        kid.set(ActorState::Ended);
        self.site.forest.remove(kid.seat.cell());
        let (starter, operators) = (kid.starter.take(), std::mem::take(&mut kid.operators));
        drop(kid); // before the answers: its name is free again
        if let Some(starter) = starter {
            let _ = starter.send(Err(exit)); // whoever started it may have left
        }
        for operator in operators {
            let _ = operator.send(result.clone());
        }
        self.finish();
    }

    fn finish(&mut self) {
        if self.closing && self.kids.is_empty() {
            self.closing = false;
            if let Some(above) = self.above.take() {
                above.down(ExitReason::Shutdown, "supervision");
            }
        }
    }

    fn ended(
        &mut self,
        id: u64,
        exit: ExitReason,
        at: &str,
        now: Instant,
        appointments: &mut TimerQueue,
    ) {
        let Some(kid) = self.kids.get_mut(&id).filter(|kid| kid.state.is_alive()) else { return };
        self.site.record(kid.seat.cell(), &exit, at);
        (kid.until, kid.killed) = (None, false);
        kid.set(ActorState::Down);
        if self.closing || kid.wanted == Some(OperatorCommand::Stop) {
            let closing = self.closing && kid.wanted == Some(OperatorCommand::Restart);
            return self.remove(
                id,
                exit,
                &if closing { Err(CommandError::Closing) } else { Ok(()) },
            );
        }
        if kid.wanted.take().is_some() {
            return kid.start(id, &self.to_self);
        }
        match kid.record.ended(&kid.policy, &exit, now, self.site.entropy.fraction()) {
            RestartDecision::Again(wait) if wait.is_zero() => kid.start(id, &self.to_self),
            RestartDecision::Again(wait) => {
                kid.set(ActorState::Waiting);
                kid.answer(&Err(CommandError::Failed(exit.to_string())));
                kid.wake(id, now + wait, appointments);
            }
            RestartDecision::End | RestartDecision::TooMany => {
                let result = Err(CommandError::Failed(exit.to_string()));
                self.remove(id, exit, &result);
            }
        }
    }

    fn close(&mut self, kill: bool, now: Instant, appointments: &mut TimerQueue) {
        self.closing = true;
        let idle: Vec<u64> =
            self.kids.iter().filter(|(_, kid)| !kid.state.is_alive()).map(|(&id, _)| id).collect();
        for id in idle {
            self.remove(id, ExitReason::Shutdown, &Err(CommandError::Closing));
        }
        for (&id, kid) in &mut self.kids {
            if kill {
                kid.kill(id, now, appointments);
            } else {
                kid.stop(id, now, appointments);
            }
        }
        self.finish();
    }

    fn command(
        &mut self,
        id: u64,
        command: OperatorCommand,
        reply: oneshot::Sender<Result<(), CommandError>>,
        now: Instant,
        appointments: &mut TimerQueue,
    ) {
        let is_open = self.is_open();
        let Some(kid) = self.kids.get_mut(&id).filter(|_| is_open) else {
            let _ = reply.send(Err(CommandError::Closing)); // the operator may have left
            return;
        };
        kid.operators.push(reply);
        kid.wanted = Some(command);
        kid.record = RestartHistory::default();
        match (kid.state.is_alive(), command) {
            (true, _) => kid.stop(id, now, appointments),
            (false, OperatorCommand::Stop) => self.remove(id, ExitReason::Shutdown, &Ok(())),
            (false, OperatorCommand::Restart) => {
                kid.wanted = None;
                kid.start(id, &self.to_self);
            }
        }
    }
}

impl SupervisorLogic for PartitionSupervisor {
    fn hear(
        &mut self,
        event: SupervisorEvent,
        now: Instant,
        appointments: &mut TimerQueue,
    ) -> bool {
        match event {
            SupervisorEvent::Up { kid, turn } => {
                let kid = self.kids.get_mut(&kid).filter(|kid| kid.turn == turn);
                if let Some(kid) = kid.filter(|kid| kid.state == ActorState::Starting) {
                    kid.seat.cell().up_since.store(self.site.forest.millis(), Relaxed);
                    kid.set(ActorState::Running);
                    kid.record.up(now);
                    kid.answer(&Ok(()));
                    if let Some(starter) = kid.starter.take() {
                        let _ = starter.send(Ok(())); // whoever started it may have left
                    }
                }
            }
            SupervisorEvent::Down { kid: id, turn, exit, at } => {
                if self.kids.get(&id).is_some_and(|kid| kid.turn == turn) {
                    self.ended(id, exit, &at, now, appointments);
                }
            }
            SupervisorEvent::Lost { kid: id, desk, exit, at } => {
                let kid = self.kids.get(&id);
                if let Some(kid) = kid.filter(|kid| kid.seat.cell().desk.load(Relaxed) == desk) {
                    kid.seat.abandon(kid.turn);
                    self.ended(id, exit, at, now, appointments);
                }
            }
            SupervisorEvent::Start { line, turn } => {
                let above = ExitNotifier::new(line, turn);
                above.up();
                self.above = Some(above);
                self.closing = false;
            }
            SupervisorEvent::Order(ParentCommand::Stop) => self.close(false, now, appointments),
            SupervisorEvent::Order(ParentCommand::Kill) => self.close(true, now, appointments),
            SupervisorEvent::Order(ParentCommand::Close) => {}
            SupervisorEvent::Order(ParentCommand::End) => return false,
            SupervisorEvent::Command { kid, command, reply } => {
                self.command(kid, command, reply, now, appointments);
            }
            SupervisorEvent::Adopt { seat, policy, reply } => self.adopt(seat, policy, reply),
        }
        true
    }

    fn due(&mut self, id: u64, at: Instant, appointments: &mut TimerQueue) {
        let now = Instant::now();
        let Some(kid) = self.kids.get_mut(&id).filter(|kid| kid.until == Some(at)) else { return };
        match (kid.state, kid.killed) {
            (ActorState::Waiting, _) => kid.start(id, &self.to_self),
            (ActorState::Stopping, false) => kid.kill(id, now, appointments),
            (ActorState::Stopping, true) => {
                kid.seat.abandon(kid.turn);
                self.ended(id, ExitReason::Killed, "it held its thread", now, appointments);
            }
            _ => {}
        }
    }

    fn collapse(&mut self, text: String) {
        tracing::error!(panic = text, "a supervisor panicked");
        for (_, kid) in self.kids.drain() {
            self.site.forest.remove(kid.seat.cell());
            kid.seat.kill();
        }
        self.closing = false;
        if let Some(above) = self.above.take() {
            above.down(ExitReason::Panic(text), "supervision");
        }
    }
}

impl Drop for PartitionSupervisor {
    fn drop(&mut self) {
        for kid in self.kids.values() {
            kid.seat.kill();
            self.site.forest.remove(kid.seat.cell());
        }
    }
}
