//! What the store needs to know to open.

use std::time::Duration;

/// When SQLite's COMMIT returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqliteSynchronous {
    /// After the log is on the disk: what was acknowledged survives a power cut.
    #[default]
    Full,
    /// After the operating system has it: a power cut loses the last commits, never the order.
    Normal,
}

/// How to open a store.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite:PATH`, or `postgres://user:password@host:port/name?sslmode=…`.
    ///
    /// PostgreSQL's `sslmode` means what it means to libpq: `disable` never encrypts; `prefer`
    /// (the default) encrypts if the server can, and verifies nothing; `require` insists on
    /// encryption, and verifies only if `sslrootcert` names a PEM file (or `system`);
    /// `verify-full` verifies the chain and the name, against `sslrootcert` or else the system's
    /// roots. `verify-ca` is accepted and treated as `verify-full`.
    pub url: String,
    /// Connections to PostgreSQL, each with a thread; SQLite has one writer whatever this says.
    pub connections: u32,
    /// Reading connections to SQLite, each with a thread; PostgreSQL does not use this.
    pub readers: u32,
    /// Questions that may wait for a thread (of each kind); one more is `Overloaded` at once.
    pub queue: usize,
    /// How long a caller waits for an answer.
    pub deadline: Duration,
    /// SQLite: how many changes may share one COMMIT.
    pub group: usize,
    /// SQLite: when a COMMIT returns.
    pub synchronous: SqliteSynchronous,
}

impl StoreConfig {
    /// The usual settings for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: 8,
            readers: 4,
            queue: 1024,
            deadline: Duration::from_millis(1500),
            group: 256,
            synchronous: SqliteSynchronous::Full,
        }
    }
}

/// Without the URL: it may hold a password.
impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("connections", &self.connections)
            .field("readers", &self.readers)
            .field("queue", &self.queue)
            .field("deadline", &self.deadline)
            .field("group", &self.group)
            .field("synchronous", &self.synchronous)
            .finish_non_exhaustive()
    }
}
