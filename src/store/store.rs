//! The store handle: selects the database and dispatches operations to it.

use std::sync::Arc;

use diesel_migrations::MigrationHarness;
use r2d2::{HandleError, ManageConnection, Pool};

use crate::config::StoreConfig;
use crate::error::{Result, StoreError, causes};
use crate::executor::{ConnectionExecutor, ExecutorConfig};
use crate::{postgres, sqlite};

/// A handle to the database; clones share it, and dropping the last one closes it.
///
/// Every method may fail with [`StoreError::Overloaded`], [`StoreError::Deadline`],
/// [`StoreError::Unavailable`] or [`StoreError::Internal`], and with nothing else.
#[derive(Clone)]
pub struct Store {
    pub(crate) backend: Arc<Backend>,
}

/// The executors of the open database.
pub(crate) enum Backend {
    /// One writer, and readers that never wait for it.
    Sqlite {
        /// Write operations, many of them in one COMMIT.
        writer: ConnectionExecutor<sqlite::Conn>,
        /// Read operations, each on one snapshot of the database.
        readers: ConnectionExecutor<sqlite::Conn>,
    },
    /// One executor for reads and writes.
    Postgres(ConnectionExecutor<postgres::Conn>),
}

/// Runs `module::query(conn, …)` of the open database in a read-write transaction.
macro_rules! write_tx {
    ($store:expr, $module:ident :: $query:ident ( $($arg:expr),* $(,)? )) => {
        match &*$store.backend {
            $crate::store::Backend::Sqlite { writer, .. } => {
                writer
                    .transaction(move |c| $crate::sqlite::queries::$module::$query(c, $($arg),*))
                    .await
            }
            $crate::store::Backend::Postgres(executor) => {
                executor
                    .transaction(move |c| $crate::postgres::queries::$module::$query(c, $($arg),*))
                    .await
            }
        }
    };
}

/// Runs the read-only `module::query(conn, …)` of the open database.
macro_rules! read_tx {
    ($store:expr, $module:ident :: $query:ident ( $($arg:expr),* $(,)? )) => {
        match &*$store.backend {
            $crate::store::Backend::Sqlite { readers, .. } => {
                readers
                    .transaction(move |c| $crate::sqlite::queries::$module::$query(c, $($arg),*))
                    .await
            }
            // Autocommit sees what a READ COMMITTED transaction would, and saves two round trips.
            $crate::store::Backend::Postgres(executor) => {
                executor
                    .autocommit(move |c| $crate::postgres::queries::$module::$query(c, $($arg),*))
                    .await
            }
        }
    };
}

pub(crate) use read_tx;
pub(crate) use write_tx;

impl Store {
    /// Opens the database after running all pending migrations.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it cannot be reached, [`StoreError::Internal`] if the URL is
    /// invalid or a migration fails.
    pub async fn open(config: StoreConfig) -> Result<Self> {
        let backend = run_blocking(move || open(&config)).await?;
        Ok(Self { backend: Arc::new(backend) })
    }

    /// The names of the migrations that [`Store::open`] would run, oldest first; runs none.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn pending_migrations(config: StoreConfig) -> Result<Vec<String>> {
        run_blocking(move || pending(&config)).await
    }

    /// Checks that the database answers a query.
    pub async fn ping(&self) -> Result<()> {
        read_tx!(self, housekeeping::ping())
    }

    /// The database in use: `sqlite` or `postgres`.
    pub fn backend(&self) -> &'static str {
        match *self.backend {
            Backend::Sqlite { .. } => "sqlite",
            Backend::Postgres(_) => "postgres",
        }
    }

    /// Number of operations waiting for a thread.
    pub fn queued(&self) -> usize {
        match &*self.backend {
            Backend::Sqlite { writer, readers } => writer.queued() + readers.queued(),
            Backend::Postgres(executor) => executor.queued(),
        }
    }
}

/// Runs a blocking function on tokio's blocking pool.
async fn run_blocking<T: Send + 'static>(
    operation: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(operation)
        .await
        .unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
}

