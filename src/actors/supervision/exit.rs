//! How the life of an actor ended, and what is remembered of it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use base::clock::Timestamp;
use serde::Serialize;

/// How the life of an actor or of a supervisor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// It stopped itself: its work is done.
    Normal,
    /// It was asked to stop and did.
    Shutdown,
    /// It did not stop within its deadline, or nobody waited for it.
    Killed,
    /// It panicked; the text of the panic.
    Panic(String),
    /// It called `ctx.fail`; the reason.
    Failed(String),
    /// A supervisor gave up: something below failed too often.
    Escalated(String),
    /// It blocked its thread for longer than the watchdog allows.
    Stuck,
    /// Its thread is gone, by no fault of its own.
    Lost,
}

impl ExitReason {
    /// Whether a transient child comes back after this.
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }

    /// One word, for metrics.
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

/// One failure, as the tree remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureRecord {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: `panic: …`, `failed: …`, `killed`, `lost` …
    pub exit: String,
    /// What the actor was at: the type of the message or of the future, or the name of the hook
    /// (`factory`, `started`, `stopping`, `stopped`, `drop`).
    pub message: String,
}

/// Runs `deed`; a panic becomes its text. The payload itself may panic when it is dropped, so it
/// is dropped under the same guard.
pub(super) fn catch_panic<T>(deed: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(deed)).map_err(|payload| {
        let text = text(&*payload);
        if let Err(worse) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(worse); // a payload whose drop panics with such a payload: let it leak
        }
        text
    })
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without text").to_owned()
}
