//! Throwing away what nobody will ask for again, and asking whether anybody is there.

use std::time::Duration;

use base::clock::Timestamp;
use diesel::prelude::*;

use super::{Conn, cluster};
use crate::rows::{FencingTokenRow, PurgeCounts};
use crate::schema::{
    exports, invites, jobs, outbox, refresh_tokens, reset_links, setup_links, signing_keys,
};
use crate::types::Sql;

/// A retired key verifies this long: longer than any access token lives.
const SIGNING_KEY_RETENTION: Duration = Duration::from_hours(30 * 24);
/// How long a job is remembered after its end.
const FINISHED_JOB_RETENTION: Duration = Duration::from_hours(7 * 24);

pub(crate) fn ping(c: &mut Conn) -> QueryResult<()> {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("1")).get_result::<i32>(c)?;
    Ok(())
}

pub(crate) fn outbox_len(c: &mut Conn) -> QueryResult<i64> {
    outbox::table.count().get_result(c)
}

/// `None` if the bearer of the proof is not the owner any more.
pub(crate) fn purge(
    c: &mut Conn,
    now: Timestamp,
    outbox_older_than: Duration,
    fence: Option<FencingTokenRow>,
) -> QueryResult<Option<PurgeCounts>> {
    if let Some(fence) = fence
        && !cluster::holds(c, &fence)?
    {
        return Ok(None);
    }
    let tokens = refresh_tokens::table.filter(refresh_tokens::expires_at.le(Sql(now)));
    let links = setup_links::table.filter(setup_links::expires_at.le(Sql(now)));
    let told = outbox::table.filter(outbox::created_at.lt(Sql(now - outbox_older_than)));
    let keys =
        signing_keys::table.filter(signing_keys::retired_at.lt(Sql(now - SIGNING_KEY_RETENTION)));
    let resets = reset_links::table.filter(reset_links::expires_at.le(Sql(now)));
    let unused = invites::table.filter(invites::expires_at.le(Sql(now)));
    let ended = jobs::table
        .filter(jobs::ended_at.lt(Sql(now - FINISHED_JOB_RETENTION)))
        .filter(jobs::id.ne_all(exports::table.select(exports::id)));
    Ok(Some(PurgeCounts {
        refresh_tokens: diesel::delete(tokens).execute(c)?,
        setup_links: diesel::delete(links).execute(c)?,
        outbox: diesel::delete(told).execute(c)?,
        keys: diesel::delete(keys).execute(c)?,
        reset_links: diesel::delete(resets).execute(c)?,
        invites: diesel::delete(unused).execute(c)?,
        jobs: diesel::delete(ended).execute(c)?,
    }))
}
