//! Configuration needed to open the store.

use std::time::Duration;

/// When SQLite's COMMIT returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SqliteSynchronous {
    /// After the log is flushed to disk: acknowledged commits survive a power cut.
    #[default]
    Full,
    /// After the operating system has the log: a power cut loses the last commits but never
    /// reorders them.
    Normal,
}

/// Settings with which a store is opened.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite:PATH`, or `postgres://user:password@host:port/name?sslmode=…`.
    ///
    /// PostgreSQL's `sslmode` has libpq's meaning: `disable` never encrypts; `prefer` (the default)
    /// encrypts if the server supports it and verifies nothing; `require` insists on encryption and
    /// verifies only if `sslrootcert` names a PEM file (or `system`); `verify-full` verifies the
    /// chain and the host name against `sslrootcert`, or else the system's roots. `verify-ca` is
    /// accepted and treated as `verify-full`.
    pub url: String,
    /// Connections to PostgreSQL, each with its own thread. SQLite always has one writer.
    pub connections: u32,
    /// Reading connections to SQLite, each with its own thread. PostgreSQL ignores this.
    pub readers: u32,
    /// Operations that may wait for a thread (of each kind); one more fails with `Overloaded` at
    /// once.
    pub queue_capacity: usize,
    /// How long a caller waits for a result.
    pub deadline: Duration,
    /// SQLite: how many write operations may share one COMMIT (group commit).
    pub max_group_size: usize,
    /// SQLite: when a COMMIT returns.
    pub synchronous: SqliteSynchronous,
}

impl StoreConfig {
    /// The default settings for the database at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: 8,
            readers: 4,
            queue_capacity: 1024,
            deadline: Duration::from_millis(1500),
            max_group_size: 256,
            synchronous: SqliteSynchronous::Full,
        }
    }
}

/// Omits the URL: it may contain a password.
impl std::fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreConfig")
            .field("connections", &self.connections)
            .field("readers", &self.readers)
            .field("queue_capacity", &self.queue_capacity)
            .field("deadline", &self.deadline)
            .field("max_group_size", &self.max_group_size)
            .field("synchronous", &self.synchronous)
            .finish_non_exhaustive()
    }
}
