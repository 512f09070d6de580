//! Jobs: work that is a row, so that it is done whatever happens to whoever does it.
//!
//! A row is written in the transaction that needs the work. Somebody leases it, works, and ends the
//! lease: done, to be tried again after a growing pause, or dead. Whoever dies leaves a lease that
//! runs out, and the next one begins anew; so doing it twice must be as good as doing it once.

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

/// How often an idle worker looks whether another node has written a job.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
const BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(2), max: Duration::from_secs(30 * 60) };

/// One kind of work.
pub trait JobHandler: Send + Sync + 'static {
    /// As its jobs call it.
    fn kind(&self) -> &'static str;

    /// Does it, perhaps not for the first time; gives what others should hear.
    fn run<'a>(&'a self, job: &'a JobRow) -> BoxFuture<'a, Result<Vec<DirectedEvent>, JobError>>;

    /// Throws away what is over; asked now and then.
    fn reap_expired(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Why a job was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// For operators; never what is private.
    pub words: String,
    /// Whether trying again is of no use.
    pub for_good: bool,
}

impl JobError {
    /// It may be tried again.
    pub fn transient(words: impl Into<String>) -> Self {
        Self { words: words.into(), for_good: false }
    }

    /// It will never work.
    pub fn permanent(words: impl Into<String>) -> Self {
        Self { words: words.into(), for_good: true }
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

/// Takes jobs and does them; cheap to clone.
#[derive(Clone)]
pub struct JobRunner {
    store: Store,
    clock: Clock,
    entropy: RandomSource,
    works: Arc<[Arc<dyn JobHandler>]>,
    bell: Arc<Notify>,
    lease: Duration,
    most: i64,
}

/// What came of looking for a job.
#[derive(Debug)]
pub enum PollOutcome {
    /// One was looked after; there may be more. Others should hear this.
    Worked(Vec<DirectedEvent>),
    /// Nothing is due.
    Idle,
}

impl JobRunner {
    /// A worker for these kinds of work.
    pub fn new(
        store: Store,
        clock: Clock,
        entropy: RandomSource,
        works: Vec<Arc<dyn JobHandler>>,
        config: &config::JobsConfig,
    ) -> Self {
        let (lease, most) = (config.lease(), config.max_attempts.into());
        Self { store, clock, entropy, works: works.into(), bell: Arc::default(), lease, most }
    }

    /// There is something to do: whoever rests here looks at once.
    pub fn notify(&self) {
        self.bell.notify_one();
    }

    /// Waits for the bell, or for as long as work that others wrote may wait.
    pub async fn rest(&self) {
        let _ = tokio::time::timeout(POLL_INTERVAL, self.bell.notified()).await; // either is a reason to look
    }

    /// Takes one job and does it.
    ///
    /// # Errors
    /// The database's.
    pub async fn step(&self) -> Result<PollOutcome, store::StoreError> {
        let kinds = self.works.iter().map(|work| work.kind().to_owned()).collect();
        match self.store.claim_job(kinds, self.lease, self.most, self.clock.now()).await? {
            JobClaimOutcome::NoneDue => Ok(PollOutcome::Idle),
            JobClaimOutcome::Dead(job) => {
                tracing::error!(job.id = %job.id, job.kind = job.kind, "job exceeded max attempts");
                self.count(&job, "dead");
                Ok(PollOutcome::Worked(Vec::new()))
            }
            JobClaimOutcome::Claimed(job) => self.work(&job).await.map(PollOutcome::Worked),
        }
    }

    /// Throws away what is over.
    pub async fn tidy(&self) {
        for work in self.works.iter() {
            work.reap_expired().await;
        }
    }

    async fn work(&self, job: &JobRow) -> Result<Vec<DirectedEvent>, store::StoreError> {
        let Some(work) = self.works.iter().find(|work| work.kind() == job.kind) else {
            return Ok(Vec::new()); // not claimed by us
        };
        let begun = Instant::now();
        let outcome = tokio::select! {
            outcome = work.run(job) => outcome,
            () = self.hold(job) => {
                tracing::warn!(job.id = %job.id, job.kind = job.kind, "job lease lost");
                self.count(job, "lost");
                return Ok(Vec::new());
            }
        };
        histogram!(JOB_SECONDS, "kind" => work.kind()).record(begun.elapsed().as_secs_f64());
        let (end, news) = match outcome {
            Ok(news) => (JobResolution::Done, news),
            Err(failure) => (self.failed(job, failure), Vec::new()),
        };
        let word = match end {
            JobResolution::Done => "done",
            JobResolution::Retry { .. } => "retry",
            JobResolution::Dead { .. } => "dead",
        };
        self.count(job, word);
        self.store.finish_job(job.id, job.attempts, end, self.clock.now()).await?;
        Ok(news)
    }

    /// Asks for more time three times per lease, again and again; ends when somebody else has the job, or the database
    /// has not answered for so long that somebody may have.
    async fn hold(&self, job: &JobRow) {
        let mut until = Instant::now() + self.lease;
        loop {
            tokio::time::sleep(self.lease / 3).await;
            let end = self.clock.now() + self.lease;
            match self.store.extend_lease(job.id, job.attempts, end).await {
                Ok(true) => until = Instant::now() + self.lease,
                Ok(false) => return,
                Err(_) if Instant::now() + self.lease / 3 > until => return,
                Err(_) => {}
            }
        }
    }

    fn failed(&self, job: &JobRow, failure: JobError) -> JobResolution {
        let JobError { words, for_good } = failure;
        if for_good || job.attempts >= self.most {
            tracing::error!(job.id = %job.id, job.kind = job.kind, error = words, "job failed permanently");
            return JobResolution::Dead { failure: words };
        }
        tracing::warn!(job.id = %job.id, job.kind = job.kind, error = words, "job failed, will retry");
        let failures = u32::try_from(job.attempts).unwrap_or(u32::MAX);
        let pause = BACKOFF.delay(failures, self.entropy.fraction());
        JobResolution::Retry { at: self.clock.now() + pause, failure: words }
    }

    fn count(&self, job: &JobRow, outcome: &'static str) {
        // A kind of ours, not what somebody wrote into the row.
        let kind = self.works.iter().map(|work| work.kind()).find(|kind| *kind == job.kind);
        counter!(JOBS, "kind" => kind.unwrap_or("unknown"), "outcome" => outcome).increment(1);
    }
}
