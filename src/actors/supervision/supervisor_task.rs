//! The task of a supervisor: receives events, runs its logic and fires its timers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use base::clock::Clock;
use base::random::RandomSource;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::actor_stats::ActorStats;
use super::exit::{ExitReason, FailureRecord, catch_panic};
use super::incarnation::spawn_local;
use super::parent_link::{ChildHandle, ParentCommand, ParentLink, SupervisorEvent};
use super::threads::ThreadPools;
use super::tree::TreeIndex;

/// What all supervisors of a tree share.
#[derive(Clone)]
pub(super) struct TreeContext {
    pub(super) index: Arc<TreeIndex>,
    pub(super) pools: Arc<ThreadPools>,
    pub(super) random: RandomSource,
    pub(super) clock: Clock,
}

impl TreeContext {
    /// Logs and records why a child ended, if it failed.
    pub(super) fn record(&self, stats: &ActorStats, exit: &ExitReason, at: &str) {
        if !exit.is_failure() {
            return;
        }
        let (text, label) = (exit.to_string(), exit.as_label());
        tracing::warn!(
            actor.path = stats.path(),
            actor.exit = text,
            actor.message = at,
            "actor failed"
        );
        metrics::counter!("securevox_actor_failures_total", "exit" => label).increment(1);
        stats.record(FailureRecord { at: self.clock.now(), exit: text, message: at.to_owned() });
    }
}

/// The event handling of a supervisor.
pub(super) trait SupervisorLogic {
    /// Handles `event`; false ends the supervisor.
    fn on_event(&mut self, event: SupervisorEvent, now: Instant, timers: &mut TimerQueue) -> bool;
    /// A timer that it scheduled has fired.
    fn on_timer(&mut self, child_id: u64, at: Instant, timers: &mut TimerQueue);
    /// It panicked: everything below is killed at once.
    fn on_panic(&mut self, text: String);
}

/// The pending timers of a supervisor, each with the id of a child.
#[derive(Default)]
pub(super) struct TimerQueue(BinaryHeap<Reverse<(Instant, u64)>>);

impl TimerQueue {
    pub(super) fn schedule(&mut self, at: Instant, child_id: u64) {
        self.0.push(Reverse((at, child_id)));
    }

    fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<(Instant, u64)> {
        if self.next().is_some_and(|at| at <= now) {
            self.0.pop().map(|Reverse(due)| due)
        } else {
            None
        }
    }
}

/// Runs a supervisor until the tree ends.
pub(super) async fn run_supervisor(
    mut receiver: mpsc::UnboundedReceiver<SupervisorEvent>,
    mut logic: impl SupervisorLogic,
) {
    let mut timers = TimerQueue::default();
    loop {
        let event = match timers.next() {
            Some(at) => timeout_at(at, receiver.recv()).await.ok(),
            None => Some(receiver.recv().await),
        };
        let result = catch_panic(|| {
            let now = Instant::now();
            while let Some((at, child_id)) = timers.pop_due(now) {
                logic.on_timer(child_id, at, &mut timers);
            }
            match event {
                Some(Some(event)) => logic.on_event(event, now, &mut timers),
                Some(None) => false, // no sender is left
                None => true,
            }
        });
        match result {
            Ok(true) => {}
            Ok(false) => return,
            Err(text) => logic.on_panic(text),
        }
    }
}

/// A supervisor as the child of another one.
pub(super) struct SupervisorChild {
    stats: Arc<ActorStats>,
    sender: mpsc::UnboundedSender<SupervisorEvent>,
}

impl SupervisorChild {
    /// Starts the task of a supervisor, whose logic `make` builds from the sender of its own
    /// events.
    pub(super) fn spawn_supervisor<S: SupervisorLogic + Send + 'static>(
        context: &TreeContext,
        stats: Arc<ActorStats>,
        make: impl FnOnce(mpsc::UnboundedSender<SupervisorEvent>) -> S,
    ) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let logic = make(sender.clone());
        context.pools.spawn_control(move || spawn_local(run_supervisor(receiver, logic)));
        Self { stats, sender }
    }

    fn send(&self, order: ParentCommand) {
        // a supervisor that is gone needs no command
        let _ = self.sender.send(SupervisorEvent::FromParent(order));
    }
}

impl ChildHandle for SupervisorChild {
    fn stats(&self) -> &Arc<ActorStats> {
        &self.stats
    }

    fn start(&self, link: ParentLink, incarnation: u32, _: bool) {
        let _ = self.sender.send(SupervisorEvent::Start { link, incarnation });
    }

    fn stop(&self) {
        self.send(ParentCommand::Stop);
    }

    fn kill(&self) {
        self.send(ParentCommand::Kill);
    }

    fn abandon(&self, _: u32) {
        self.send(ParentCommand::Kill);
    }

    fn close(&self) {
        self.send(ParentCommand::Close);
    }
}

impl Drop for SupervisorChild {
    fn drop(&mut self) {
        self.send(ParentCommand::End);
    }
}
