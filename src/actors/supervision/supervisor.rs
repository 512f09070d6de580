//! A supervisor of children known from the start: a family with seats to act on.

use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::cell::ActorState;
use super::exit::ExitReason;
use super::parent_link::{
    ChildHandle, ExitNotifier, OperatorCommand, ParentCommand, ParentLink, SupervisorEvent,
};
use super::supervisor_state::{ChildEvent as Happening, SupervisorAction, SupervisorState};
use super::supervisor_task::{SupervisorLogic, TimerQueue, TreeContext};
use super::tree::CommandError;

type CommandReply = oneshot::Sender<Result<(), CommandError>>;

pub(super) struct OrderedSupervisor {
    site: TreeContext,
    path: String,
    family: SupervisorState,
    kids: Vec<SupervisedChild>,
    to_self: mpsc::UnboundedSender<SupervisorEvent>,
    above: Option<ExitNotifier>,
    pending: Vec<(usize, OperatorCommand, CommandReply)>,
}

struct SupervisedChild {
    seat: Box<dyn ChildHandle>,
    turn: u32,
}

impl OrderedSupervisor {
    pub(super) fn new(
        site: TreeContext,
        path: String,
        family: SupervisorState,
        seats: Vec<Box<dyn ChildHandle>>,
        to_self: mpsc::UnboundedSender<SupervisorEvent>,
    ) -> Self {
        for (kid, seat) in (0..).zip(&seats) {
            site.forest.insert(seat.cell(), ParentLink { above: to_self.clone(), kid });
        }
        let kids = seats.into_iter().map(|seat| SupervisedChild { seat, turn: 0 }).collect();
        Self { site, path, family, kids, to_self, above: None, pending: vec![] }
    }

    fn happen(&mut self, event: Happening, now: Instant, appointments: &mut TimerQueue) {
        let deeds = self.family.handle(event, now, self.site.entropy.fraction());
        for deed in deeds {
            self.act(deed, appointments);
        }
        for (i, kid) in self.kids.iter().enumerate() {
            kid.seat.cell().set_state(self.family.state(i));
        }
        self.answer();
    }

    fn act(&mut self, deed: SupervisorAction, appointments: &mut TimerQueue) {
        match deed {
            SupervisorAction::Start(i) => {
                let line = ParentLink { above: self.to_self.clone(), kid: i as u64 };
                let kid = &mut self.kids[i];
                let again = kid.turn > 0;
                if again {
                    kid.seat.cell().restarts.fetch_add(1, Relaxed);
                    metrics::counter!("securevox_actor_restarts_total").increment(1);
                }
                kid.turn = kid.turn.wrapping_add(1);
                kid.seat.start(line, kid.turn, again);
            }
            SupervisorAction::Stop(i) => self.kids[i].seat.stop(),
            SupervisorAction::Kill(i) => self.kids[i].seat.kill(),
            SupervisorAction::Abandon(i) => {
                let kid = &self.kids[i];
                self.site.record(kid.seat.cell(), &ExitReason::Killed, "it held its thread");
                kid.seat.abandon(kid.turn);
            }
            SupervisorAction::Close(i) => self.kids[i].seat.close(),
            SupervisorAction::Wake(i, at) => appointments.schedule(at, i as u64),
            SupervisorAction::Opened => {
                if let Some(above) = &self.above {
                    above.up();
                }
            }
            SupervisorAction::Over(exit) => {
                if let Some(above) = self.above.take() {
                    above.down(exit, "supervision");
                }
            }
        }
    }

    /// Tells operators whose command is done.
    fn answer(&mut self) {
        let is_open = self.family.is_open();
        let done = |i: usize, command| match (command, self.family.state(i)) {
            (OperatorCommand::Restart, ActorState::Running)
            | (OperatorCommand::Stop, ActorState::Stopped) => Some(Ok(())),
            (OperatorCommand::Restart, ActorState::Waiting | ActorState::Ended) => {
                let last = self.kids[i].seat.cell().failures().pop();
                let why = last.map_or_else(|| "it ended".to_owned(), |failure| failure.exit);
                Some(Err(CommandError::Failed(why)))
            }
            _ if !is_open => Some(Err(CommandError::Closing)),
            _ => None,
        };
        let mut waiting = vec![];
        for (i, command, reply) in std::mem::take(&mut self.pending) {
            match done(i, command) {
                Some(result) => drop(reply.send(result)), // the operator may have left
                None => waiting.push((i, command, reply)),
            }
        }
        self.pending = waiting;
    }

