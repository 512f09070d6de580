//! A lock that ends with the process: a dedicated connection that does nothing else.

use std::borrow::BorrowMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;

use super::{Conn, PgConnectionManager, StatementTimeout};
use crate::error::{Result, StoreError};

/// How often the connection is checked.
const LOCK_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The server must notice a broken connection later than this node (keepalive 3, 1, 5 against our
/// 2, 1, 2 s), so that this node has stopped before the lock is free.
const SET_KEEPALIVE: &str = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; \
                         SET tcp_keepalives_count = 5";

/// Held while this value lives and the connection stands; acquired again whenever it breaks.
pub(crate) struct AdvisoryLock {
    shared: Arc<AdvisoryLockShared>,
    thread: Thread,
}

#[derive(Default)]
struct AdvisoryLockShared {
    is_held: AtomicBool,
    is_stopped: AtomicBool,
}

impl AdvisoryLock {
    /// Acquires the advisory lock with this number in the background.
    pub(crate) fn take(url: &str, number: i64) -> Result<Self> {
        let manager = PgConnectionManager::new(url)?;
        let shared = Arc::new(AdvisoryLockShared::default());
        let thread_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("postgres-lock".into())
            .spawn(move || {
                while !thread_shared.is_stopped.load(Ordering::Acquire) {
                    if let Err(error) = acquire_and_hold(&manager, number, &thread_shared) {
                        tracing::warn!(%error, "node advisory lock error");
                    }
                    thread_shared.is_held.store(false, Ordering::Release);
                    std::thread::park_timeout(LOCK_CHECK_INTERVAL / 2);
                }
            })
            .map_err(|error| StoreError::unavailable(&error))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Whether the lock is held right now.
    pub(crate) fn is_held(&self) -> bool {
        self.shared.is_held.load(Ordering::Acquire)
    }
}

impl Drop for AdvisoryLock {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn acquire_and_hold(
    manager: &PgConnectionManager,
    number: i64,
    shared: &AdvisoryLockShared,
) -> Result<()> {
    let mut connection = manager.open(StatementTimeout::Normal)?;
    let conn: &mut Conn = connection.borrow_mut();
    conn.batch_execute(&format!("{SET_KEEPALIVE}; SELECT pg_advisory_lock({number})"))?;
    shared.is_held.store(true, Ordering::Release);
    while !shared.is_stopped.load(Ordering::Acquire) {
        std::thread::park_timeout(LOCK_CHECK_INTERVAL);
        conn.batch_execute("SELECT 1")?;
    }
    Ok(())
}
