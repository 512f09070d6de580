//! Background jobs, and the archives that export jobs create.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{JobId, UserId};

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{Export, JobClaimOutcome, JobResolution, JobRow, JobState, NewAudit, NewJob};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Enqueues a job that no other write depends on.
    pub async fn enqueue_job(&self, job: NewJob, now: Timestamp) -> Result<()> {
        write_tx!(self, jobs::enqueue(job, now))
    }

    /// Leases the job of these kinds that has been due the longest. A worker that neither finishes
    /// it nor extends the lease within `lease` loses it to the next one; after `max_attempts`
    /// leases the job is dead.
    pub async fn claim_job(
        &self,
        kinds: Vec<String>,
        lease: Duration,
        max_attempts: i64,
        now: Timestamp,
    ) -> Result<JobClaimOutcome> {
        write_tx!(self, jobs::claim_job(kinds, lease, max_attempts, now))
    }

    /// Extends the lease of an attempt until `until`; false if another worker has it by now.
    pub async fn extend_lease(&self, id: JobId, attempt: i64, until: Timestamp) -> Result<bool> {
        write_tx!(self, jobs::extend_lease(id, attempt, until))
    }

    /// Ends the lease of an attempt with a result; false if another worker has it by now.
    pub async fn finish_job(
        &self,
        id: JobId,
        attempt: i64,
        resolution: JobResolution,
        now: Timestamp,
    ) -> Result<bool> {
        write_tx!(self, jobs::end_job(id, attempt, resolution, now))
    }

    /// Jobs, newest first; `before` is the last one of the previous page.
    pub async fn jobs(
        &self,
        state: Option<JobState>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, jobs::jobs(state, before, limit))
    }

    /// A user's archive: the existing one, or one that `job` is to create if there is none, or it
    /// has expired, failed or is `lost`. `None` if there is no such user.
    pub async fn request_export(
        &self,
        job: NewJob,
        user: UserId,
        lost: Option<JobId>,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<Option<Export>> {
        write_tx!(self, exports::request_export(job, user, lost, audit, now))
    }

    /// Marks an archive as ready; false if it is no longer wanted.
    pub async fn finish_export(
        &self,
        id: JobId,
        size: u64,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        write_tx!(self, exports::finish_export(id, size, expires_at, now))
    }

    /// Deletes expired archives and those whose job is dead; returns how many.
    pub async fn expire_exports(&self, now: Timestamp) -> Result<usize> {
        write_tx!(self, exports::expire_exports(now))
    }

    /// Which of these archives exist, ready or not, each with the attempt that is creating it right
    /// now, if any.
    pub async fn existing_exports(&self, ids: Vec<JobId>) -> Result<Vec<(JobId, Option<i64>)>> {
        read_tx!(self, exports::existing_exports(ids))
    }
}
