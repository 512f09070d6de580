//! The task of a supervisor: hears, lets its steward decide, keeps its appointments.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use base::clock::Clock;
use base::random::RandomSource;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::cell::ActorStats;
use super::exit::{ExitReason, FailureRecord, catch_panic};
use super::incarnation::spawn_local;
use super::parent_link::{ChildHandle, ParentCommand, ParentLink, SupervisorEvent};
use super::threads::ThreadPools;
use super::tree::TreeIndex;

/// What all supervisors of a tree share.
#[derive(Clone)]
pub(super) struct TreeContext {
    pub(super) forest: Arc<TreeIndex>,
    pub(super) places: Arc<ThreadPools>,
    pub(super) entropy: RandomSource,
    pub(super) clock: Clock,
}

impl TreeContext {
    /// Writes down how a child ended; true if it failed.
    pub(super) fn record(&self, cell: &ActorStats, exit: &ExitReason, at: &str) {
        if !exit.is_failure() {
            return;
        }
        let (text, word) = (exit.to_string(), exit.as_label());
        tracing::warn!(
            actor.path = cell.path(),
            actor.exit = text,
            actor.message = at,
            "actor failed"
        );
        metrics::counter!("securevox_actor_failures_total", "exit" => word).increment(1);
        cell.record(FailureRecord { at: self.clock.now(), exit: text, message: at.to_owned() });
    }
}

/// A supervisor's mind.
pub(super) trait SupervisorLogic {
    /// Decides on `event`; false ends the supervisor.
    fn hear(&mut self, event: SupervisorEvent, now: Instant, appointments: &mut TimerQueue)
    -> bool;
    /// A moment it asked for has come.
    fn due(&mut self, kid: u64, at: Instant, appointments: &mut TimerQueue);
    /// It panicked: everything below goes down at once.
    fn collapse(&mut self, text: String);
}

/// The moments a steward asked for.
#[derive(Default)]
pub(super) struct TimerQueue(BinaryHeap<Reverse<(Instant, u64)>>);

impl TimerQueue {
    pub(super) fn schedule(&mut self, at: Instant, kid: u64) {
        self.0.push(Reverse((at, kid)));
    }

    fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    fn kept(&mut self, now: Instant) -> Option<(Instant, u64)> {
        if self.next().is_some_and(|at| at <= now) {
            self.0.pop().map(|Reverse(due)| due)
        } else {
            None
        }
    }
}

/// Runs a steward until the tree ends.
pub(super) async fn run_supervisor(
    mut inbox: mpsc::UnboundedReceiver<SupervisorEvent>,
    mut steward: impl SupervisorLogic,
) {
    let mut appointments = TimerQueue::default();
    loop {
        let event = match appointments.next() {
            Some(at) => timeout_at(at, inbox.recv()).await.ok(),
            None => Some(inbox.recv().await),
        };
        let result = catch_panic(|| {
            let now = Instant::now();
            while let Some((at, kid)) = appointments.kept(now) {
                steward.due(kid, at, &mut appointments);
            }
            match event {
                Some(Some(event)) => steward.hear(event, now, &mut appointments),
                Some(None) => false, // nobody is left to speak to it
                None => true,
            }
        });
        match result {
            Ok(true) => {}
            Ok(false) => return,
            Err(text) => steward.collapse(text),
        }
    }
}

/// A supervisor as the child of another.
pub(super) struct SupervisorChild {
    cell: Arc<ActorStats>,
    below: mpsc::UnboundedSender<SupervisorEvent>,
}

impl SupervisorChild {
    /// Starts the task of a supervisor, whose steward `make` builds from the line to itself.
    pub(super) fn spawn_supervisor<S: SupervisorLogic + Send + 'static>(
        site: &TreeContext,
        cell: Arc<ActorStats>,
        make: impl FnOnce(mpsc::UnboundedSender<SupervisorEvent>) -> S,
    ) -> Self {
        let (below, inbox) = mpsc::unbounded_channel();
        let steward = make(below.clone());
        site.places.spawn_control(move || spawn_local(run_supervisor(inbox, steward)));
        Self { cell, below }
    }

    fn order(&self, order: ParentCommand) {
        let _ = self.below.send(SupervisorEvent::Order(order)); // a supervisor that is gone obeys nothing
    }
}

impl ChildHandle for SupervisorChild {
    fn cell(&self) -> &Arc<ActorStats> {
        &self.cell
    }

    fn start(&self, line: ParentLink, turn: u32, _: bool) {
        let _ = self.below.send(SupervisorEvent::Start { line, turn });
    }

    fn stop(&self) {
        self.order(ParentCommand::Stop);
    }

    fn kill(&self) {
        self.order(ParentCommand::Kill);
    }

    fn abandon(&self, _: u32) {
        self.order(ParentCommand::Kill);
    }

    fn close(&self) {
        self.order(ParentCommand::Close);
    }
}

impl Drop for SupervisorChild {
    fn drop(&mut self) {
        self.order(ParentCommand::End);
    }
}
