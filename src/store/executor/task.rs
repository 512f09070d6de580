//! One question on its way: what to do, until when, and who waits for the answer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::QueryResult;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Result, StoreError};

/// A question, whatever its answer looks like.
pub(super) trait DbJob<C>: Send {
    /// After this nobody waits any more.
    fn deadline(&self) -> Instant;

    /// Whether it needs no transaction.
    fn bare(&self) -> bool;

    /// Does it; says whether what it did is to be kept.
    fn run(&mut self, conn: &mut C) -> bool;

    /// Tells whoever waits, given how the transaction ended.
    fn answer(self: Box<Self>, end: Result<()>);
}

/// The one implementation.
pub(super) struct DbTask<T, F> {
    deed: Option<F>,
    bare: bool,
    deadline: Instant,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> DbTask<T, F> {
    pub(super) fn new(
        deed: F,
        bare: bool,
        deadline: Instant,
        reply: oneshot::Sender<Result<T>>,
    ) -> Self {
        Self { deed: Some(deed), bare, deadline, outcome: None, reply }
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

    fn bare(&self) -> bool {
        self.bare
    }

    fn run(&mut self, conn: &mut C) -> bool {
        let Some(deed) = self.deed.take() else { return false };
        // Caught inside the transaction: it rolls back, and the connection stays usable.
        let outcome = match catch_unwind(AssertUnwindSafe(|| deed(conn))) {
            Ok(outcome) => outcome.map_err(StoreError::from),
            Err(panic) => Err(StoreError::Internal(format!("a panic: {}", words(panic.as_ref())))),
        };
        let keep = outcome.is_ok();
        self.outcome = Some(outcome);
        keep
    }

    fn answer(self: Box<Self>, end: Result<()>) {
        let outcome = match (self.outcome, end) {
            // It failed by itself; how the transaction ended is no news.
            (Some(Err(own)), _) => Err(own),
            (_, Err(error)) => Err(error),
            (Some(outcome), Ok(())) => outcome,
            (None, Ok(())) => Err(StoreError::Internal("a job that never ran".into())),
        };
        let _ = self.reply.send(outcome); // whoever asked may have gone
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}
