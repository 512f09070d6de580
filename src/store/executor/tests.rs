//! The executor under pressure: panics, too much work, too little time, no database.

#![expect(clippy::disallowed_methods, reason = "people ask at the same time: each is a task")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::*;
use crate::config::SqliteSynchronous;
use crate::sqlite::{self, Conn, SqliteConnectionManager};

/// A database of one table in a directory of its own.
struct Place(std::path::PathBuf);

impl Place {
    fn new() -> Self {
        let path =
            std::env::temp_dir().join(format!("securevox-lane-{}", base::ids::UserId::new()));
        std::fs::create_dir(&path).unwrap();
        let place = Self(path);
        let mut conn = place.manager().connect().unwrap();
        conn.batch_execute("CREATE TABLE notes (n INTEGER NOT NULL)").unwrap();
        place
    }

    fn manager(&self) -> SqliteConnectionManager {
        let path = self.0.join("lane.db").display().to_string();
        SqliteConnectionManager { path, synchronous: SqliteSynchronous::Full, query_only: false }
    }

    fn lane(&self, queue: usize, group: usize, millis: u64) -> ConnectionExecutor<Conn> {
        let shape =
            ExecutorConfig { threads: 1, queue, group, deadline: Duration::from_millis(millis) };
        let pool = Pool::builder().max_size(1).build(self.manager()).unwrap();
        ConnectionExecutor::start("test", &pool, shape, sqlite::begin).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn note(conn: &mut Conn, n: i64) -> QueryResult<()> {
    diesel::sql_query("INSERT INTO notes VALUES (?)").bind::<BigInt, _>(n).execute(conn).map(drop)
}

#[derive(QueryableByName)]
struct Sum {
    #[diesel(sql_type = BigInt)]
    sum: i64,
}

async fn sum(lane: &ConnectionExecutor<Conn>) -> i64 {
    let text = "SELECT CAST(COALESCE(SUM(n), 0) AS INTEGER) AS sum FROM notes";
    lane.change(move |conn| diesel::sql_query(text).get_result::<Sum>(conn)).await.unwrap().sum
}

/// Keeps the thread busy, so that what follows waits together.
fn keep_busy(
    lane: &Arc<ConnectionExecutor<Conn>>,
    millis: u64,
) -> tokio::task::JoinHandle<Result<()>> {
    let lane = Arc::clone(lane);
    let task = tokio::task::spawn(async move {
        lane.change(move |_| {
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
    let place = Place::new();
    let lane = Arc::new(place.lane(100, 256, 5000));
    let busy = keep_busy(&lane, 100);
    let jobs: Vec<_> = (0..30_i64)
        .map(|n| {
            let lane = Arc::clone(&lane);
            tokio::task::spawn(async move {
                lane.change(move |conn| {
                    note(conn, 1)?;
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
            (3, Err(StoreError::Internal(why))) => assert!(why.contains("on purpose"), "{why}"),
            (4, Err(StoreError::Internal(_))) | (_, Ok(())) => {}
            (_, other) => panic!("{n}: {other:?}"),
        }
    }

    assert_eq!(sum(&lane).await, 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queue_rejects_immediately_as_overloaded() {
    let place = Place::new();
    let lane = Arc::new(place.lane(3, 1, 5000));
    let busy = keep_busy(&lane, 300);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let lane = Arc::clone(&lane);
            tokio::task::spawn(async move { lane.change(|conn| note(conn, 1)).await })
        })
        .collect();
    while lane.queued() < 3 {
        tokio::task::yield_now().await;
    }
    let asked = Instant::now();
    let refused = lane.change(|conn| note(conn, 100)).await;

    assert_eq!(refused, Err(StoreError::Overloaded));
    assert!(asked.elapsed() < Duration::from_millis(100));
    busy.await.unwrap().unwrap();
    for job in waiting {
        job.await.unwrap().unwrap();
    }
    assert_eq!(sum(&lane).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_write_returns_deadline_and_never_runs() {
    let place = Place::new();
    let lane = Arc::new(place.lane(100, 256, 200));
    let busy = keep_busy(&lane, 500);
    let started = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&started);
    let asked = Instant::now();
    let late = lane
        .change(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .await;

    assert_eq!(late, Err(StoreError::Deadline));
    assert!(asked.elapsed() < Duration::from_millis(400));
    assert_eq!(busy.await.unwrap(), Err(StoreError::Deadline));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(lane.change(|_| Ok(7)).await, Ok(7));
    assert_eq!(started.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_commit_fails_every_write_in_group() {
    let place = Place::new();
    let lane = Arc::new(place.lane(100, 256, 5000));
    let busy = keep_busy(&lane, 100);
    let spoil = |lane: &Arc<ConnectionExecutor<Conn>>, text: &'static str| {
        let lane = Arc::clone(lane);
        tokio::task::spawn(async move {
            lane.change(move |conn| {
                note(conn, 1)?;
                conn.batch_execute(text)
            })
            .await
        })
    };
    let jobs = [spoil(&lane, ""), spoil(&lane, "ROLLBACK"), spoil(&lane, "")];
    busy.await.unwrap().unwrap();
    for job in jobs {
        assert!(job.await.unwrap().is_err());
    }

    assert_eq!(lane.change(|conn| note(conn, 5)).await, Ok(()));
}

/// Refuses to open a connection.
struct Nowhere;

impl ManageConnection for Nowhere {
    type Connection = Conn;
    type Error = StoreError;

    fn connect(&self) -> std::result::Result<Conn, StoreError> {
        Err(StoreError::Unavailable("nobody there".into()))
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
    let shape =
        ExecutorConfig { threads: 1, queue: 100, group: 1, deadline: Duration::from_millis(1500) };
    let pool = Pool::builder()
        .max_size(1)
        .connection_timeout(Duration::from_secs(1))
        .error_handler(Box::new(r2d2::NopErrorHandler))
        .build_unchecked(Nowhere);
    let lane = Arc::new(ConnectionExecutor::start("test", &pool, shape, sqlite::begin).unwrap());
    let asked = Instant::now();
    let jobs: Vec<_> = (0..20)
        .map(|_| {
            let lane = Arc::clone(&lane);
            tokio::task::spawn(async move { lane.change(|_| Ok(())).await })
        })
        .collect();
    for job in jobs {
        match job.await.unwrap() {
            Err(StoreError::Unavailable(why)) => assert!(why.contains("nobody there"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    assert!(asked.elapsed() < Duration::from_millis(1200));
}

#[tokio::test(flavor = "multi_thread")]
async fn panic_in_begin_does_not_kill_executor_thread() {
    fn begin_badly(conn: &mut Conn) -> QueryResult<()> {
        static TIMES: AtomicUsize = AtomicUsize::new(0);
        assert_ne!(TIMES.fetch_add(1, Ordering::SeqCst), 0, "on purpose");
        sqlite::begin(conn)
    }
    let place = Place::new();
    let shape = ExecutorConfig { threads: 1, queue: 9, group: 1, deadline: Duration::from_secs(5) };
    let pool = Pool::builder().max_size(1).build(place.manager()).unwrap();
    let lane = ConnectionExecutor::start("test", &pool, shape, begin_badly).unwrap();

    assert_eq!(lane.change(|_| Ok(())).await, Err(StoreError::Deadline));
    assert_eq!(lane.change(|_| Ok(7)).await, Ok(7));
}
