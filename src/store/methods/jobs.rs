//! Work that must be done, and the archives it makes.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{JobId, UserId};

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{Export, JobClaimOutcome, JobResolution, JobRow, JobState, NewAudit, NewJob};
use crate::store::{Store, change, look};

impl Store {
    /// Writes a job that nothing else depends on.
    pub async fn enqueue(&self, job: NewJob, now: Timestamp) -> Result<()> {
        change!(self, jobs::enqueue(job, now))
    }

    /// Leases the job of these kinds that has been due the longest. Whoever does not end it or ask
    /// for more time within `lease` loses it to the next one; after `most` leases it is dead.
    pub async fn claim_job(
        &self,
        kinds: Vec<String>,
        lease: Duration,
        most: i64,
        now: Timestamp,
    ) -> Result<JobClaimOutcome> {
        change!(self, jobs::claim_job(kinds, lease, most, now))
    }

    /// Keeps a lease, named by its number, until then; false if somebody else has it by now.
    pub async fn extend_lease(&self, id: JobId, attempt: i64, until: Timestamp) -> Result<bool> {
        change!(self, jobs::extend_lease(id, attempt, until))
    }

    /// Ends a lease; false if somebody else has it by now.
    pub async fn end_job(
        &self,
        id: JobId,
        attempt: i64,
        end: JobResolution,
        now: Timestamp,
    ) -> Result<bool> {
        change!(self, jobs::end_job(id, attempt, end, now))
    }

    /// Jobs, the newest first; `before` is the last one of the piece before.
    pub async fn jobs(
        &self,
        state: Option<JobState>,
        before: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<JobRow>> {
        let limit = rows(limit);
        look!(self, jobs::jobs(state, before, limit))
    }

    /// A person's archive: the one that there is, or the one that `job` is to make, if there is
    /// none, or its time is over, or it could not be made, or it is `lost`. `None` if there is no
    /// such person.
    pub async fn request_export(
        &self,
        job: NewJob,
        user: UserId,
        lost: Option<JobId>,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<Option<Export>> {
        change!(self, exports::request_export(job, user, lost, audit, now))
    }

    /// An archive is ready; false if nobody wants it any more.
    pub async fn finish_export(
        &self,
        id: JobId,
        size: u64,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        change!(self, exports::finish_export(id, size, expires_at, now))
    }

    /// Forgets archives whose time is over, and those whose job was given up; gives how many.
    pub async fn expire_exports(&self, now: Timestamp) -> Result<usize> {
        change!(self, exports::expire_exports(now))
    }

    /// Which of these archives there are, ready or not; with each the attempt that is making it
    /// just now, if one is.
    pub async fn known_exports(&self, ids: Vec<JobId>) -> Result<Vec<(JobId, Option<i64>)>> {
        look!(self, exports::known_exports(ids))
    }
}
