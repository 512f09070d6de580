//! Dedicated threads for blocking database operations: a bounded queue, a deadline, and group
//! commit.

use std::borrow::BorrowMut;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::QueryResult;
use diesel::connection::{Connection, TransactionManager};
use r2d2::{ManageConnection, Pool};
use tokio::sync::oneshot;
use tokio::time::Instant;

mod task;
#[cfg(test)]
mod tests;

use self::task::{DbJob, DbTask};
use crate::error::{Result, StoreError};

/// How long a thread waits for a connection before its job, and all queued jobs, are rejected.
const POOL_CHECKOUT_TIMEOUT: Duration = Duration::from_millis(500);

/// Size and limits of one executor.
#[derive(Clone, Copy)]
pub(crate) struct ExecutorConfig {
    /// Number of threads; equal to the pool's number of connections.
    pub(crate) threads: u32,
    /// Jobs that may wait in the queue.
    pub(crate) queue_capacity: usize,
    /// Jobs that may share one transaction, each in its own savepoint. More than one only with a
    /// single thread: two groups would lock the same rows in different orders.
    pub(crate) max_group: usize,
    /// How long a caller waits for its result.
    pub(crate) timeout: Duration,
}

/// Begins the outermost transaction.
pub(crate) type BeginTransaction<C> = fn(&mut C) -> QueryResult<()>;

/// Queues jobs for one connection pool and its threads.
pub(crate) struct ConnectionExecutor<C> {
    shared: Arc<ExecutorShared<C>>,
    config: ExecutorConfig,
}

struct ExecutorShared<C> {
    queue: Mutex<JobQueue<C>>,
    wake: Condvar,
}

struct JobQueue<C> {
    jobs: VecDeque<Box<dyn DbJob<C>>>,
    closed: bool,
}

impl<C> ExecutorShared<C> {
    fn lock(&self) -> MutexGuard<'_, JobQueue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until jobs are queued and takes up to `max`; empty once the executor is closed and
    /// drained.
    fn take(&self, max: usize) -> Vec<Box<dyn DbJob<C>>> {
        let mut queue = self.lock();
        while queue.jobs.is_empty() && !queue.closed {
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let count = queue.jobs.len().min(max);
        queue.jobs.drain(..count).collect()
    }
}

/// The threads finish the queued jobs and end.
impl<C> Drop for ConnectionExecutor<C> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl<C: Connection + 'static> ConnectionExecutor<C> {
    /// Starts the threads. They own the pool, so the last one to end closes it.
    pub(crate) fn start<M>(
        name: &str,
        pool: &Pool<M>,
        config: ExecutorConfig,
        begin: BeginTransaction<C>,
    ) -> Result<Self>
    where
        M: ManageConnection<Connection: BorrowMut<C>>,
    {
        let queue = Mutex::new(JobQueue { jobs: VecDeque::new(), closed: false });
        let shared = Arc::new(ExecutorShared { queue, wake: Condvar::new() });
        let executor = Self { shared: Arc::clone(&shared), config };
        for n in 0..config.threads {
            let (shared, pool) = (Arc::clone(&shared), pool.clone());
            std::thread::Builder::new()
                .name(format!("{name}-{n}"))
                .spawn(move || run_worker(&shared, &pool, config.max_group, begin))
                .map_err(|error| StoreError::unavailable(&error))?;
        }
        Ok(executor)
    }

