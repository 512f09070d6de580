//! Deletion of expired rows, and the liveness query.

use std::time::Duration;

use base::clock::Timestamp;
use diesel::prelude::*;

use super::{Conn, cluster};
use crate::rows::{FencingTokenRow, PurgeCounts};
use crate::schema::{
    exports, invites, jobs, outbox, refresh_tokens, reset_links, setup_links, signing_keys,
};
use crate::types::Sql;

/// A retired key can verify this long: longer than any access token lives.
const SIGNING_KEY_RETENTION: Duration = Duration::from_hours(30 * 24);
/// How long a job is kept after its end.
const FINISHED_JOB_RETENTION: Duration = Duration::from_hours(7 * 24);

pub(crate) fn ping(c: &mut Conn) -> QueryResult<()> {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("1")).get_result::<i32>(c)?;
    Ok(())
}

pub(crate) fn outbox_len(c: &mut Conn) -> QueryResult<i64> {
    outbox::table.count().get_result(c)
}

/// Deletes expired rows; `None` if the fencing token is stale.
pub(crate) fn purge(
    c: &mut Conn,
    now: Timestamp,
    outbox_older_than: Duration,
    token: Option<FencingTokenRow>,
) -> QueryResult<Option<PurgeCounts>> {
    if let Some(token) = token
        && !cluster::is_token_valid(c, &token)?
    {
        return Ok(None);
    }
    let expired_tokens = refresh_tokens::table.filter(refresh_tokens::expires_at.le(Sql(now)));
    let expired_links = setup_links::table.filter(setup_links::expires_at.le(Sql(now)));
    let old_outbox = outbox::table.filter(outbox::created_at.lt(Sql(now - outbox_older_than)));
    let keys =
        signing_keys::table.filter(signing_keys::retired_at.lt(Sql(now - SIGNING_KEY_RETENTION)));
    let resets = reset_links::table.filter(reset_links::expires_at.le(Sql(now)));
    let expired_invites = invites::table.filter(invites::expires_at.le(Sql(now)));
    let ended = jobs::table
        .filter(jobs::ended_at.lt(Sql(now - FINISHED_JOB_RETENTION)))
        .filter(jobs::id.ne_all(exports::table.select(exports::id)));
    Ok(Some(PurgeCounts {
        refresh_tokens: diesel::delete(expired_tokens).execute(c)?,
        setup_links: diesel::delete(expired_links).execute(c)?,
        outbox: diesel::delete(old_outbox).execute(c)?,
        keys: diesel::delete(keys).execute(c)?,
        reset_links: diesel::delete(resets).execute(c)?,
        invites: diesel::delete(expired_invites).execute(c)?,
        jobs: diesel::delete(ended).execute(c)?,
    }))
}
