//! The store itself: which database, and the way of a question to it.

use std::sync::Arc;

use diesel_migrations::MigrationHarness;
use r2d2::{HandleError, ManageConnection, Pool};

use crate::config::StoreConfig;
use crate::error::{Result, StoreError, causes};
use crate::executor::{ConnectionExecutor, ExecutorConfig};
use crate::{postgres, sqlite};

/// A handle to the database; clones share it, and the last one dropped closes it.
///
/// Every method may fail with [`StoreError::Overloaded`], [`StoreError::Deadline`],
/// [`StoreError::Unavailable`] or [`StoreError::Internal`], and with nothing else.
#[derive(Clone)]
pub struct Store {
    pub(crate) backend: Arc<Backend>,
}

/// The lanes of the open database.
pub(crate) enum Backend {
    /// One writer, and readers who never wait for it.
    Sqlite {
        /// Changes, many of them in one COMMIT.
        writer: ConnectionExecutor<sqlite::Conn>,
        /// Questions, each on one state of the database.
        readers: ConnectionExecutor<sqlite::Conn>,
    },
    /// Everything in one lane.
    Postgres(ConnectionExecutor<postgres::Conn>),
}

/// Runs `area::deed(conn, …)` of the open database in a transaction.
macro_rules! change {
    ($store:expr, $area:ident :: $deed:ident ( $($arg:expr),* $(,)? )) => {
        match &*$store.backend {
            $crate::store::Backend::Sqlite { writer, .. } => {
                writer.change(move |c| $crate::sqlite::queries::$area::$deed(c, $($arg),*)).await
            }
            $crate::store::Backend::Postgres(lane) => {
                lane.change(move |c| $crate::postgres::queries::$area::$deed(c, $($arg),*)).await
            }
        }
    };
}

/// Asks `area::deed(conn, …)` of the open database, which only reads.
macro_rules! look {
    ($store:expr, $area:ident :: $deed:ident ( $($arg:expr),* $(,)? )) => {
        match &*$store.backend {
            $crate::store::Backend::Sqlite { readers, .. } => {
                readers.change(move |c| $crate::sqlite::queries::$area::$deed(c, $($arg),*)).await
            }
            // Autocommit shows what a READ COMMITTED transaction would, two round trips sooner.
            $crate::store::Backend::Postgres(lane) => {
                lane.look(move |c| $crate::postgres::queries::$area::$deed(c, $($arg),*)).await
            }
        }
    };
}

pub(crate) use {change, look};

impl Store {
    /// Opens the database, after bringing its tables up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if it cannot be reached, [`StoreError::Internal`] if the URL makes no
    /// sense or a migration fails.
    pub async fn open(config: StoreConfig) -> Result<Self> {
        let backend = apart(move || open(&config)).await?;
        Ok(Self { backend: Arc::new(backend) })
    }

    /// The migrations that [`Store::open`] would run, oldest first; runs none.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn pending_migrations(config: StoreConfig) -> Result<Vec<String>> {
        apart(move || pending(&config)).await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        look!(self, housekeeping::ping())
    }

    /// `sqlite` or `postgres`.
    pub fn backend(&self) -> &'static str {
        match *self.backend {
            Backend::Sqlite { .. } => "sqlite",
            Backend::Postgres(_) => "postgres",
        }
    }

    /// How many questions wait for a thread.
    pub fn queued(&self) -> usize {
        match &*self.backend {
            Backend::Sqlite { writer, readers } => writer.queued() + readers.queued(),
            Backend::Postgres(lane) => lane.queued(),
        }
    }
}

/// Runs what blocks where it may.
async fn apart<T: Send + 'static>(deed: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(deed)
        .await
        .unwrap_or_else(|error| Err(StoreError::Internal(error.to_string())))
}

/// Where a URL leads.
enum DatabaseUrl<'a> {
    File(&'a str),
    Server(&'a str),
}

fn place(url: &str) -> Result<DatabaseUrl<'_>> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(DatabaseUrl::Server(url));
    }
    match url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
        Some(path) if !path.is_empty() && path != ":memory:" => Ok(DatabaseUrl::File(path)),
        // Of a database in memory each connection would have its own.
        _ => Err(StoreError::Internal("a database URL is sqlite:PATH or postgres://…".into())),
    }
}

/// The URL, if it leads to a server.
pub(crate) fn postgres_url(url: &str) -> Result<Option<&str>> {
    Ok(match place(url)? {
        DatabaseUrl::File(_) => None,
        DatabaseUrl::Server(url) => Some(url),
    })
}

fn open(config: &StoreConfig) -> Result<Backend> {
    let shape = |threads, group| ExecutorConfig {
        threads,
        queue: config.queue,
        group,
        deadline: config.deadline,
    };
    match place(&config.url)? {
        DatabaseUrl::File(path) => {
            let manager = |query_only| sqlite::SqliteConnectionManager {
                path: path.to_owned(),
                synchronous: config.synchronous,
                query_only,
            };
            let mut conn = manager(false).connect()?;
            conn.run_pending_migrations(sqlite::MIGRATIONS).map_err(|e| refused(e.as_ref()))?;
            drop(conn);
            let count = config.readers.max(1);
            let (writer, readers) = (pool(manager(false), 1), pool(manager(true), count));
            let group = config.group.max(1);
            Ok(Backend::Sqlite {
                writer: ConnectionExecutor::start(
                    "sqlite-write",
                    &writer,
                    shape(1, group),
                    sqlite::begin,
                )?,
                readers: ConnectionExecutor::start(
                    "sqlite-read",
                    &readers,
                    shape(count, 1),
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
                shape(count, 1),
                postgres::begin,
            )?))
        }
    }
}

fn pending(config: &StoreConfig) -> Result<Vec<String>> {
    use std::borrow::BorrowMut;
    let pending = match place(&config.url)? {
        DatabaseUrl::File(path) => {
            let synchronous = config.synchronous;
            let path = path.to_owned();
            let mut conn = sqlite::SqliteConnectionManager { path, synchronous, query_only: false }
                .connect()?;
            conn.pending_migrations(sqlite::MIGRATIONS).map(names)
        }
        DatabaseUrl::Server(url) => {
            let mut line = postgres::PgConnectionManager::new(url)?
                .open(postgres::StatementTimeout::Endless)?;
            let conn: &mut postgres::Conn = line.borrow_mut();
            conn.pending_migrations(postgres::MIGRATIONS).map(names)
        }
    };
    pending.map_err(|error| refused(error.as_ref()))
}

fn names<DB: diesel::backend::Backend>(
    migrations: Vec<Box<dyn diesel::migration::Migration<DB>>>,
) -> Vec<String> {
    migrations.iter().map(|migration| migration.name().to_string()).collect()
}

fn refused(error: &(dyn std::error::Error + 'static)) -> StoreError {
    StoreError::Internal(causes(error))
}

/// A pool that opens its connections as they are needed, and again after they break.
fn pool<M: ManageConnection<Error = StoreError>>(manager: M, size: u32) -> Pool<M> {
    Pool::builder()
        .max_size(size)
        // Also what the growing pause between two attempts to connect is capped by.
        .connection_timeout(std::time::Duration::from_secs(1))
        .error_handler(Box::new(ConnectionErrorLog))
        .build_unchecked(manager)
}

/// Says that a connection could not be opened, or was found broken.
#[derive(Debug)]
struct ConnectionErrorLog;

impl HandleError<StoreError> for ConnectionErrorLog {
    fn handle_error(&self, error: StoreError) {
        tracing::warn!(%error, "database connection error");
    }
}
