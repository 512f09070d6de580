//! Why the store could not answer; what a question's answer may be is never in here.

use std::error::Error as StdError;

use base::error::{CodedError, ErrorKind};
use diesel::result::{DatabaseErrorKind, Error as Diesel};

/// A failure of the machinery. Business outcomes are values of the method's own enum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The queue is full; nothing was started, it may be tried again at once elsewhere.
    #[error("the store's queue is full")]
    Overloaded,
    /// No answer in time; whether it happened is unknown: repeat it with the same ids.
    #[error("the store did not answer in time")]
    Deadline,
    /// The database cannot be reached or asks to try again; nothing was changed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Our own mistake: a broken row, a violated constraint, a panic; nothing was changed.
    #[error("the store failed: {0}")]
    Internal(String),
}

/// What every method of the store answers.
pub type Result<T> = std::result::Result<T, StoreError>;

impl CodedError for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Overloaded | Self::Deadline | Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Overloaded => "store/overloaded",
            Self::Deadline => "store/timeout",
            Self::Unavailable(_) => "store/unavailable",
            Self::Internal(_) => "store/internal",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        (self.kind() == ErrorKind::Unavailable).then_some(1)
    }
}

impl StoreError {
    /// The failure of a start or a connection, with all its causes in one line.
    pub(crate) fn unavailable(cause: &dyn StdError) -> Self {
        Self::Unavailable(causes(cause))
    }

    /// The failure of a COMMIT: if the connection broke in it, nobody knows what happened.
    pub(crate) fn of_commit(error: Diesel) -> Self {
        if lost(&error) { Self::Deadline } else { error.into() }
    }
}

impl From<Diesel> for StoreError {
    fn from(error: Diesel) -> Self {
        match &error {
            error if lost(error) => Self::Unavailable(error.to_string()),
            Diesel::DatabaseError(_, about) if passing(about.message()) => {
                Self::Unavailable(about.message().to_owned())
            }
            Diesel::BrokenTransactionManager => Self::Unavailable("a broken transaction".into()),
            error => Self::Internal(error.to_string()),
        }
    }
}

/// Whether the connection itself is gone.
fn lost(error: &Diesel) -> bool {
    use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
    matches!(error, Diesel::DatabaseError(ClosedConnection | UnableToSendCommand, _))
}

/// Conditions that pass: neither database gives them a kind of their own in diesel.
fn passing(message: &str) -> bool {
    const SIGNS: [&str; 9] = [
        "database is locked",              // SQLite: another process writes
        "database or disk is full",        // SQLite
        "canceling statement due to",      // PostgreSQL: statement_timeout, lock_timeout
        "terminating connection",          // PostgreSQL: it is being shut down
        "the database system is",          // PostgreSQL: starting up, shutting down
        "deadlock detected",               // PostgreSQL: the other one went on
        "could not serialize access",      // PostgreSQL
        "remaining connection slots",      // PostgreSQL: too many clients
        "sorry, too many clients already", // PostgreSQL
    ];
    SIGNS.iter().any(|sign| message.contains(sign))
}

/// An error and its causes in one line.
pub(crate) fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
