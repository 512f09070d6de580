//! Commands of operators to one path of the tree, and why they fail.

use base::error::CodedError;

/// What an operator wants done with one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperatorCommand {
    Restart,
    Stop,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, CodedError)]
pub enum CommandError {
    /// No actor or supervisor has this path.
    #[error("no actor or supervisor has this path")]
    #[code("actors/not-found", NotFound)]
    NotFound,
    /// Its supervisor is stopping or restarting its children.
    #[error("its supervisor is stopping")]
    #[code("actors/shutting-down", Unavailable)]
    Closing,
    /// It was started but failed at once.
    #[error("it failed: {0}")]
    #[code("actors/restart-failed", Conflict)]
    Failed(String),
}
