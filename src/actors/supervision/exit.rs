//! Why an incarnation ended, and the failure records kept of it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use base::clock::Timestamp;
use serde::Serialize;

/// Why an incarnation of an actor or of a supervisor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It stopped itself because its work is done.
    Normal,
    /// It stopped because its supervisor asked it to.
    Shutdown,
    /// It did not stop within its deadline, or it was stopped without waiting.
    Killed,
    /// It panicked, with this panic message.
    Panic(String),
    /// It called `ctx.fail` with this reason.
    Failed(String),
    /// A supervisor gave up because its children failed more often than the restart intensity
    /// allows.
    Escalated(String),
    /// It blocked its thread for longer than the watchdog allows.
    Stuck,
    /// Its thread ended, through no fault of the actor.
    Lost,
}

impl ExitReason {
    /// Whether a transient child is restarted after this exit.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }

    /// The static name of the reason, used as a metric label.
    pub const fn as_label(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown => "shutdown",
            Self::Killed => "killed",
            Self::Panic(_) => "panic",
            Self::Failed(_) => "failed",
            Self::Escalated(_) => "escalated",
            Self::Stuck => "stuck",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(text) | Self::Failed(text) | Self::Escalated(text) => {
                write!(f, "{}: {text}", self.as_label())
            }
            _ => f.write_str(self.as_label()),
        }
    }
}

/// One failure of an actor, as listed in the supervision tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureRecord {
    /// When the failure was recorded.
    pub at: Timestamp,
    /// The exit reason as text: `panic: …`, `failed: …`, `killed`, `lost` …
    pub exit: String,
    /// What the actor was running: the type of the message or of the future, or the name of the
    /// hook (`factory`, `started`, `stopping`, `stopped`, `drop`).
    pub message: String,
}

/// Runs `f` and turns a panic into its message. Dropping the panic payload may panic as well, so it
/// is dropped under the same guard.
pub(super) fn catch_panic<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let text = text(&*payload);
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second); // a payload whose drop panics again is leaked
        }
        text
    })
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without text").to_owned()
}
