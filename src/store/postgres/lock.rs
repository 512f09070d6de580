//! A lock that ends with the process: a connection of its own that does nothing else.

use std::borrow::BorrowMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;

use super::{Conn, PgConnectionManager, StatementTimeout};
use crate::error::{Result, StoreError};

/// How often it is seen whether the connection still stands.
const LOCK_CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The server is to notice a cut later than we do (3, 1, 5 against our 2, 1, 2 s), so that we have
/// stopped before the lock is free.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; \
                         SET tcp_keepalives_count = 5";

/// Held as long as this lives and the connection stands; taken again whenever it breaks.
pub(crate) struct AdvisoryLock {
    shared: Arc<AdvisoryLockShared>,
    thread: Thread,
}

#[derive(Default)]
struct AdvisoryLockShared {
    held: AtomicBool,
    over: AtomicBool,
}

impl AdvisoryLock {
    /// Takes the advisory lock of this number in the background.
    pub(crate) fn take(url: &str, number: i64) -> Result<Self> {
        let manager = PgConnectionManager::new(url)?;
        let shared = Arc::new(AdvisoryLockShared::default());
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("postgres-lock".into())
            .spawn(move || {
                while !mine.over.load(Ordering::Acquire) {
                    if let Err(error) = hold(&manager, number, &mine) {
                        tracing::warn!(%error, "node advisory lock error");
                    }
                    mine.held.store(false, Ordering::Release);
                    std::thread::park_timeout(LOCK_CHECK_INTERVAL / 2);
                }
            })
            .map_err(|error| StoreError::unavailable(&error))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Whether it is held just now.
    pub(crate) fn is_held(&self) -> bool {
        self.shared.held.load(Ordering::Acquire)
    }
}

impl Drop for AdvisoryLock {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn hold(manager: &PgConnectionManager, number: i64, shared: &AdvisoryLockShared) -> Result<()> {
    let mut line = manager.open(StatementTimeout::Short)?;
    let conn: &mut Conn = line.borrow_mut();
    conn.batch_execute(&format!("{KEEPALIVE}; SELECT pg_advisory_lock({number})"))?;
    shared.held.store(true, Ordering::Release);
    while !shared.over.load(Ordering::Acquire) {
        std::thread::park_timeout(LOCK_CHECK_INTERVAL);
        conn.batch_execute("SELECT 1")?;
    }
    Ok(())
}
