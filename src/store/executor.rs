//! Own threads for blocking questions: a bounded queue, a deadline, and group commit.

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

/// How long a thread waits for a connection before its job, and all that wait, are refused.
const POOL_CHECKOUT_TIMEOUT: Duration = Duration::from_millis(500);

/// The size of a lane.
#[derive(Clone, Copy)]
pub(crate) struct ExecutorConfig {
    /// Threads; as many as the pool has connections.
    pub(crate) threads: u32,
    /// Jobs that may wait.
    pub(crate) queue: usize,
    /// Jobs that may share one transaction, each in a savepoint of its own. More than one only
    /// where there is one thread: two groups would lock the same rows in different orders.
    pub(crate) group: usize,
    /// How long a caller waits.
    pub(crate) deadline: Duration,
}

/// How the outermost transaction begins.
pub(crate) type BeginTransaction<C> = fn(&mut C) -> QueryResult<()>;

/// Where jobs for one pool of connections wait for its threads.
pub(crate) struct ConnectionExecutor<C> {
    shared: Arc<ExecutorShared<C>>,
    shape: ExecutorConfig,
}

struct ExecutorShared<C> {
    waiting: Mutex<QueuedJob<C>>,
    wake: Condvar,
}

struct QueuedJob<C> {
    jobs: VecDeque<Box<dyn DbJob<C>>>,
    closed: bool,
}

impl<C> ExecutorShared<C> {
    fn lock(&self) -> MutexGuard<'_, QueuedJob<C>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next jobs, at most `most`; none when the lane is closed and empty.
    fn take(&self, most: usize) -> Vec<Box<dyn DbJob<C>>> {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() && !waiting.closed {
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let count = waiting.jobs.len().min(most);
        waiting.jobs.drain(..count).collect()
    }
}

/// The threads finish what waits and end.
impl<C> Drop for ConnectionExecutor<C> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl<C: Connection + 'static> ConnectionExecutor<C> {
    /// Starts the threads. The pool belongs to them, so that the last one to end closes it.
    pub(crate) fn start<M>(
        name: &str,
        pool: &Pool<M>,
        shape: ExecutorConfig,
        begin: BeginTransaction<C>,
    ) -> Result<Self>
    where
        M: ManageConnection<Connection: BorrowMut<C>>,
    {
        let waiting = Mutex::new(QueuedJob { jobs: VecDeque::new(), closed: false });
        let shared = Arc::new(ExecutorShared { waiting, wake: Condvar::new() });
        let lane = Self { shared: Arc::clone(&shared), shape };
        for n in 0..shape.threads {
            let (shared, pool) = (Arc::clone(&shared), pool.clone());
            std::thread::Builder::new()
                .name(format!("{name}-{n}"))
                .spawn(move || work(&shared, &pool, shape.group, begin))
                .map_err(|error| StoreError::unavailable(&error))?;
        }
        Ok(lane)
    }

    /// How many jobs wait.
    pub(crate) fn queued(&self) -> usize {
        self.shared.lock().jobs.len()
    }

    /// Runs `deed` in a transaction of its own.
    pub(crate) async fn change<T, F>(&self, deed: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> QueryResult<T> + Send + 'static,
    {
        self.run(false, deed).await
    }

    /// Runs `deed`, which only reads, each of its statements for itself.
    pub(crate) async fn look<T, F>(&self, deed: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> QueryResult<T> + Send + 'static,
    {
        self.run(true, deed).await
    }

    async fn run<T, F>(&self, bare: bool, deed: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> QueryResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + self.shape.deadline;
        {
            let mut waiting = self.shared.lock();
            if waiting.jobs.len() >= self.shape.queue {
                return Err(StoreError::Overloaded);
            }
            waiting.jobs.push_back(Box::new(DbTask::new(deed, bare, deadline, reply)));
        }
        self.shared.wake.notify_one();
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            // Dropped unanswered: it expired in the queue, or its thread panicked around it.
            Ok(Err(_)) | Err(_) => Err(StoreError::Deadline),
        }
    }
}

/// A thread's life. Jobs catch their own panics; what is caught here is our own mistake, and
/// costs the jobs in hand but never the thread.
fn work<C: Connection, M: ManageConnection<Connection: BorrowMut<C>>>(
    shared: &ExecutorShared<C>,
    pool: &Pool<M>,
    group: usize,
    begin: BeginTransaction<C>,
) {
    let serve = || {
        loop {
            let jobs = shared.take(group);
            if jobs.is_empty() {
                return;
            }
            serve(jobs, shared, pool, begin);
        }
    };
    while catch_unwind(AssertUnwindSafe(serve)).is_err() {
        tracing::error!("store worker panic recovered");
    }
}

fn serve<C: Connection, M: ManageConnection<Connection: BorrowMut<C>>>(
    mut jobs: Vec<Box<dyn DbJob<C>>>,
    shared: &ExecutorShared<C>,
    pool: &Pool<M>,
    begin: BeginTransaction<C>,
) {
    let now = Instant::now();
    jobs.retain(|job| job.deadline() > now); // nobody waits for these: they never start
    if jobs.is_empty() {
        return;
    }
    match pool.get_timeout(POOL_CHECKOUT_TIMEOUT) {
        Ok(mut conn) => {
            let end = transact((*conn).borrow_mut(), &mut jobs, begin);
            drop(conn); // first: whoever hears the answer may ask at once
            answer(jobs, &end);
        }
        Err(error) => {
            // No connection for these: none for those behind them either, so all hear it now.
            let refusal = Err(StoreError::unavailable(&error));
            jobs.extend(shared.lock().jobs.drain(..));
            answer(jobs, &refusal);
        }
    }
}

fn answer<C>(jobs: Vec<Box<dyn DbJob<C>>>, end: &Result<()>) {
    for job in jobs {
        job.answer(end.clone());
    }
}

/// Runs the jobs and says how their transaction ended; a job's own failure is its own affair.
fn transact<C: Connection>(
    conn: &mut C,
    jobs: &mut [Box<dyn DbJob<C>>],
    begin: BeginTransaction<C>,
) -> Result<()> {
    if let [job] = jobs {
        if job.bare() {
            job.run(conn);
            return Ok(());
        }
        begin(conn)?;
        let keep = job.run(conn);
        return end(conn, keep);
    }
    begin(conn)?;
    for job in jobs {
        if let Err(error) = savepoint(conn, job.as_mut()) {
            // The transaction itself is in doubt: nothing of it may be acknowledged.
            let _ = C::TransactionManager::rollback_transaction(conn);
            return Err(error.into());
        }
    }
    end(conn, true)
}

fn savepoint<C: Connection>(conn: &mut C, job: &mut dyn DbJob<C>) -> QueryResult<()> {
    C::TransactionManager::begin_transaction(conn)?;
    if job.run(conn) {
        C::TransactionManager::commit_transaction(conn)
    } else {
        C::TransactionManager::rollback_transaction(conn)
    }
}

fn end<C: Connection>(conn: &mut C, keep: bool) -> Result<()> {
    if keep {
        C::TransactionManager::commit_transaction(conn).map_err(StoreError::of_commit)
    } else {
        // A connection that cannot even roll back is broken: the pool throws it away.
        let _ = C::TransactionManager::rollback_transaction(conn);
        Ok(())
    }
}
