//! Failures of the store itself; business outcomes are never errors.

use std::error::Error as StdError;

use base::error::CodedError;
use diesel::result::{DatabaseErrorKind, Error as Diesel};

/// A failure of the store. Business outcomes are values of each method's own result type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, CodedError)]
pub enum StoreError {
    /// The queue is full; nothing was started, so it may be retried at once on another node.
    #[error("the store queue is full")]
    #[code("store/overloaded", Unavailable, retry_after = 1)]
    Overloaded,
    /// No result in time; whether it happened is unknown: retry with the same ids.
    #[error("the store did not answer in time")]
    #[code("store/timeout", Unavailable, retry_after = 1)]
    Deadline,
    /// The database is unreachable or asks for a retry; nothing was changed.
    #[error("the database is unavailable: {0}")]
    #[code("store/unavailable", Unavailable, retry_after = 1)]
    Unavailable(String),
    /// A defect on our side: an invalid row, a violated constraint, a panic; nothing was changed.
    #[error("the store failed: {0}")]
    #[code("store/internal", Internal)]
    Internal(String),
}

/// The result of every store method.
pub type Result<T> = std::result::Result<T, StoreError>;

impl StoreError {
    /// A failure to start or connect, with all its causes in one line.
    pub(crate) fn unavailable(cause: &dyn StdError) -> Self {
        Self::Unavailable(causes(cause))
    }

    /// A failed COMMIT: if the connection broke during it, the outcome is unknown.
    pub(crate) fn of_commit(error: Diesel) -> Self {
        if is_connection_lost(&error) { Self::Deadline } else { error.into() }
    }
}

impl From<Diesel> for StoreError {
    fn from(error: Diesel) -> Self {
        match &error {
            error if is_connection_lost(error) => Self::Unavailable(error.to_string()),
            Diesel::DatabaseError(_, info) if is_transient(info.message()) => {
                Self::Unavailable(info.message().to_owned())
            }
            Diesel::BrokenTransactionManager => {
                Self::Unavailable("transaction state is broken".into())
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

/// Whether the connection itself is gone.
fn is_connection_lost(error: &Diesel) -> bool {
    use DatabaseErrorKind::{ClosedConnection, UnableToSendCommand};
    matches!(error, Diesel::DatabaseError(ClosedConnection | UnableToSendCommand, _))
}

/// Transient conditions: diesel has no kind of its own for them with either database.
fn is_transient(message: &str) -> bool {
    const PATTERNS: [&str; 9] = [
        "database is locked",              // SQLite: another process writes
        "database or disk is full",        // SQLite
        "canceling statement due to",      // PostgreSQL: statement_timeout, lock_timeout
        "terminating connection",          // PostgreSQL: shutting down
        "the database system is",          // PostgreSQL: starting up or shutting down
        "deadlock detected",               // PostgreSQL: the other transaction won
        "could not serialize access",      // PostgreSQL
        "remaining connection slots",      // PostgreSQL: too many clients
        "sorry, too many clients already", // PostgreSQL
    ];
    PATTERNS.iter().any(|pattern| message.contains(pattern))
}

/// An error and its causes in one line.
pub(crate) fn causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let part = cause.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = cause.source();
    }
    text
}
