//! Messages between supervisors and their children.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::actor_stats::ActorStats;
use super::command::{CommandError, OperatorCommand};
use super::exit::ExitReason;
use super::policy::RestartPolicy;

/// An event that a supervisor handles.
pub(super) enum SupervisorEvent {
    /// The incarnation `incarnation` of a child handles messages.
    Up { child_id: u64, incarnation: u32 },
    /// The incarnation `incarnation` of a child has ended.
    Down { child_id: u64, incarnation: u32, exit: ExitReason, at: Cow<'static, str> },
    /// The thread on which a child ran was replaced.
    Lost { child_id: u64, thread_id: u64, exit: ExitReason, at: &'static str },
    /// From the parent: start the children, as incarnation `incarnation`, and report on `link`.
    Start { link: ParentLink, incarnation: u32 },
    /// Another command from the parent.
    FromParent(ParentCommand),
    /// A command from an operator.
    Command {
        child_id: u64,
        command: OperatorCommand,
        reply: oneshot::Sender<Result<(), CommandError>>,
    },
    /// A new child of a dynamic supervisor; the reply is sent when it is up.
    AddChild {
        handle: Box<dyn ChildHandle>,
        policy: Arc<RestartPolicy>,
        reply: oneshot::Sender<Result<(), ExitReason>>,
    },
}

/// A command from a supervisor to a supervisor below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParentCommand {
    /// Stop the children in order.
    Stop,
    /// Kill the children at once.
    Kill,
    /// Close the mailboxes of the children, as nothing will read them.
    Close,
    /// End: the tree is gone.
    End,
}

/// The connection from one child to its supervisor.
#[derive(Clone)]
pub(super) struct ParentLink {
    pub(super) parent: mpsc::UnboundedSender<SupervisorEvent>,
    pub(super) child_id: u64,
}

impl ParentLink {
    // These sends fail only if the supervisor is gone, and then the report has no reader.

    pub(super) fn up(&self, incarnation: u32) {
        let _ = self.parent.send(SupervisorEvent::Up { child_id: self.child_id, incarnation });
    }

    pub(super) fn down(&self, incarnation: u32, exit: ExitReason, at: Cow<'static, str>) {
        let _ = self.parent.send(SupervisorEvent::Down {
            child_id: self.child_id,
            incarnation,
            exit,
            at,
        });
    }

    pub(super) fn lost(&self, thread_id: u64, exit: ExitReason, at: &'static str) {
        let _ = self.parent.send(SupervisorEvent::Lost {
            child_id: self.child_id,
            thread_id,
            exit,
            at,
        });
    }

    pub(super) fn command(
        &self,
        command: OperatorCommand,
        reply: oneshot::Sender<Result<(), CommandError>>,
    ) {
        let _ =
            self.parent.send(SupervisorEvent::Command { child_id: self.child_id, command, reply });
    }
}

/// Reports the exit of an incarnation to its supervisor, at the latest when it is dropped: its
/// thread is gone then.
pub(super) struct ExitNotifier {
    link: ParentLink,
    pub(super) incarnation: u32,
    is_reported: bool,
}

impl ExitNotifier {
    pub(super) const fn new(link: ParentLink, incarnation: u32) -> Self {
        Self { link, incarnation, is_reported: false }
    }

    pub(super) fn up(&self) {
        self.link.up(self.incarnation);
    }

    pub(super) fn down(mut self, exit: ExitReason, at: &'static str) {
        self.is_reported = true;
        self.link.down(self.incarnation, exit, at.into());
    }

    /// Suppresses the report, because another incarnation runs already.
    pub(super) fn disarm(mut self) {
        self.is_reported = true;
    }
}

impl Drop for ExitNotifier {
    fn drop(&mut self) {
        if !self.is_reported {
            self.link.down(self.incarnation, ExitReason::Lost, "its thread ended".into());
        }
    }
}

/// A child as its supervisor controls it: an actor or another supervisor. Dropping it removes the
/// child.
pub(super) trait ChildHandle: Send {
    /// The counters of the child.
    fn stats(&self) -> &Arc<ActorStats>;
    /// Starts incarnation `incarnation`; `is_restart` if it is not the first.
    fn start(&self, link: ParentLink, incarnation: u32, is_restart: bool);
    /// Asks the incarnation to stop.
    fn stop(&self);
    /// Ends the incarnation as soon as its thread can.
    fn kill(&self);
    /// Stops waiting for the incarnation, whatever it does.
    fn abandon(&self, incarnation: u32);
    /// Closes the mailbox, as nothing will read it.
    fn close(&self);
}
