//! A supervisor of ordered children: applies the actions of a [`SupervisorState`] to child handles.

use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::actor_stats::ActorState;
use super::command::{CommandError, OperatorCommand};
use super::exit::ExitReason;
use super::parent_link::{ChildHandle, ExitNotifier, ParentCommand, ParentLink, SupervisorEvent};
use super::supervisor_state::{ChildEvent, SupervisorAction, SupervisorState};
use super::supervisor_task::{SupervisorLogic, TimerQueue, TreeContext};

type CommandReply = oneshot::Sender<Result<(), CommandError>>;

pub(super) struct OrderedSupervisor {
    context: TreeContext,
    path: String,
    state: SupervisorState,
    children: Vec<SupervisedChild>,
    to_self: mpsc::UnboundedSender<SupervisorEvent>,
    parent: Option<ExitNotifier>,
    pending: Vec<(usize, OperatorCommand, CommandReply)>,
}

struct SupervisedChild {
    handle: Box<dyn ChildHandle>,
    incarnation: u32,
}

impl OrderedSupervisor {
    pub(super) fn new(
        context: TreeContext,
        path: String,
        state: SupervisorState,
        handles: Vec<Box<dyn ChildHandle>>,
        to_self: mpsc::UnboundedSender<SupervisorEvent>,
    ) -> Self {
        for (child_id, handle) in (0..).zip(&handles) {
            context.index.insert(handle.stats(), ParentLink { parent: to_self.clone(), child_id });
        }
        let children =
            handles.into_iter().map(|handle| SupervisedChild { handle, incarnation: 0 }).collect();
        Self { context, path, state, children, to_self, parent: None, pending: vec![] }
    }

    fn apply(&mut self, event: ChildEvent, now: Instant, timers: &mut TimerQueue) {
        let actions = self.state.apply(event, now, self.context.random.fraction());
        for action in actions {
            self.execute(action, timers);
        }
        for (i, child) in self.children.iter().enumerate() {
            child.handle.stats().set_state(self.state.child_state(i));
        }
        self.resolve_commands();
    }

    fn execute(&mut self, action: SupervisorAction, timers: &mut TimerQueue) {
        match action {
            SupervisorAction::Start(i) => {
                let link = ParentLink { parent: self.to_self.clone(), child_id: i as u64 };
                let child = &mut self.children[i];
                let is_restart = child.incarnation > 0;
                if is_restart {
                    child.handle.stats().restarts.fetch_add(1, Relaxed);
                    metrics::counter!("securevox_actor_restarts_total").increment(1);
                }
                child.incarnation = child.incarnation.wrapping_add(1);
                child.handle.start(link, child.incarnation, is_restart);
            }
            SupervisorAction::Stop(i) => self.children[i].handle.stop(),
            SupervisorAction::Kill(i) => self.children[i].handle.kill(),
            SupervisorAction::Abandon(i) => {
                let child = &self.children[i];
                self.context.record(
                    child.handle.stats(),
                    &ExitReason::Killed,
                    "blocked its thread",
                );
                child.handle.abandon(child.incarnation);
            }
            SupervisorAction::CloseMailbox(i) => self.children[i].handle.close(),
            SupervisorAction::SetTimer(i, at) => timers.schedule(at, i as u64),
            SupervisorAction::AllUp => {
                if let Some(parent) = &self.parent {
                    parent.up();
                }
            }
            SupervisorAction::AllDown(exit) => {
                if let Some(parent) = self.parent.take() {
                    parent.down(exit, "supervision");
                }
            }
        }
    }

    /// Replies to operators whose command is done.
    fn resolve_commands(&mut self) {
        let is_open = self.state.is_open();
        let done = |i: usize, command| match (command, self.state.child_state(i)) {
            (OperatorCommand::Restart, ActorState::Running)
            | (OperatorCommand::Stop, ActorState::Stopped) => Some(Ok(())),
            (OperatorCommand::Restart, ActorState::Waiting | ActorState::Ended) => {
                let last = self.children[i].handle.stats().failures().pop();
                let why = last.map_or_else(|| "ended".to_owned(), |failure| failure.exit);
                Some(Err(CommandError::Failed(why)))
            }
            _ if !is_open => Some(Err(CommandError::Closing)),
            _ => None,
        };
        let mut still_pending = vec![];
        for (i, command, reply) in std::mem::take(&mut self.pending) {
            match done(i, command) {
                Some(result) => drop(reply.send(result)), // the operator may have left
                None => still_pending.push((i, command, reply)),
            }
        }
        self.pending = still_pending;
    }

