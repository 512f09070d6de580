//! One queued database operation: what to run, until when, and who waits for the result.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::QueryResult;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Result, StoreError};

/// A queued operation, independent of its result type.
pub(super) trait DbJob<C>: Send {
    /// The instant after which nobody waits for the result.
    fn deadline(&self) -> Instant;

    /// Whether it runs without a transaction.
    fn is_autocommit(&self) -> bool;

    /// Runs the operation; true if its changes are to be committed.
    fn run(&mut self, conn: &mut C) -> bool;

    /// Sends the result to the caller, given how the transaction ended.
    fn send_result(self: Box<Self>, tx_result: Result<()>);
}

/// The implementation of [`DbJob`] for a closure and its result channel.
pub(super) struct DbTask<T, F> {
    operation: Option<F>,
    is_autocommit: bool,
    deadline: Instant,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> DbTask<T, F> {
    pub(super) fn new(
        operation: F,
        is_autocommit: bool,
        deadline: Instant,
        reply: oneshot::Sender<Result<T>>,
    ) -> Self {
        Self { operation: Some(operation), is_autocommit, deadline, outcome: None, reply }
    }
}

impl<C, T, F> DbJob<C> for DbTask<T, F>
where
    T: Send,
    F: FnOnce(&mut C) -> QueryResult<T> + Send,
{
    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn is_autocommit(&self) -> bool {
        self.is_autocommit
    }

    fn run(&mut self, conn: &mut C) -> bool {
        let Some(operation) = self.operation.take() else { return false };
        // Caught inside the transaction: it rolls back, and the connection stays usable.
        let outcome = match catch_unwind(AssertUnwindSafe(|| operation(conn))) {
            Ok(outcome) => outcome.map_err(StoreError::from),
            Err(panic) => {
                Err(StoreError::Internal(format!("panic: {}", panic_message(panic.as_ref()))))
            }
        };
        let commit = outcome.is_ok();
        self.outcome = Some(outcome);
        commit
    }

    fn send_result(self: Box<Self>, tx_result: Result<()>) {
        let outcome = match (self.outcome, tx_result) {
            // The operation itself failed; how the transaction ended does not matter.
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error),
            (Some(outcome), Ok(())) => outcome,
            (None, Ok(())) => Err(StoreError::Internal("the job never ran".into())),
        };
        let _ = self.reply.send(outcome); // the caller may be gone
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
