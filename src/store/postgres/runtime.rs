//! The current-thread runtime that drives one connection, with a limit on each statement.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::async_connection_wrapper::BlockOn;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

thread_local! {
    /// Holds a runtime between [`OwnRuntime::set_for_next_connection`] and the wrapper's request
    /// for it: the wrapper creates its own runtime and takes no argument.
    static NEXT_RUNTIME: RefCell<Option<OwnRuntime>> = const { RefCell::new(None) };
}

/// A runtime, the task on it that does a connection's I/O, and the limit of a statement.
#[derive(Clone)]
pub(crate) struct OwnRuntime {
    /// Drives everything of this connection.
    pub(super) runtime: Arc<Runtime>,
    /// The task that reads and writes the socket.
    pub(super) io_task: AbortHandle,
    /// How long a statement may take; `None` without limit.
    pub(super) statement_timeout: Option<Duration>,
}

impl OwnRuntime {
    /// Makes this the runtime of the next wrapper created on this thread.
    pub(super) fn set_for_next_connection(self) {
        NEXT_RUNTIME.set(Some(self));
    }

    /// Whether the connection is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.io_task.is_finished()
    }

    /// Whether the connection is closed, after giving the I/O task a moment to notice: it runs only
    /// during statements, and so has not seen what arrived since. Costs no round trip.
    pub(super) fn poll_is_closed(&self) -> bool {
        self.runtime.block_on(async {
            // One turn reads the socket's events, the next runs the task, the last is spare.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
        self.is_closed()
    }
}

impl BlockOn for OwnRuntime {
    /// A server that is stopped but not dead acknowledges packets and sends nothing: no time-out of
    /// TCP or of its own fires. So the connection is closed from here, and the statement fails.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(async {
            let mut future = pin!(future);
            if let Some(statement_timeout) = self.statement_timeout {
                match tokio::time::timeout(statement_timeout, &mut future).await {
                    Ok(output) => return output,
                    Err(_) => self.io_task.abort(),
                }
            }
            future.await
        })
    }

    #[expect(clippy::expect_used, reason = "only `PgConnectionManager::open` creates connections")]
    fn get_runtime() -> Self {
        NEXT_RUNTIME.take().expect("the runtime is set before its connection is created")
    }
}
