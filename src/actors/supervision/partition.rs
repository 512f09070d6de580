//! A supervisor of children that come and go: each has its own window, none concerns another.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::cell::State;
use super::exit::Exit;
use super::parent_link::{Command, Event, FromAbove, Line, Seat, Witness};
use super::policy::{Policy, Record, Verdict};
use super::supervisor_task::{Appointments, Site, Steward};
use super::tree::CommandError;

pub(super) struct Partition {
    site: Site,
    kids: HashMap<u64, Kid>,
    next: u64,
    to_self: mpsc::UnboundedSender<Event>,
    above: Option<Witness>,
    closing: bool,
}

struct Kid {
    seat: Box<dyn Seat>,
    policy: Arc<Policy>,
    record: Record,
    turn: u32,
    state: State,
    until: Option<Instant>,
    killed: bool,
    /// What an operator wants once it is down.
    wanted: Option<Command>,
    starter: Option<oneshot::Sender<Result<(), Exit>>>,
    operators: Vec<oneshot::Sender<Result<(), CommandError>>>,
}

impl Kid {
    fn set(&mut self, state: State) {
        self.state = state;
        self.seat.cell().set_state(state);
    }

    fn answer(&mut self, result: &Result<(), CommandError>) {
        for operator in self.operators.drain(..) {
            let _ = operator.send(result.clone()); // the operator may have left
        }
    }

    fn wake(&mut self, id: u64, at: Instant, appointments: &mut Appointments) {
        self.until = Some(at);
        appointments.make(at, id);
    }

    fn start(&mut self, id: u64, to_self: &mpsc::UnboundedSender<Event>) {
        let again = self.turn > 0;
        if again {
            self.seat.cell().restarts.fetch_add(1, Relaxed);
            metrics::counter!("actor_restarts_total").increment(1);
        }
        self.turn = self.turn.wrapping_add(1);
        (self.until, self.killed) = (None, false);
        self.set(State::Starting);
        self.seat.start(Line { above: to_self.clone(), kid: id }, self.turn, again);
    }

    fn stop(&mut self, id: u64, now: Instant, appointments: &mut Appointments) {
        if self.state != State::Stopping {
            self.set(State::Stopping);
            self.seat.stop();
            self.wake(id, now + self.policy.shutdown, appointments);
        }
    }

    fn kill(&mut self, id: u64, now: Instant, appointments: &mut Appointments) {
        self.killed = true;
        self.set(State::Stopping);
        self.seat.kill();
        self.wake(id, now + self.policy.grace, appointments);
    }
}

impl Partition {
    pub(super) fn new(site: Site, to_self: mpsc::UnboundedSender<Event>) -> Self {
        Self { site, kids: HashMap::new(), next: 0, to_self, above: None, closing: false }
    }

    fn is_open(&self) -> bool {
        self.above.is_some() && !self.closing
    }

    fn adopt(
        &mut self,
        seat: Box<dyn Seat>,
        policy: Arc<Policy>,
        reply: oneshot::Sender<Result<(), Exit>>,
    ) {
        if !self.is_open() {
            drop(seat); // before the answer: the name is free again
            let _ = reply.send(Err(Exit::Shutdown));
            return;
        }
        self.next += 1;
        let id = self.next;
        self.site.forest.plant(seat.cell(), Line { above: self.to_self.clone(), kid: id });
        let mut kid = Kid {
            seat,
            policy,
            record: Record::default(),
            turn: 0,
            state: State::Down,
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
    fn remove(&mut self, id: u64, exit: Exit, result: &Result<(), CommandError>) {
        let Some(mut kid) = self.kids.remove(&id) else { return };
        kid.set(State::Ended);
        self.site.forest.fell(kid.seat.cell());
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
                above.down(Exit::Shutdown, "supervision");
            }
        }
    }

    fn ended(
        &mut self,
        id: u64,
        exit: Exit,
        at: &str,
        now: Instant,
        appointments: &mut Appointments,
    ) {
        let Some(kid) = self.kids.get_mut(&id).filter(|kid| kid.state.is_alive()) else { return };
        self.site.record(kid.seat.cell(), &exit, at);
        (kid.until, kid.killed) = (None, false);
        kid.set(State::Down);
        if self.closing || kid.wanted == Some(Command::Stop) {
            let closing = self.closing && kid.wanted == Some(Command::Restart);
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
            Verdict::Again(wait) if wait.is_zero() => kid.start(id, &self.to_self),
            Verdict::Again(wait) => {
                kid.set(State::Waiting);
                kid.answer(&Err(CommandError::Failed(exit.to_string())));
                kid.wake(id, now + wait, appointments);
            }
            Verdict::End | Verdict::TooMany => {
                let result = Err(CommandError::Failed(exit.to_string()));
                self.remove(id, exit, &result);
            }
        }
    }

