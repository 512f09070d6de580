//! Background jobs: leased to one worker at a time, retried, and finally given up.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::JobId;
use diesel::prelude::*;

use super::Conn;
use crate::rows::{JobClaimOutcome, JobResolution, JobRow, JobState, NewJob};
use crate::schema::jobs;
use crate::types::Sql;

/// Number of due jobs examined: other workers may be claiming the first ones just now.
const CLAIM_SCAN_ROWS: i64 = 8;

pub(super) fn insert(c: &mut Conn, new: &NewJob, now: Timestamp) -> QueryResult<()> {
    diesel::insert_into(jobs::table)
        .values((
            jobs::id.eq(Sql(new.id)),
            jobs::kind.eq(&new.kind),
            jobs::user_id.eq(new.user_id.map(Sql)),
            jobs::payload.eq(Sql(new.payload.clone())),
            jobs::state.eq(JobState::Waiting),
            jobs::attempts.eq(0),
            jobs::due_at.eq(Sql(now)),
            jobs::created_at.eq(Sql(now)),
        ))
        .execute(c)?;
    Ok(())
}

pub(crate) fn enqueue(c: &mut Conn, new: NewJob, now: Timestamp) -> QueryResult<()> {
    insert(c, &new, now)
}

pub(crate) fn claim_job(
    c: &mut Conn,
    kinds: Vec<String>,
    lease: Duration,
    max_attempts: i64,
    now: Timestamp,
) -> QueryResult<JobClaimOutcome> {
    let due: Vec<(JobId, i64)> = jobs::table
        .filter(jobs::ended_at.is_null())
        .filter(jobs::due_at.le(Sql(now)))
        .filter(jobs::kind.eq_any(kinds))
        .order(jobs::due_at)
        .limit(CLAIM_SCAN_ROWS)
        .select((jobs::id, jobs::attempts))
        .load(c)?;
    for (id, attempts) in due {
        // Whoever raises the attempt count first has the job; for others this filter no longer
        // matches.
        let unclaimed = jobs::table
            .find(Sql(id))
            .filter(jobs::attempts.eq(attempts))
            .filter(jobs::due_at.le(Sql(now)))
            .filter(jobs::ended_at.is_null());
        if attempts >= max_attempts {
            let dead = diesel::update(unclaimed)
                .set((jobs::state.eq(JobState::Dead), jobs::ended_at.eq(Sql(now))))
                .returning(JobRow::as_returning())
                .get_result(c)
                .optional()?;
            if let Some(job) = dead {
                return Ok(JobClaimOutcome::Dead(job));
            }
            continue;
        }
        let claimed = diesel::update(unclaimed)
            .set((
                jobs::state.eq(JobState::Running),
                jobs::attempts.eq(attempts + 1),
                jobs::due_at.eq(Sql(now + lease)),
            ))
            .returning(JobRow::as_returning())
            .get_result(c)
            .optional()?;
        if let Some(job) = claimed {
            return Ok(JobClaimOutcome::Claimed(job));
        }
    }
    Ok(JobClaimOutcome::NoneDue)
}

pub(crate) fn extend_lease(
    c: &mut Conn,
    id: JobId,
    attempt: i64,
    until: Timestamp,
) -> QueryResult<bool> {
    let own = jobs::table
        .find(Sql(id))
        .filter(jobs::attempts.eq(attempt))
        .filter(jobs::state.eq(JobState::Running));
    Ok(diesel::update(own).set(jobs::due_at.eq(Sql(until))).execute(c)? == 1)
}

pub(crate) fn end_job(
    c: &mut Conn,
    id: JobId,
    attempt: i64,
    resolution: JobResolution,
    now: Timestamp,
) -> QueryResult<bool> {
    let own = jobs::table
        .find(Sql(id))
        .filter(jobs::attempts.eq(attempt))
        .filter(jobs::state.eq(JobState::Running));
    let changed = match resolution {
        JobResolution::Done => diesel::update(own)
            .set((jobs::state.eq(JobState::Done), jobs::ended_at.eq(Sql(now))))
            .execute(c)?,
        JobResolution::Retry { at, failure } => diesel::update(own)
            .set((
                jobs::state.eq(JobState::Waiting),
                jobs::due_at.eq(Sql(at)),
                jobs::failure.eq(failure),
            ))
            .execute(c)?,
        JobResolution::Dead { failure } => diesel::update(own)
            .set((
                jobs::state.eq(JobState::Dead),
                jobs::ended_at.eq(Sql(now)),
                jobs::failure.eq(failure),
            ))
            .execute(c)?,
    };
    Ok(changed == 1)
}

pub(crate) fn jobs(
    c: &mut Conn,
    state: Option<JobState>,
    before: Option<JobId>,
    limit: i64,
) -> QueryResult<Vec<JobRow>> {
    let mut query =
        jobs::table.select(JobRow::as_select()).order(jobs::id.desc()).limit(limit).into_boxed();
    if let Some(state) = state {
        query = query.filter(jobs::state.eq(state));
    }
    if let Some(before) = before {
        query = query.filter(jobs::id.lt(Sql(before)));
    }
    query.load(c)
}