    /// The index of that child, if `incarnation` is its current incarnation.
    fn current_child(&self, child_id: u64, incarnation: u32) -> Option<usize> {
        let i = usize::try_from(child_id).ok()?;
        self.children.get(i).filter(|child| child.incarnation == incarnation).map(|_| i)
    }

    fn on_child_exit(
        &mut self,
        i: usize,
        exit: ExitReason,
        at: &str,
        now: Instant,
        timers: &mut TimerQueue,
    ) {
        if !self.state.child_state(i).is_alive() {
            return; // report of an incarnation that was given up
        }
        self.context.record(self.children[i].handle.stats(), &exit, at);
        self.apply(ChildEvent::Down(i, exit), now, timers);
    }
}

impl SupervisorLogic for OrderedSupervisor {
    fn on_event(&mut self, event: SupervisorEvent, now: Instant, timers: &mut TimerQueue) -> bool {
        match event {
            SupervisorEvent::Up { child_id, incarnation } => {
                if let Some(i) = self.current_child(child_id, incarnation) {
                    let millis = self.context.index.elapsed_ms();
                    self.children[i].handle.stats().up_since.store(millis, Relaxed);
                    self.apply(ChildEvent::Up(i), now, timers);
                }
            }
            SupervisorEvent::Down { child_id, incarnation, exit, at } => {
                if let Some(i) = self.current_child(child_id, incarnation) {
                    self.on_child_exit(i, exit, &at, now, timers);
                }
            }
            SupervisorEvent::Lost { child_id, thread_id, exit, at } => {
                let index = usize::try_from(child_id).ok().filter(|&i| i < self.children.len());
                let index = index.filter(|&i| {
                    self.children[i].handle.stats().thread_id.load(Relaxed) == thread_id
                });
                if let Some(i) = index {
                    self.children[i].handle.abandon(self.children[i].incarnation);
                    self.on_child_exit(i, exit, at, now, timers);
                }
            }
            SupervisorEvent::Start { link, incarnation } => {
                self.parent = Some(ExitNotifier::new(link, incarnation));
                self.apply(ChildEvent::Start, now, timers);
            }
            SupervisorEvent::FromParent(ParentCommand::Stop) => {
                self.apply(ChildEvent::Stop, now, timers)
            }
            SupervisorEvent::FromParent(ParentCommand::Kill) => {
                self.apply(ChildEvent::Kill, now, timers)
            }
            SupervisorEvent::FromParent(ParentCommand::Close) => {
                self.children.iter().for_each(|child| child.handle.close())
            }
            SupervisorEvent::FromParent(ParentCommand::End) => return false,
            SupervisorEvent::Command { child_id, command, reply } => {
                let index = usize::try_from(child_id).ok().filter(|_| self.state.is_open());
                match (index, command) {
                    (None, _) => drop(reply.send(Err(CommandError::Closing))),
                    (Some(i), OperatorCommand::Restart) => {
                        self.pending.push((i, command, reply));
                        self.apply(ChildEvent::Restart(i), now, timers);
                    }
                    (Some(i), OperatorCommand::Stop) => {
                        self.pending.push((i, command, reply));
                        self.apply(ChildEvent::Hold(i), now, timers);
                    }
                }
            }
            SupervisorEvent::AddChild { reply, .. } => {
                drop(reply.send(Err(ExitReason::Failed("not a dynamic supervisor".into()))))
            }
        }
        true
    }

    fn on_timer(&mut self, child_id: u64, at: Instant, timers: &mut TimerQueue) {
        if let Ok(i) = usize::try_from(child_id) {
            self.apply(ChildEvent::TimerFired(i, at), Instant::now(), timers);
        }
    }

    fn on_panic(&mut self, text: String) {
        tracing::error!(actor.path = self.path, panic = text, "supervisor panicked");
        for child in &mut self.children {
            child.handle.abandon(child.incarnation);
            child.handle.kill();
            child.incarnation = child.incarnation.wrapping_add(1); // their reports no longer matter
            child.handle.stats().set_state(ActorState::Down);
        }
        self.pending.clear();
        self.state.reset();
        if let Some(parent) = self.parent.take() {
            parent.down(ExitReason::Panic(text), "supervision");
        }
    }
}

impl Drop for OrderedSupervisor {
    fn drop(&mut self) {
        for child in &self.children {
            child.handle.kill();
            self.context.index.remove(child.handle.stats());
        }
    }
}