    /// The child of that number, if `turn` is its living incarnation.
    fn current(&self, kid: u64, turn: u32) -> Option<usize> {
        let i = usize::try_from(kid).ok()?;
        self.kids.get(i).filter(|kid| kid.turn == turn).map(|_| i)
    }

    fn ended(&mut self, i: usize, exit: ExitReason, at: &str, now: Instant, due: &mut TimerQueue) {
        if !self.family.state(i).is_alive() {
            return; // news of one who was given up
        }
        self.site.record(self.kids[i].seat.cell(), &exit, at);
        self.happen(Happening::Down(i, exit), now, due);
    }
}

impl SupervisorLogic for OrderedSupervisor {
    fn hear(
        &mut self,
        event: SupervisorEvent,
        now: Instant,
        appointments: &mut TimerQueue,
    ) -> bool {
        match event {
            SupervisorEvent::Up { kid, turn } => {
                if let Some(i) = self.current(kid, turn) {
                    let millis = self.site.forest.millis();
                    self.kids[i].seat.cell().up_since.store(millis, Relaxed);
                    self.happen(Happening::Up(i), now, appointments);
                }
            }
            SupervisorEvent::Down { kid, turn, exit, at } => {
                if let Some(i) = self.current(kid, turn) {
                    self.ended(i, exit, &at, now, appointments);
                }
            }
            SupervisorEvent::Lost { kid, desk, exit, at } => {
                let there = usize::try_from(kid).ok().filter(|&i| i < self.kids.len());
                let there = there.filter(|&i| self.kids[i].seat.cell().desk.load(Relaxed) == desk);
                if let Some(i) = there {
                    self.kids[i].seat.abandon(self.kids[i].turn);
                    self.ended(i, exit, at, now, appointments);
                }
            }
            SupervisorEvent::Start { line, turn } => {
                self.above = Some(ExitNotifier::new(line, turn));
                self.happen(Happening::Start, now, appointments);
            }
            SupervisorEvent::Order(ParentCommand::Stop) => {
                self.happen(Happening::Stop, now, appointments)
            }
            SupervisorEvent::Order(ParentCommand::Kill) => {
                self.happen(Happening::Kill, now, appointments)
            }
            SupervisorEvent::Order(ParentCommand::Close) => {
                self.kids.iter().for_each(|kid| kid.seat.close())
            }
            SupervisorEvent::Order(ParentCommand::End) => return false,
            SupervisorEvent::Command { kid, command, reply } => {
                let there = usize::try_from(kid).ok().filter(|_| self.family.is_open());
                match (there, command) {
                    (None, _) => drop(reply.send(Err(CommandError::Closing))),
                    (Some(i), OperatorCommand::Restart) => {
                        self.pending.push((i, command, reply));
                        self.happen(Happening::Renew(i), now, appointments);
                    }
                    (Some(i), OperatorCommand::Stop) => {
                        self.pending.push((i, command, reply));
                        self.happen(Happening::Hold(i), now, appointments);
                    }
                }
            }
            SupervisorEvent::Adopt { reply, .. } => {
                drop(reply.send(Err(ExitReason::Failed("not a nursery".into()))))
            }
        }
        true
    }

    fn due(&mut self, kid: u64, at: Instant, appointments: &mut TimerQueue) {
        if let Ok(i) = usize::try_from(kid) {
            self.happen(Happening::Due(i, at), Instant::now(), appointments);
        }
    }

    fn collapse(&mut self, text: String) {
        tracing::error!(actor.path = self.path, panic = text, "a supervisor panicked");
        for kid in &mut self.kids {
            kid.seat.abandon(kid.turn);
            kid.seat.kill();
            kid.turn = kid.turn.wrapping_add(1); // their reports no longer matter
            kid.seat.cell().set_state(ActorState::Down);
        }
        self.pending.clear();
        self.family.reset();
        if let Some(above) = self.above.take() {
            above.down(ExitReason::Panic(text), "supervision");
        }
    }
}

impl Drop for OrderedSupervisor {
    fn drop(&mut self) {
        for kid in &self.kids {
            kid.seat.kill();
            self.site.forest.remove(kid.seat.cell());
        }
    }
}
