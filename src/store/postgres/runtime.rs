//! The runtime that drives one connection: a current-thread one, and not for ever.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::async_connection_wrapper::BlockOn;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

thread_local! {
    /// Where a runtime waits between [`OwnRuntime::hand_over`] and the wrapper that asks for it:
    /// the wrapper makes its own and takes no argument.
    static HANDOVER: RefCell<Option<OwnRuntime>> = const { RefCell::new(None) };
}

/// A runtime, the task on it that moves a connection's bytes, and how long a statement may take.
#[derive(Clone)]
pub(crate) struct OwnRuntime {
    /// Drives everything of this connection.
    pub(super) runtime: Arc<Runtime>,
    /// Moves the bytes.
    pub(super) wire: AbortHandle,
    /// `None`: as long as it takes.
    pub(super) patience: Option<Duration>,
}

impl OwnRuntime {
    /// Makes this the runtime of the next wrapper that is made on this thread.
    pub(super) fn hand_over(self) {
        HANDOVER.set(Some(self));
    }

    /// Whether the connection is known to be gone.
    pub(super) fn is_cut(&self) -> bool {
        self.wire.is_finished()
    }

    /// Whether the connection is gone, after the task had a moment to notice: it runs only while
    /// something is asked, and so has not seen what came since. Costs no round trip.
    pub(super) fn finds_itself_cut(&self) -> bool {
        self.runtime.block_on(async {
            // One turn reads the socket's events, the next runs the task, the last is spare.
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        });
        self.is_cut()
    }
}

impl BlockOn for OwnRuntime {
    /// A server that is stopped but not dead acknowledges packets and says nothing: no time-out
    /// of TCP or of its own fires. So we cut the wire ourselves, and the statement fails.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(async {
            let mut future = pin!(future);
            if let Some(patience) = self.patience {
                match tokio::time::timeout(patience, &mut future).await {
                    Ok(output) => return output,
                    Err(_) => self.wire.abort(),
                }
            }
            future.await
        })
    }

    #[expect(clippy::expect_used, reason = "`Manager::open` is the only maker of connections")]
    fn get_runtime() -> Self {
        HANDOVER.take().expect("a connection is made after its runtime was handed over")
    }
}
