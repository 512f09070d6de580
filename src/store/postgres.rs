//! The PostgreSQL-specific part; the query modules are compiled for it at the end.

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

/// A synchronous connection that drives an asynchronous one on its own runtime.
pub(crate) type Conn = AsyncConnectionWrapper<AsyncPgConnection, runtime::OwnRuntime>;

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Number of the advisory lock under which migrations run; arbitrary, but it must never change.
const MIGRATION_LOCK: &str = "7316001";

pub(crate) fn begin(conn: &mut Conn) -> QueryResult<()> {
    <Conn as diesel::Connection>::TransactionManager::begin_transaction(conn)
}

/// Runs the pending migrations. Several nodes may start at once and diesel takes no lock of its
/// own, so one runs them and the others find nothing to do.
pub(crate) fn migrate(manager: &PgConnectionManager) -> Result<()> {
    let mut connection = manager.open(StatementTimeout::Unlimited)?;
    let conn: &mut Conn = connection.borrow_mut();
    conn.batch_execute(&format!("SELECT pg_advisory_lock({MIGRATION_LOCK})"))?;
    let outcome = conn.run_pending_migrations(MIGRATIONS).map(drop);
    conn.batch_execute(&format!("SELECT pg_advisory_unlock({MIGRATION_LOCK})"))?;
    outcome.map_err(|error| StoreError::Internal(crate::error::causes(error.as_ref())))
}

/// Locks the rows of a query until the end of the transaction (FOR NO KEY UPDATE); other
/// transactions may still reference them.
macro_rules! for_update {
    ($query:expr) => {
        $query.for_no_key_update()
    };
}

/// Share-locks the rows of a query until the end of the transaction (FOR SHARE); several
/// transactions may do so.
macro_rules! for_share {
    ($query:expr) => {
        $query.for_share()
    };
}

/// The server's clock, which advances within a transaction.
pub(crate) fn current_time(conn: &mut Conn) -> QueryResult<Timestamp> {
    diesel::select(sql::<TimeSql>("clock_timestamp()")).get_result(conn)
}

/// When the server started: a restart releases all locks.
pub(crate) fn server_started_at(conn: &mut Conn) -> QueryResult<Timestamp> {
    diesel::select(sql::<TimeSql>("pg_postmaster_start_time()")).get_result(conn)
}

/// Whether nobody holds this advisory lock.
pub(crate) fn is_lock_free(conn: &mut Conn, number: i64) -> QueryResult<bool> {
    let try_lock = sql::<Bool>("pg_try_advisory_xact_lock(").bind::<BigInt, _>(number).sql(")");
    diesel::select(try_lock).get_result(conn)
}

#[path = "queries/mod.rs"]
pub(crate) mod queries;
