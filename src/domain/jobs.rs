//! Background jobs stored as database rows.
//!
//! A row is written in the transaction that needs the work. A worker leases it, runs it and
//! resolves it: done, retry after a growing delay, or dead. If the worker dies, the lease expires
//! and another worker starts again, so handlers must be idempotent.

use std::sync::Arc;
use std::time::Duration;

use base::backoff::Backoff;
use base::clock::Clock;
use base::random::RandomSource;
use metrics::{counter, histogram};
use store::{JobClaimOutcome, JobResolution, JobRow, Store};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::DirectedEvent;
use crate::cluster::BoxFuture;
use crate::config;
use crate::telemetry::metrics::{JOB_SECONDS, JOBS};

/// How often an idle worker checks for jobs written by other nodes.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Delay between attempts of a job.
const RETRY_BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(30 * 60) };

/// Handler of one kind of job.
pub trait JobHandler: Send + Sync + 'static {
    /// Kind of jobs this handler runs.
    fn kind(&self) -> &'static str;

    /// Runs a job, possibly not for the first time. Returns events to publish.
    fn run<'a>(&'a self, job: &'a JobRow) -> BoxFuture<'a, Result<Vec<DirectedEvent>, JobError>>;

    /// Removes expired data of this kind; called periodically.
    fn reap_expired(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// Description for operators, without private data.
    pub message: String,
    /// Whether a retry is useless.
    pub permanent: bool,
}

impl JobError {
    /// A failure that may be retried.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: false }
    }

    /// A failure that a retry cannot fix.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), permanent: true }
    }
}

impl From<store::StoreError> for JobError {
    fn from(error: store::StoreError) -> Self {
        Self::transient(error.to_string())
    }
}

impl From<std::io::Error> for JobError {
    fn from(error: std::io::Error) -> Self {
        Self::transient(error.to_string())
    }
}

/// Claims and runs jobs; cheap to clone.
#[derive(Clone)]
pub struct JobRunner {
    store: Store,
    clock: Clock,
    entropy: RandomSource,
    handlers: Arc<[Arc<dyn JobHandler>]>,
    wakeup: Arc<Notify>,
    lease: Duration,
    max_attempts: i64,
}

/// Result of looking for a job.
#[derive(Debug)]
pub enum PollOutcome {
    /// A job was handled and there may be more. Contains the events to publish.
    Handled(Vec<DirectedEvent>),
    /// No job is due.
    Idle,
}

impl JobRunner {
    /// Creates a worker for these job kinds.
    pub fn new(
        store: Store,
        clock: Clock,
        entropy: RandomSource,
        handlers: Vec<Arc<dyn JobHandler>>,
        config: &config::JobsConfig,
    ) -> Self {
        let (lease, max_attempts) = (config.lease(), config.max_attempts.into());
        Self {
            store,
            clock,
            entropy,
            handlers: handlers.into(),
            wakeup: Arc::default(),
            lease,
            max_attempts,
        }
    }

    /// Wakes the worker because a job was written.
    pub fn notify(&self) {
        self.wakeup.notify_one();
    }

    /// Waits for [`JobRunner::notify`] or `POLL_INTERVAL`.
    pub async fn wait(&self) {
        // Both mean: poll.
        let _ = tokio::time::timeout(POLL_INTERVAL, self.wakeup.notified()).await;
    }

    /// Claims one job and runs it.
    ///
    /// # Errors
    /// A database error.
    pub async fn run_one(&self) -> Result<PollOutcome, store::StoreError> {
        let kinds = self.handlers.iter().map(|handler| handler.kind().to_owned()).collect();
        match self.store.claim_job(kinds, self.lease, self.max_attempts, self.clock.now()).await? {
            JobClaimOutcome::NoneDue => Ok(PollOutcome::Idle),
            JobClaimOutcome::Dead(job) => {
                tracing::error!(job.id = %job.id, job.kind = job.kind, "job exceeded max attempts");
                self.count(&job, "dead");
                Ok(PollOutcome::Handled(Vec::new()))
            }
            JobClaimOutcome::Claimed(job) => self.run_job(&job).await.map(PollOutcome::Handled),
        }
    }

    /// Removes expired data of all job kinds.
    pub async fn tidy(&self) {
        for handler in self.handlers.iter() {
            handler.reap_expired().await;
        }
    }

    async fn run_job(&self, job: &JobRow) -> Result<Vec<DirectedEvent>, store::StoreError> {
        let Some(handler) = self.handlers.iter().find(|handler| handler.kind() == job.kind) else {
            return Ok(Vec::new()); // not a claimed kind
        };
        let started = Instant::now();
        let outcome = tokio::select! {
            outcome = handler.run(job) => outcome,
            () = self.keep_lease(job) => {
                tracing::warn!(job.id = %job.id, job.kind = job.kind, "job lease lost");
                self.count(job, "lost");
                return Ok(Vec::new());
            }
        };
        histogram!(JOB_SECONDS, "kind" => handler.kind()).record(started.elapsed().as_secs_f64());
        let (resolution, events) = match outcome {
            Ok(events) => (JobResolution::Done, events),
            Err(error) => (self.resolve_failure(job, error), Vec::new()),
        };
        let outcome_label = match resolution {
            JobResolution::Done => "done",
            JobResolution::Retry { .. } => "retry",
            JobResolution::Dead { .. } => "dead",
        };
        self.count(job, outcome_label);
        self.store.finish_job(job.id, job.attempts, resolution, self.clock.now()).await?;
        Ok(events)
    }

    /// Extends the lease every third of its duration. Returns when another worker has the job, or
    /// when the database has not answered for so long that another worker may have it.
    async fn keep_lease(&self, job: &JobRow) {
        let mut lease_end = Instant::now() + self.lease;
        loop {
            tokio::time::sleep(self.lease / 3).await;
            let expires_at = self.clock.now() + self.lease;
            match self.store.extend_lease(job.id, job.attempts, expires_at).await {
                Ok(true) => lease_end = Instant::now() + self.lease,
                Ok(false) => return,
                Err(_) if Instant::now() + self.lease / 3 > lease_end => return,
                Err(_) => {}
            }
        }
    }

    fn resolve_failure(&self, job: &JobRow, error: JobError) -> JobResolution {
        let JobError { message, permanent } = error;
        if permanent || job.attempts >= self.max_attempts {
            tracing::error!(job.id = %job.id, job.kind = job.kind, error = message, "job failed permanently");
            return JobResolution::Dead { failure: message };
        }
        tracing::warn!(job.id = %job.id, job.kind = job.kind, error = message, "job failed, will retry");
        let failures = u32::try_from(job.attempts).unwrap_or(u32::MAX);
        let delay = RETRY_BACKOFF.delay(failures, self.entropy.fraction());
        JobResolution::Retry { at: self.clock.now() + delay, failure: message }
    }

    fn count(&self, job: &JobRow, outcome: &'static str) {
        // Only known kinds become labels, not arbitrary text of a row.
        let kind =
            self.handlers.iter().map(|handler| handler.kind()).find(|kind| *kind == job.kind);
        counter!(JOBS, "kind" => kind.unwrap_or("unknown"), "outcome" => outcome).increment(1);
    }
}
