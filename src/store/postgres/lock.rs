//! A lock that ends with the process: a connection of its own that does nothing else.

use std::borrow::BorrowMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;

use super::{Conn, Manager, Patience};
use crate::error::{Error, Result};

/// How often it is seen whether the connection still stands.
const LOOK: Duration = Duration::from_millis(500);

/// The server is to notice a cut later than we do (3, 1, 5 against our 2, 1, 2 s), so that we have
/// stopped before the lock is free.
const KEEPALIVE: &str = "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; \
                         SET tcp_keepalives_count = 5";

/// Held as long as this lives and the connection stands; taken again whenever it breaks.
pub(crate) struct Lock {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    held: AtomicBool,
    over: AtomicBool,
}

impl Lock {
    /// Takes the advisory lock of this number in the background.
    pub(crate) fn take(url: &str, number: i64) -> Result<Self> {
        let manager = Manager::new(url)?;
        let shared = Arc::new(Shared::default());
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("postgres-lock".into())
            .spawn(move || {
                while !mine.over.load(Ordering::Acquire) {
                    if let Err(error) = hold(&manager, number, &mine) {
                        tracing::warn!(%error, "the lock of this node");
                    }
                    mine.held.store(false, Ordering::Release);
                    std::thread::park_timeout(LOOK / 2);
                }
            })
            .map_err(|error| Error::unavailable(&error))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Whether it is held just now.
    pub(crate) fn is_held(&self) -> bool {
        self.shared.held.load(Ordering::Acquire)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

fn hold(manager: &Manager, number: i64, shared: &Shared) -> Result<()> {
    let mut line = manager.open(Patience::Short)?;
    let conn: &mut Conn = line.borrow_mut();
    conn.batch_execute(&format!("{KEEPALIVE}; SELECT pg_advisory_lock({number})"))?;
    shared.held.store(true, Ordering::Release);
    while !shared.over.load(Ordering::Acquire) {
        std::thread::park_timeout(LOOK);
        conn.batch_execute("SELECT 1")?;
    }
    Ok(())
}
