//! The executor under pressure: panics, a full queue, expired deadlines, no database.

#![expect(clippy::disallowed_methods, reason = "concurrent callers need a task each")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::*;
use crate::config::SqliteSynchronous;
use crate::sqlite::{self, Conn, SqliteConnectionManager};

/// A database with one table in a directory of its own.
struct TestDb(std::path::PathBuf);

impl TestDb {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("securevox-executor-{}", base::ids::UserId::new()));
        std::fs::create_dir(&path).unwrap();
        let db = Self(path);
        let mut conn = db.manager().connect().unwrap();
        conn.batch_execute("CREATE TABLE notes (n INTEGER NOT NULL)").unwrap();
        db
    }

    fn manager(&self) -> SqliteConnectionManager {
        let path = self.0.join("executor.db").display().to_string();
        SqliteConnectionManager { path, synchronous: SqliteSynchronous::Full, query_only: false }
    }

    fn executor(&self, queue: usize, max_group: usize, millis: u64) -> ConnectionExecutor<Conn> {
        let config = ExecutorConfig {
            threads: 1,
            queue_capacity: queue,
            max_group,
            timeout: Duration::from_millis(millis),
        };
        let pool = Pool::builder().max_size(1).build(self.manager()).unwrap();
        ConnectionExecutor::start("test", &pool, config, sqlite::begin).unwrap()
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn insert_note(conn: &mut Conn, n: i64) -> QueryResult<()> {
    diesel::sql_query("INSERT INTO notes VALUES (?)").bind::<BigInt, _>(n).execute(conn).map(drop)
}

#[derive(QueryableByName)]
struct Sum {
    #[diesel(sql_type = BigInt)]
    sum: i64,
}

async fn sum(executor: &ConnectionExecutor<Conn>) -> i64 {
    let text = "SELECT CAST(COALESCE(SUM(n), 0) AS INTEGER) AS sum FROM notes";
    executor
        .transaction(move |conn| diesel::sql_query(text).get_result::<Sum>(conn))
        .await
        .unwrap()
        .sum
}

/// Keeps the thread busy, so that later jobs queue up together.
fn keep_busy(
    executor: &Arc<ConnectionExecutor<Conn>>,
    millis: u64,
) -> tokio::task::JoinHandle<Result<()>> {
    let executor = Arc::clone(executor);
    let task = tokio::task::spawn(async move {
        executor
            .transaction(move |_| {
                std::thread::sleep(Duration::from_millis(millis));
                Ok(())
            })
            .await
    });
    std::thread::sleep(Duration::from_millis(30));
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_write_rolls_back_without_affecting_its_group() {
    let db = TestDb::new();
    let executor = Arc::new(db.executor(100, 256, 5000));
    let busy = keep_busy(&executor, 100);
    let jobs: Vec<_> = (0..30_i64)
        .map(|n| {
            let executor = Arc::clone(&executor);
            tokio::task::spawn(async move {
                executor
                    .transaction(move |conn| {
                        insert_note(conn, 1)?;
                        assert_ne!(n % 10, 3, "on purpose");
                        if n % 10 == 4 { Err(diesel::result::Error::NotFound) } else { Ok(()) }
                    })
                    .await
            })
        })
        .collect();
    busy.await.unwrap().unwrap();
    for (n, job) in jobs.into_iter().enumerate() {
        match (n % 10, job.await.unwrap()) {
            (3, Err(StoreError::Internal(message))) => {
                assert!(message.contains("on purpose"), "{message}")
            }
            (4, Err(StoreError::Internal(_))) | (_, Ok(())) => {}
            (_, other) => panic!("{n}: {other:?}"),
        }
    }

    assert_eq!(sum(&executor).await, 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_rejects_immediately_as_overloaded() {
    let db = TestDb::new();
    let executor = Arc::new(db.executor(3, 1, 5000));
    let busy = keep_busy(&executor, 300);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let executor = Arc::clone(&executor);
            tokio::task::spawn(
                async move { executor.transaction(|conn| insert_note(conn, 1)).await },
            )
        })
        .collect();
    while executor.queued() < 3 {
        tokio::task::yield_now().await;
    }
    let start = Instant::now();
    let rejected = executor.transaction(|conn| insert_note(conn, 100)).await;

    assert_eq!(rejected, Err(StoreError::Overloaded));
    assert!(start.elapsed() < Duration::from_millis(100));
    busy.await.unwrap().unwrap();
    for job in waiting {
        job.await.unwrap().unwrap();
    }
    assert_eq!(sum(&executor).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_write_returns_deadline_and_never_runs() {
    let db = TestDb::new();
    let executor = Arc::new(db.executor(100, 256, 200));
    let busy = keep_busy(&executor, 500);
    let started = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&started);
    let start = Instant::now();
    let late = executor
        .transaction(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .await;

    assert_eq!(late, Err(StoreError::Deadline));
    assert!(start.elapsed() < Duration::from_millis(400));
    assert_eq!(busy.await.unwrap(), Err(StoreError::Deadline));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(executor.transaction(|_| Ok(7)).await, Ok(7));
    assert_eq!(started.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_commit_fails_every_write_in_group() {
    let db = TestDb::new();
    let executor = Arc::new(db.executor(100, 256, 5000));
    let busy = keep_busy(&executor, 100);
    let submit = |executor: &Arc<ConnectionExecutor<Conn>>, text: &'static str| {
        let executor = Arc::clone(executor);
        tokio::task::spawn(async move {
            executor
                .transaction(move |conn| {
                    insert_note(conn, 1)?;
                    conn.batch_execute(text)
                })
                .await
        })
    };
    let jobs = [submit(&executor, ""), submit(&executor, "ROLLBACK"), submit(&executor, "")];
    busy.await.unwrap().unwrap();
    for job in jobs {
        assert!(job.await.unwrap().is_err());
    }

    assert_eq!(executor.transaction(|conn| insert_note(conn, 5)).await, Ok(()));
}

/// A connection manager that always fails to connect.
struct UnreachableManager;

impl ManageConnection for UnreachableManager {
    type Connection = Conn;
    type Error = StoreError;

    fn connect(&self) -> std::result::Result<Conn, StoreError> {
        Err(StoreError::Unavailable("no server".into()))
    }

    fn is_valid(&self, _: &mut Conn) -> std::result::Result<(), StoreError> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Conn) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_database_fails_all_waiting_writes_at_once() {
    let config = ExecutorConfig {
        threads: 1,
        queue_capacity: 100,
        max_group: 1,
        timeout: Duration::from_millis(1500),
    };
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(1))
        .error_handler(Box::new(r2d2::NopErrorHandler))
        .build_unchecked(UnreachableManager);
    let executor =
        Arc::new(ConnectionExecutor::start("test", &pool, config, sqlite::begin).unwrap());
    let start = Instant::now();
    let jobs: Vec<_> = (0..20)
        .map(|_| {
            let executor = Arc::clone(&executor);
            tokio::task::spawn(async move { executor.transaction(|_| Ok(())).await })
        })
        .collect();
    for job in jobs {
        match job.await.unwrap() {
            Err(StoreError::Unavailable(message)) => {
                assert!(message.contains("no server"), "{message}")
            }
            other => panic!("{other:?}"),
        }
    }

    assert!(start.elapsed() < Duration::from_millis(1200));
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_in_begin_does_not_kill_executor_thread() {
    fn begin_with_panic(conn: &mut Conn) -> QueryResult<()> {
        static TIMES: AtomicUsize = AtomicUsize::new(0);
        assert_ne!(TIMES.fetch_add(1, Ordering::SeqCst), 0, "on purpose");
        sqlite::begin(conn)
    }
    let db = TestDb::new();
    let config = ExecutorConfig {
        threads: 1,
        queue_capacity: 9,
        max_group: 1,
        timeout: Duration::from_secs(5),
    };
    let pool = Pool::builder().max_size(1).build(db.manager()).unwrap();
    let executor = ConnectionExecutor::start("test", &pool, config, begin_with_panic).unwrap();

    assert_eq!(executor.transaction(|_| Ok(())).await, Err(StoreError::Deadline));
    assert_eq!(executor.transaction(|_| Ok(7)).await, Ok(7));
}