/// The two kinds of database URL.
enum DatabaseUrl<'a> {
    File(&'a str),
    Server(&'a str),
}

fn parse_url(url: &str) -> Result<DatabaseUrl<'_>> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(DatabaseUrl::Server(url));
    }
    match url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
        Some(path) if !path.is_empty() && path != ":memory:" => Ok(DatabaseUrl::File(path)),
        // An in-memory database would differ for each connection.
        _ => {
            Err(StoreError::Internal("the database URL must be sqlite:PATH or postgres://…".into()))
        }
    }
}

/// The URL if it names a PostgreSQL server, `None` for SQLite.
pub(crate) fn postgres_url(url: &str) -> Result<Option<&str>> {
    Ok(match parse_url(url)? {
        DatabaseUrl::File(_) => None,
        DatabaseUrl::Server(url) => Some(url),
    })
}

fn open(config: &StoreConfig) -> Result<Backend> {
    let config_for = |threads, max_group| ExecutorConfig {
        threads,
        queue_capacity: config.queue_capacity,
        max_group,
        timeout: config.deadline,
    };
    match parse_url(&config.url)? {
        DatabaseUrl::File(path) => {
            let manager = |query_only| sqlite::SqliteConnectionManager {
                path: path.to_owned(),
                synchronous: config.synchronous,
                query_only,
            };
            let mut conn = manager(false).connect()?;
            conn.run_pending_migrations(sqlite::MIGRATIONS)
                .map_err(|e| migration_error(e.as_ref()))?;
            drop(conn);
            let count = config.readers.max(1);
            let (writer, readers) = (pool(manager(false), 1), pool(manager(true), count));
            let max_group = config.max_group_size.max(1);
            Ok(Backend::Sqlite {
                writer: ConnectionExecutor::start(
                    "sqlite-write",
                    &writer,
                    config_for(1, max_group),
                    sqlite::begin,
                )?,
                readers: ConnectionExecutor::start(
                    "sqlite-read",
                    &readers,
                    config_for(count, 1),
                    sqlite::begin_snapshot,
                )?,
            })
        }
        DatabaseUrl::Server(url) => {
            let manager = postgres::PgConnectionManager::new(url)?;
            postgres::migrate(&manager)?;
            let count = config.connections.max(1);
            let pool = pool(manager, count);
            Ok(Backend::Postgres(ConnectionExecutor::start(
                "postgres",
                &pool,
                config_for(count, 1),
                postgres::begin,
            )?))
        }
    }
}

fn pending(config: &StoreConfig) -> Result<Vec<String>> {
    use std::borrow::BorrowMut;
    let pending = match parse_url(&config.url)? {
        DatabaseUrl::File(path) => {
            let synchronous = config.synchronous;
            let path = path.to_owned();
            let mut conn = sqlite::SqliteConnectionManager { path, synchronous, query_only: false }
                .connect()?;
            conn.pending_migrations(sqlite::MIGRATIONS).map(names)
        }
        DatabaseUrl::Server(url) => {
            let mut connection = postgres::PgConnectionManager::new(url)?
                .open(postgres::StatementTimeout::Unlimited)?;
            let conn: &mut postgres::Conn = connection.borrow_mut();
            conn.pending_migrations(postgres::MIGRATIONS).map(names)
        }
    };
    pending.map_err(|error| migration_error(error.as_ref()))
}

fn names<DB: diesel::backend::Backend>(
    migrations: Vec<Box<dyn diesel::migration::Migration<DB>>>,
) -> Vec<String> {
    migrations.iter().map(|migration| migration.name().to_string()).collect()
}

fn migration_error(error: &(dyn std::error::Error + 'static)) -> StoreError {
    StoreError::Internal(causes(error))
}

/// A pool that opens connections on demand, and again after they break.
fn pool<M: ManageConnection<Error = StoreError>>(manager: M, size: u32) -> Pool<M> {
    Pool::builder()
        .max_size(size)
        // Also the upper bound of the growing pause between two connection attempts.
        .connection_timeout(std::time::Duration::from_secs(1))
        .error_handler(Box::new(ConnectionErrorLog))
        .build_unchecked(manager)
}

/// Logs that a connection could not be opened or was found broken.
#[derive(Debug)]
struct ConnectionErrorLog;

impl HandleError<StoreError> for ConnectionErrorLog {
    fn handle_error(&self, error: StoreError) {
        tracing::warn!(%error, "database connection error");
    }
}