    /// Number of queued jobs.
    pub(crate) fn queued(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    /// Runs `operation` in a transaction of its own.
    pub(crate) async fn transaction<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> QueryResult<T> + Send + 'static,
    {
        self.submit(false, operation).await
    }

    /// Runs the read-only `operation` without a transaction: each statement commits by itself.
    pub(crate) async fn autocommit<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> QueryResult<T> + Send + 'static,
    {
        self.submit(true, operation).await
    }

    async fn submit<T, F>(&self, is_autocommit: bool, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> QueryResult<T> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let deadline = Instant::now() + self.config.timeout;
        {
            let mut queue = self.shared.lock();
            if queue.jobs.len() >= self.config.queue_capacity {
                return Err(StoreError::Overloaded);
            }
            queue.jobs.push_back(Box::new(DbTask::new(operation, is_autocommit, deadline, reply)));
        }
        self.shared.wake.notify_one();
        match tokio::time::timeout_at(deadline, result).await {
            Ok(Ok(outcome)) => outcome,
            // Dropped without a result: it expired in the queue, or its thread panicked around it.
            Ok(Err(_)) | Err(_) => Err(StoreError::Deadline),
        }
    }
}

/// Main loop of a thread. Jobs catch their own panics; a panic caught here is a defect of the
/// executor and costs the jobs in hand, but never the thread.
fn run_worker<C: Connection, M: ManageConnection<Connection: BorrowMut<C>>>(
    shared: &ExecutorShared<C>,
    pool: &Pool<M>,
    max_group: usize,
    begin: BeginTransaction<C>,
) {
    let run_batches = || {
        loop {
            let jobs = shared.take(max_group);
            if jobs.is_empty() {
                return;
            }
            run_batch(jobs, shared, pool, begin);
        }
    };
    while catch_unwind(AssertUnwindSafe(run_batches)).is_err() {
        tracing::error!("store worker panic recovered");
    }
}

fn run_batch<C: Connection, M: ManageConnection<Connection: BorrowMut<C>>>(
    mut jobs: Vec<Box<dyn DbJob<C>>>,
    shared: &ExecutorShared<C>,
    pool: &Pool<M>,
    begin: BeginTransaction<C>,
) {
    let now = Instant::now();
    jobs.retain(|job| job.deadline() > now); // nobody waits for these any more: never start them
    if jobs.is_empty() {
        return;
    }
    match pool.get_timeout(POOL_CHECKOUT_TIMEOUT) {
        Ok(mut conn) => {
            let tx_result = run_in_transaction((*conn).borrow_mut(), &mut jobs, begin);
            drop(conn); // before the results are sent: a caller may submit again at once
            send_results(jobs, &tx_result);
        }
        Err(error) => {
            // No connection for these jobs means none for the queued ones either: reject all of
            // them now.
            let rejection = Err(StoreError::unavailable(&error));
            jobs.extend(shared.lock().jobs.drain(..));
            send_results(jobs, &rejection);
        }
    }
}

fn send_results<C>(jobs: Vec<Box<dyn DbJob<C>>>, tx_result: &Result<()>) {
    for job in jobs {
        job.send_result(tx_result.clone());
    }
}

/// Runs the jobs and returns how their transaction ended; a job's own failure only affects that
/// job.
fn run_in_transaction<C: Connection>(
    conn: &mut C,
    jobs: &mut [Box<dyn DbJob<C>>],
    begin: BeginTransaction<C>,
) -> Result<()> {
    if let [job] = jobs {
        if job.is_autocommit() {
            job.run(conn);
            return Ok(());
        }
        begin(conn)?;
        let commit = job.run(conn);
        return end_transaction(conn, commit);
    }
    begin(conn)?;
    for job in jobs {
        if let Err(error) = run_in_savepoint(conn, job.as_mut()) {
            // The transaction itself is in doubt: none of its jobs may be acknowledged.
            let _ = C::TransactionManager::rollback_transaction(conn);
            return Err(error.into());
        }
    }
    end_transaction(conn, true)
}

fn run_in_savepoint<C: Connection>(conn: &mut C, job: &mut dyn DbJob<C>) -> QueryResult<()> {
    C::TransactionManager::begin_transaction(conn)?;
    if job.run(conn) {
        C::TransactionManager::commit_transaction(conn)
    } else {
        C::TransactionManager::rollback_transaction(conn)
    }
}

fn end_transaction<C: Connection>(conn: &mut C, commit: bool) -> Result<()> {
    if commit {
        C::TransactionManager::commit_transaction(conn).map_err(StoreError::of_commit)
    } else {
        // A connection that cannot even roll back is broken: the pool discards it.
        let _ = C::TransactionManager::rollback_transaction(conn);
        Ok(())
    }
}