    fn close(&mut self, kill: bool, now: Instant, appointments: &mut Appointments) {
        self.closing = true;
        let idle: Vec<u64> =
            self.kids.iter().filter(|(_, kid)| !kid.state.is_alive()).map(|(&id, _)| id).collect();
        for id in idle {
            self.remove(id, Exit::Shutdown, &Err(CommandError::Closing));
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
        command: Command,
        reply: oneshot::Sender<Result<(), CommandError>>,
        now: Instant,
        appointments: &mut Appointments,
    ) {
        let is_open = self.is_open();
        let Some(kid) = self.kids.get_mut(&id).filter(|_| is_open) else {
            let _ = reply.send(Err(CommandError::Closing)); // the operator may have left
            return;
        };
        kid.operators.push(reply);
        kid.wanted = Some(command);
        kid.record = Record::default();
        match (kid.state.is_alive(), command) {
            (true, _) => kid.stop(id, now, appointments),
            (false, Command::Stop) => self.remove(id, Exit::Shutdown, &Ok(())),
            (false, Command::Restart) => {
                kid.wanted = None;
                kid.start(id, &self.to_self);
            }
        }
    }
}

impl Steward for Partition {
    fn hear(&mut self, event: Event, now: Instant, appointments: &mut Appointments) -> bool {
        match event {
            Event::Up { kid, turn } => {
                let kid = self.kids.get_mut(&kid).filter(|kid| kid.turn == turn);
                if let Some(kid) = kid.filter(|kid| kid.state == State::Starting) {
                    kid.seat.cell().up_since.store(self.site.forest.millis(), Relaxed);
                    kid.set(State::Running);
                    kid.record.up(now);
                    kid.answer(&Ok(()));
                    if let Some(starter) = kid.starter.take() {
                        let _ = starter.send(Ok(())); // whoever started it may have left
                    }
                }
            }
            Event::Down { kid: id, turn, exit, at } => {
                if self.kids.get(&id).is_some_and(|kid| kid.turn == turn) {
                    self.ended(id, exit, &at, now, appointments);
                }
            }
            Event::Lost { kid: id, desk, exit, at } => {
                let kid = self.kids.get(&id);
                if let Some(kid) = kid.filter(|kid| kid.seat.cell().desk.load(Relaxed) == desk) {
                    kid.seat.abandon(kid.turn);
                    self.ended(id, exit, at, now, appointments);
                }
            }
            Event::Start { line, turn } => {
                let above = Witness::new(line, turn);
                above.up();
                self.above = Some(above);
                self.closing = false;
            }
            Event::Order(FromAbove::Stop) => self.close(false, now, appointments),
            Event::Order(FromAbove::Kill) => self.close(true, now, appointments),
            Event::Order(FromAbove::Close) => {}
            Event::Order(FromAbove::End) => return false,
            Event::Command { kid, command, reply } => {
                self.command(kid, command, reply, now, appointments);
            }
            Event::Adopt { seat, policy, reply } => self.adopt(seat, policy, reply),
        }
        true
    }

    fn due(&mut self, id: u64, at: Instant, appointments: &mut Appointments) {
        let now = Instant::now();
        let Some(kid) = self.kids.get_mut(&id).filter(|kid| kid.until == Some(at)) else { return };
        match (kid.state, kid.killed) {
            (State::Waiting, _) => kid.start(id, &self.to_self),
            (State::Stopping, false) => kid.kill(id, now, appointments),
            (State::Stopping, true) => {
                kid.seat.abandon(kid.turn);
                self.ended(id, Exit::Killed, "it held its thread", now, appointments);
            }
            _ => {}
        }
    }

    fn collapse(&mut self, text: String) {
        tracing::error!(panic = text, "a supervisor panicked");
        for (_, kid) in self.kids.drain() {
            self.site.forest.fell(kid.seat.cell());
            kid.seat.kill();
        }
        self.closing = false;
        if let Some(above) = self.above.take() {
            above.down(Exit::Panic(text), "supervision");
        }
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        for kid in self.kids.values() {
            kid.seat.kill();
            self.site.forest.fell(kid.seat.cell());
        }
    }
}
