//! Everything that is PostgreSQL only; the areas are compiled for it at the end.

use std::borrow::BorrowMut;

use base::clock::Timestamp;
use diesel::connection::{SimpleConnection, TransactionManager};
use diesel::dsl::sql;
use diesel::sql_types::{BigInt, Bool};
use diesel::{QueryResult, RunQueryDsl};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

mod connect;
mod lock;
mod runtime;
mod tls;
pub(crate) mod words;

pub(crate) use self::connect::{PgConnectionManager, StatementTimeout};
pub(crate) use self::lock::AdvisoryLock;
use crate::error::{Result, StoreError};
use crate::types::TimeSql;

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
pub(crate) fn migrate(manager: &PgConnectionManager) -> Result<()> {
    let mut line = manager.open(StatementTimeout::Endless)?;
    let conn: &mut Conn = line.borrow_mut();
    conn.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))?;
    let outcome = conn.run_pending_migrations(MIGRATIONS).map(drop);
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))?;
    outcome.map_err(|error| StoreError::Internal(crate::error::causes(error.as_ref())))
}

/// Holds the rows of a query until the end of the transaction; others may still refer to them.
macro_rules! held {
    ($query:expr) => {
        $query.for_no_key_update()
    };
}

/// Holds the rows of a query against change until the end of the transaction; others may do so too.
macro_rules! shared {
    ($query:expr) => {
        $query.for_share()
    };
}

/// The server's clock, which goes on within a transaction.
pub(crate) fn clock(conn: &mut Conn) -> QueryResult<Timestamp> {
    diesel::select(sql::<TimeSql>("clock_timestamp()")).get_result(conn)
}

/// When the server started: with it go all locks.
pub(crate) fn server_life(conn: &mut Conn) -> QueryResult<Timestamp> {
    diesel::select(sql::<TimeSql>("pg_postmaster_start_time()")).get_result(conn)
}

/// Whether nobody holds this advisory lock.
pub(crate) fn free_lock(conn: &mut Conn, number: i64) -> QueryResult<bool> {
    let take = sql::<Bool>("pg_try_advisory_xact_lock(").bind::<BigInt, _>(number).sql(")");
    diesel::select(take).get_result(conn)
}

#[path = "queries/mod.rs"]
pub(crate) mod queries;
