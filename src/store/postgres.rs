//! Everything that is PostgreSQL only; the areas are compiled for it at the end.

use std::borrow::BorrowMut;

use diesel::QueryResult;
use diesel::connection::{SimpleConnection, TransactionManager};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

mod connect;
mod runtime;
mod tls;
pub(crate) mod words;

pub(crate) use self::connect::{Manager, Patience};
use crate::error::{Error, Result};

/// A synchronous connection that drives an asynchronous one on a runtime of its own.
pub(crate) type Conn = AsyncConnectionWrapper<AsyncPgConnection, runtime::OwnRuntime>;

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// The number of the advisory lock under which migrations run; any other program's would do,
/// as long as it is always the same.
const MIGRATION_LOCK: &str = "7316001";

pub(crate) fn begin(conn: &mut Conn) -> QueryResult<()> {
    <Conn as diesel::Connection>::TransactionManager::begin_transaction(conn)
}

/// Brings the tables up to date. Several nodes may start at once: diesel takes no lock of its
/// own, so one goes first and the others find nothing to do.
pub(crate) fn migrate(manager: &Manager) -> Result<()> {
    let mut line = manager.open(Patience::Endless)?;
    let conn: &mut Conn = line.borrow_mut();
    conn.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))?;
    let outcome = conn.run_pending_migrations(MIGRATIONS).map(drop);
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))?;
    outcome.map_err(|error| Error::Internal(crate::error::causes(error.as_ref())))
}

/// Holds the rows of a query until the end of the transaction; others may still refer to them.
macro_rules! held {
    ($query:expr) => {
        $query.for_no_key_update()
    };
}

#[path = "area/mod.rs"]
pub(crate) mod area;
