//! Archives of a user's data: one at a time, and with an expiry.

use base::clock::Timestamp;
use base::ids::{JobId, UserId};
use diesel::prelude::*;

use super::{Conn, audit, jobs as job_queries, user_admin};
use crate::rows::{Export, JobState, NewAudit, NewJob};
use crate::schema::{exports, jobs};
use crate::types::Sql;

fn export_of(c: &mut Conn, user: UserId) -> QueryResult<Option<Export>> {
    exports::table
        .inner_join(jobs::table)
        .filter(exports::user_id.eq(Sql(user)))
        .select((
            exports::id,
            exports::created_at,
            jobs::state,
            exports::ready_at,
            exports::expires_at,
            exports::size,
        ))
        .first(c)
        .optional()
}

/// The user's archive, or a new one if there is none or it has expired, failed or is `lost`.
pub(crate) fn request_export(
    c: &mut Conn,
    job: NewJob,
    user: UserId,
    lost: Option<JobId>,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<Option<Export>> {
    if !user_admin::lock_user(c, user)? {
        return Ok(None);
    }
    if let Some(export) = export_of(c, user)? {
        let is_expired = export.expires_at.is_some_and(|end| end <= now);
        if !is_expired && export.state != JobState::Dead && lost != Some(export.id) {
            return Ok(Some(export));
        }
        diesel::delete(exports::table.find(Sql(export.id))).execute(c)?;
    }
    job_queries::insert(c, &job, now)?;
    diesel::insert_into(exports::table)
        .values((
            exports::id.eq(Sql(job.id)),
            exports::user_id.eq(Sql(user)),
            exports::created_at.eq(Sql(now)),
        ))
        .execute(c)?;
    audit::insert(c, &entry, now)?;
    export_of(c, user)
}

pub(crate) fn finish_export(
    c: &mut Conn,
    id: JobId,
    size: i64,
    expires_at: Timestamp,
    now: Timestamp,
) -> QueryResult<bool> {
    let finished = diesel::update(exports::table.find(Sql(id)))
        .set((
            exports::size.eq(size),
            exports::ready_at.eq(Sql(now)),
            exports::expires_at.eq(Sql(expires_at)),
        ))
        .execute(c)?;
    Ok(finished == 1)
}

pub(crate) fn expire_exports(c: &mut Conn, now: Timestamp) -> QueryResult<usize> {
    let given_up = jobs::table.filter(jobs::state.eq(JobState::Dead)).select(jobs::id);
    let is_expired = exports::expires_at.le(Sql(now)).assume_not_null();
    let has_failed = exports::ready_at.is_null().and(exports::id.eq_any(given_up));
    diesel::delete(exports::table.filter(is_expired.or(has_failed))).execute(c)
}

/// Those of these archives that exist, each with the attempt that is creating it right now.
pub(crate) fn existing_exports(
    c: &mut Conn,
    ids: Vec<JobId>,
) -> QueryResult<Vec<(JobId, Option<i64>)>> {
    let ids = ids.into_iter().map(Sql);
    let found: Vec<(JobId, JobState, i64)> = exports::table
        .inner_join(jobs::table)
        .filter(exports::id.eq_any(ids))
        .select((exports::id, jobs::state, jobs::attempts))
        .load(c)?;
    let running = |(id, state, attempts)| (id, (state == JobState::Running).then_some(attempts));
    Ok(found.into_iter().map(running).collect())
}
