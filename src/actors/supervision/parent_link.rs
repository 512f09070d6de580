//! What supervisors and those below them say to each other.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::cell::Cell;
use super::exit::Exit;
use super::policy::Policy;
use super::tree::CommandError;

/// What a supervisor hears.
pub(super) enum Event {
    /// The incarnation `turn` of a child takes messages.
    Up { kid: u64, turn: u32 },
    /// The incarnation `turn` of a child has ended.
    Down { kid: u64, turn: u32, exit: Exit, at: Cow<'static, str> },
    /// The thread at which a child lived was given up.
    Lost { kid: u64, desk: u64, exit: Exit, at: &'static str },
    /// From above: bring the children up, as incarnation `turn`, and report on `line`.
    Start { line: Line, turn: u32 },
    /// From above.
    Order(FromAbove),
    /// From an operator.
    Command { kid: u64, command: Command, reply: oneshot::Sender<Result<(), CommandError>> },
    /// A new child of a nursery; the answer comes when it is up.
    Adopt { seat: Box<dyn Seat>, policy: Arc<Policy>, reply: oneshot::Sender<Result<(), Exit>> },
}

/// What a supervisor is told by the one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FromAbove {
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
pub(super) enum Command {
    Restart,
    Stop,
}

/// The line from one child to its supervisor.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) above: mpsc::UnboundedSender<Event>,
    pub(super) kid: u64,
}

impl Line {
    // A supervisor that is gone needs no news: that is why these sends may fail.

    pub(super) fn up(&self, turn: u32) {
        let _ = self.above.send(Event::Up { kid: self.kid, turn });
    }

    pub(super) fn down(&self, turn: u32, exit: Exit, at: Cow<'static, str>) {
        let _ = self.above.send(Event::Down { kid: self.kid, turn, exit, at });
    }

    pub(super) fn lost(&self, desk: u64, exit: Exit, at: &'static str) {
        let _ = self.above.send(Event::Lost { kid: self.kid, desk, exit, at });
    }

    pub(super) fn command(
        &self,
        command: Command,
        reply: oneshot::Sender<Result<(), CommandError>>,
    ) {
        let _ = self.above.send(Event::Command { kid: self.kid, command, reply });
    }
}

/// Tells the supervisor how an incarnation ended: at the latest when it is dropped, for then its
/// thread is gone.
pub(super) struct Witness {
    line: Line,
    pub(super) turn: u32,
    told: bool,
}

impl Witness {
    pub(super) const fn new(line: Line, turn: u32) -> Self {
        Self { line, turn, told: false }
    }

    pub(super) fn up(&self) {
        self.line.up(self.turn);
    }

    pub(super) fn down(mut self, exit: Exit, at: &'static str) {
        self.told = true;
        self.line.down(self.turn, exit, at.into());
    }

    /// Another incarnation lives already: nobody wants to hear of this one.
    pub(super) fn forget(mut self) {
        self.told = true;
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if !self.told {
            self.line.down(self.turn, Exit::Lost, "its thread ended".into());
        }
    }
}

/// A place in the tree, as its supervisor handles it: a leaf or another supervisor. When it is
/// dropped, the place is given up.
pub(super) trait Seat: Send {
    /// Its counters.
    fn cell(&self) -> &Arc<Cell>;
    /// Starts incarnation `turn`; `again` if it is not the first.
    fn start(&self, line: Line, turn: u32, again: bool);
    /// Asks the incarnation to stop.
    fn stop(&self);
    /// Ends the incarnation as soon as its thread can.
    fn kill(&self);
    /// Nobody waits for the incarnation any longer, whatever it does.
    fn abandon(&self, turn: u32);
    /// Nobody will read the mailbox.
    fn close(&self);
}
