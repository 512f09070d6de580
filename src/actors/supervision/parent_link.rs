//! What supervisors and those below them say to each other.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::cell::ActorStats;
use super::exit::ExitReason;
use super::policy::RestartPolicy;
use super::tree::CommandError;

/// What a supervisor hears.
pub(super) enum SupervisorEvent {
    /// The incarnation `turn` of a child takes messages.
    Up { kid: u64, turn: u32 },
    /// The incarnation `turn` of a child has ended.
    Down { kid: u64, turn: u32, exit: ExitReason, at: Cow<'static, str> },
    /// The thread at which a child lived was given up.
    Lost { kid: u64, desk: u64, exit: ExitReason, at: &'static str },
    /// From above: bring the children up, as incarnation `turn`, and report on `line`.
    Start { line: ParentLink, turn: u32 },
    /// From above.
    Order(ParentCommand),
    /// From an operator.
    Command { kid: u64, command: OperatorCommand, reply: oneshot::Sender<Result<(), CommandError>> },
    /// A new child of a nursery; the answer comes when it is up.
    Adopt {
        seat: Box<dyn ChildHandle>,
        policy: Arc<RestartPolicy>,
        reply: oneshot::Sender<Result<(), ExitReason>>,
    },
}

/// What a supervisor is told by the one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParentCommand {
    /// Bring the children down in order.
    Stop,
    /// Bring them down at once.
    Kill,
    /// Nobody will read their mailboxes.
    Close,
    /// The tree is gone.
    End,
}

/// What an operator wants of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperatorCommand {
    Restart,
    Stop,
}

/// The line from one child to its supervisor.
#[derive(Clone)]
pub(super) struct ParentLink {
    pub(super) above: mpsc::UnboundedSender<SupervisorEvent>,
    pub(super) kid: u64,
}

impl ParentLink {
    // A supervisor that is gone needs no news: that is why these sends may fail.

    pub(super) fn up(&self, turn: u32) {
        let _ = self.above.send(SupervisorEvent::Up { kid: self.kid, turn });
    }

    pub(super) fn down(&self, turn: u32, exit: ExitReason, at: Cow<'static, str>) {
        let _ = self.above.send(SupervisorEvent::Down { kid: self.kid, turn, exit, at });
    }

    pub(super) fn lost(&self, desk: u64, exit: ExitReason, at: &'static str) {
        let _ = self.above.send(SupervisorEvent::Lost { kid: self.kid, desk, exit, at });
    }

    pub(super) fn command(
        &self,
        command: OperatorCommand,
        reply: oneshot::Sender<Result<(), CommandError>>,
    ) {
        let _ = self.above.send(SupervisorEvent::Command { kid: self.kid, command, reply });
    }
}

/// Tells the supervisor how an incarnation ended: at the latest when it is dropped, for then its
/// thread is gone.
pub(super) struct ExitNotifier {
    line: ParentLink,
    pub(super) turn: u32,
    told: bool,
}

impl ExitNotifier {
    pub(super) const fn new(line: ParentLink, turn: u32) -> Self {
        Self { line, turn, told: false }
    }

    pub(super) fn up(&self) {
        self.line.up(self.turn);
    }

    pub(super) fn down(mut self, exit: ExitReason, at: &'static str) {
        self.told = true;
        self.line.down(self.turn, exit, at.into());
    }

    /// Another incarnation lives already: nobody wants to hear of this one.
    pub(super) fn forget(mut self) {
        self.told = true;
    }
}

impl Drop for ExitNotifier {
    fn drop(&mut self) {
        if !self.told {
            self.line.down(self.turn, ExitReason::Lost, "its thread ended".into());
        }
    }
}

/// A place in the tree, as its supervisor handles it: a leaf or another supervisor. When it is
/// dropped, the place is given up.
pub(super) trait ChildHandle: Send {
    /// Its counters.
    fn cell(&self) -> &Arc<ActorStats>;
    /// Starts incarnation `turn`; `again` if it is not the first.
    fn start(&self, line: ParentLink, turn: u32, again: bool);
    /// Asks the incarnation to stop.
    fn stop(&self);
    /// Ends the incarnation as soon as its thread can.
    fn kill(&self);
    /// Nobody waits for the incarnation any longer, whatever it does.
    fn abandon(&self, turn: u32);
    /// Nobody will read the mailbox.
    fn close(&self);
}
