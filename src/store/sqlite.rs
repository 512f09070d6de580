//! The SQLite-specific part; the query modules are compiled for it at the end.

use base::clock::Timestamp;
use diesel::connection::{
    AnsiTransactionManager, Connection, SimpleConnection, TransactionManager,
};
use diesel::dsl::sql;
use diesel::sqlite::SqliteConnection;
use diesel::{QueryResult, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use r2d2::ManageConnection;

use crate::config::SqliteSynchronous;
use crate::error::StoreError;
use crate::types::TimeSql;

pub(crate) type Conn = SqliteConnection;

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// Opens connections to one database file.
pub(crate) struct SqliteConnectionManager {
    /// Path of the database file.
    pub(crate) path: String,
    /// When its COMMIT returns.
    pub(crate) synchronous: SqliteSynchronous,
    /// Whether connections are read-only.
    pub(crate) query_only: bool,
}

impl ManageConnection for SqliteConnectionManager {
    type Connection = Conn;
    type Error = StoreError;

    fn connect(&self) -> Result<Conn, StoreError> {
        let mut conn =
            Conn::establish(&self.path).map_err(|error| StoreError::unavailable(&error))?;
        let synchronous = match self.synchronous {
            SqliteSynchronous::Full => "FULL",
            SqliteSynchronous::Normal => "NORMAL",
        };
        // The time-out comes first: the switch to WAL itself can meet another process's lock. The
        // log is truncated after a long reader has made it grow. Readers have small caches: there
        // are several of them, and the operating system caches the file too. Deleted content is
        // overwritten.
        let (query_only, cache_kib) = if self.query_only { ("ON", 2048) } else { ("OFF", 16384) };
        conn.batch_execute(&format!(
            "PRAGMA busy_timeout = 1000;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = {synchronous};
             PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -{cache_kib};
             PRAGMA journal_size_limit = 67108864;
             PRAGMA secure_delete = ON;
             PRAGMA query_only = {query_only};"
        ))?;
        Ok(conn)
    }

    fn is_valid(&self, _: &mut Conn) -> Result<(), StoreError> {
        Ok(())
    }

    fn has_broken(&self, conn: &mut Conn) -> bool {
        AnsiTransactionManager::is_broken_transaction_manager(conn)
    }
}

/// Takes the write lock at once: a transaction that reads first and writes later fails without
/// waiting when another process wrote in between.
pub(crate) fn begin(conn: &mut Conn) -> QueryResult<()> {
    AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN IMMEDIATE")
}

/// One state of the database for all statements of a reader.
pub(crate) fn begin_snapshot(conn: &mut Conn) -> QueryResult<()> {
    AnsiTransactionManager::begin_transaction_sql(conn, "BEGIN DEFERRED")
}

/// Writes all of the log to the database and empties it; false if a reader still needs it.
pub(crate) fn truncate_log(conn: &mut Conn) -> QueryResult<bool> {
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Integer)]
        busy: i32,
    }
    let row: Row = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result(conn)?;
    Ok(row.busy == 0)
}

/// Locks the rows of a query until the end of the transaction. SQLite locks the whole database, so
/// this adds nothing.
macro_rules! for_update {
    ($query:expr) => {
        $query
    };
}

/// Share-locks the rows of a query. SQLite locks the whole database, so this adds nothing.
macro_rules! for_share {
    ($query:expr) => {
        $query
    };
}

/// The machine's clock, as the database reads it.
pub(crate) fn current_time(conn: &mut Conn) -> QueryResult<Timestamp> {
    let micros = "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000";
    diesel::select(sql::<TimeSql>(micros)).get_result(conn)
}

/// A file has no server start: always the same instant.
#[expect(clippy::unnecessary_wraps, reason = "same signature as for PostgreSQL")]
pub(crate) fn server_started_at(_: &mut Conn) -> QueryResult<Timestamp> {
    Ok(Timestamp::from_micros(0))
}

/// SQLite has no locks that end with a process: no node can be declared dead early.
#[expect(clippy::unnecessary_wraps, reason = "same signature as for PostgreSQL")]
pub(crate) fn is_lock_free(_: &mut Conn, _: i64) -> QueryResult<bool> {
    Ok(false)
}

/// The full-text index: an FTS5 table beside a table that assigns the numbers.
pub(crate) mod words {
    use base::ids::MessageId;
    use diesel::sql_types::{BigInt, Text};
    use diesel::{QueryResult, RunQueryDsl, sql_query};

    use super::Conn;
    use crate::tokenizer::allows_prefix_match;
    use crate::types::{IdSql, Sql};

    #[derive(diesel::QueryableByName)]
    struct SqliteNumber {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }

    pub(crate) fn insert(c: &mut Conn, message: MessageId, words: &str) -> QueryResult<()> {
        let entry: SqliteNumber =
            sql_query("INSERT INTO search_entries (message_id) VALUES (?) RETURNING id")
                .bind::<IdSql, _>(Sql(message))
                .get_result(c)?;
        sql_query("INSERT INTO search_words (rowid, words) VALUES (?, ?)")
            .bind::<BigInt, _>(entry.id)
            .bind::<Text, _>(words)
            .execute(c)?;
        Ok(())
    }

    pub(crate) fn update(c: &mut Conn, entry: i64, words: &str) -> QueryResult<()> {
        sql_query("UPDATE search_words SET words = ? WHERE rowid = ?")
            .bind::<Text, _>(words)
            .bind::<BigInt, _>(entry)
            .execute(c)?;
        Ok(())
    }

    /// The numbers below `before` of entries that are in one of the conversations and contain all
    /// words, highest first.
    pub(crate) fn find(
        c: &mut Conn,
        conversations: &[String],
        words: &[String],
        before: i64,
        limit: i64,
    ) -> QueryResult<Vec<i64>> {
        let quoted = |word: &String| format!("\"{word}\"");
        let any: Vec<_> = conversations.iter().map(quoted).collect();
        let all: Vec<_> = words.iter().map(quoted).collect();
        let suffix =
            if words.last().is_some_and(|last| allows_prefix_match(last)) { "*" } else { "" };
        let mut query = format!("{}{suffix}", all.join(" AND "));
        if !any.is_empty() {
            query = format!("({}) AND {query}", any.join(" OR "));
        }
        let found: Vec<SqliteNumber> = sql_query(
            "SELECT rowid AS id FROM search_words WHERE search_words MATCH ? AND rowid < ? \
             ORDER BY rowid DESC LIMIT ?",
        )
        .bind::<Text, _>(query)
        .bind::<BigInt, _>(before)
        .bind::<BigInt, _>(limit)
        .load(c)?;
        Ok(found.into_iter().map(|number| number.id).collect())
    }
}

#[path = "queries/mod.rs"]
pub(crate) mod queries;
