//! Nodes and what they own: research of this design is in `docs/decisions/0009-per-node-leases-with-fencing-epochs.md`.
//!
//! An owner's write first locks its lease and its node's row for sharing; a claim and a death
//! certificate update those rows. So each write is either before the change of owner or refused.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{DeviceId, NodeId, UserId};
use diesel::prelude::*;

use super::super::{clock, free_lock, server_life};
use super::Conn;
use crate::rows::{
    FencingTokenRow, HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow,
    NodeState, lock_number,
};
use crate::schema::{devices, leases, nodes, users};
use crate::types::Sql;

/// A dead node's last word must be younger than this for its lock to prove anything: a cut in the
/// network frees the lock later, when the word is older.
const MAX_HEARTBEAT_AGE_FOR_DEATH: Duration = Duration::from_millis(3500);
/// Rows of nodes that are down are kept this long, for people to see.
const DEAD_NODE_RETENTION: Duration = Duration::from_hours(24);

/// A query may not name more values than this.
const MAX_QUERY_VALUES: usize = 1000;

type Row = (String, NodeId, i64, String);

fn lease((key, owner, epoch, value): Row) -> LeaseRow {
    LeaseRow { key, owner, epoch, value }
}

const LEASE: (leases::key, leases::owner, leases::epoch, leases::value) =
    (leases::key, leases::owner, leases::epoch, leases::value);

/// In which life of the database a node holds its lock; in none if it is not known to hold it.
fn life(c: &mut Conn, beat: &NodeHeartbeat) -> QueryResult<Timestamp> {
    if beat.locked { server_life(c) } else { Ok(Timestamp::from_micros(0)) }
}

/// A node comes into being. One that was taken for dead comes back under its id, and its proofs of
/// ownership do not: each of its leases gets a new epoch. One that lives already only says it again:
/// its question was asked twice, or came late.
pub(crate) fn join_cluster(c: &mut Conn, beat: NodeHeartbeat, ttl: Duration) -> QueryResult<()> {
    let (now, server) = (clock(c)?, life(c, &beat)?);
    if !lives(c, beat.id)? {
        diesel::update(leases::table.filter(leases::owner.eq(Sql(beat.id))))
            .set(leases::epoch.eq(leases::epoch + 1))
            .execute(c)?;
    }
    diesel::delete(nodes::table.find(Sql(beat.id))).execute(c)?;
    diesel::insert_into(nodes::table)
        .values((
            nodes::id.eq(Sql(beat.id)),
            nodes::name.eq(beat.name),
            nodes::url.eq(beat.url),
            nodes::state.eq(beat.state),
            nodes::started_at.eq(Sql(now)),
            nodes::renewed_at.eq(Sql(now)),
            nodes::until.eq(Sql(now + ttl)),
            nodes::server.eq(Sql(server)),
        ))
        .execute(c)?;
    Ok(())
}

/// A node says that it lives.
pub(crate) fn beat(
    c: &mut Conn,
    beat: NodeHeartbeat,
    ttl: Duration,
) -> QueryResult<HeartbeatOutcome> {
    let (now, server) = (clock(c)?, life(c, &beat)?);
    let mine = nodes::table.find(Sql(beat.id)).filter(nodes::until.gt(Sql(now)));
    let renewed = diesel::update(mine)
        .set((
            nodes::state.eq(beat.state),
            nodes::renewed_at.eq(Sql(now)),
            nodes::until.eq(Sql(now + ttl)),
            nodes::server.eq(Sql(server)),
        ))
        .execute(c)?;
    Ok(HeartbeatOutcome { alive: renewed == 1, now, nodes: living(c)? })
}

/// All nodes whose word holds.
pub(crate) fn living(c: &mut Conn) -> QueryResult<Vec<NodeRow>> {
    let now = clock(c)?;
    nodes::table
        .filter(nodes::until.gt(Sql(now)))
        .order(nodes::id)
        .select(NodeRow::as_select())
        .load(c)
}

/// A node leaves: what it still owns can be claimed at once.
pub(crate) fn leave_cluster(c: &mut Conn, id: NodeId) -> QueryResult<()> {
    let now = clock(c)?;
    diesel::update(nodes::table.find(Sql(id)))
        .set((nodes::state.eq(NodeState::Down), nodes::until.eq(Sql(now))))
        .execute(c)?;
    diesel::delete(nodes::table.filter(nodes::until.lt(Sql(now - DEAD_NODE_RETENTION))))
        .execute(c)?;
    Ok(())
}

/// Certifies a node's death before its word is over: its lock is free, and neither a cut in the
/// network nor a restart of the database could have freed it. True if it is dead now.
pub(crate) fn certify_death(c: &mut Conn, id: NodeId) -> QueryResult<bool> {
    let (now, server) = (clock(c)?, server_life(c)?);
    let row = nodes::table.find(Sql(id)).select((nodes::renewed_at, nodes::until, nodes::server));
    let found: Option<(Timestamp, Timestamp, Timestamp)> = held!(row).first(c).optional()?;
    let Some((renewed, until, life)) = found else { return Ok(true) };
    if until <= now {
        return Ok(true);
    }
    if now.since(renewed) > MAX_HEARTBEAT_AGE_FOR_DEATH
        || life != server
        || !free_lock(c, lock_number(id))?
    {
        return Ok(false);
    }
    leave_cluster(c, id)?;
    Ok(true)
}

fn lives(c: &mut Conn, id: NodeId) -> QueryResult<bool> {
    let now = clock(c)?;
    let row = nodes::table.find(Sql(id)).filter(nodes::until.gt(Sql(now))).select(nodes::id);
    Ok(shared!(row).first::<NodeId>(c).optional()?.is_some())
}

/// Takes `key` for `me` unless its owner lives.
pub(crate) fn claim(
    c: &mut Conn,
    key: String,
    value: String,
    me: NodeId,
) -> QueryResult<LeaseClaimOutcome> {
    if !lives(c, me)? {
        return Ok(LeaseClaimOutcome::NotAlive);
    }
    let made = diesel::insert_into(leases::table)
        .values((
            leases::key.eq(&key),
            leases::owner.eq(Sql(me)),
            leases::epoch.eq(1),
            leases::value.eq(&value),
        ))
        .on_conflict_do_nothing()
        .execute(c)?;
    let row = leases::table.find(&key).select(LEASE);
    let found = lease(held!(row).first(c)?);
    if made == 1 {
        return Ok(LeaseClaimOutcome::New(found));
    }
    if found.owner == me || lives(c, found.owner)? {
        return Ok(LeaseClaimOutcome::Held(found));
    }
    let taken = diesel::update(leases::table.find(&key))
        .set((leases::owner.eq(Sql(me)), leases::epoch.eq(leases::epoch + 1)))
        .returning(LEASE)
        .get_result(c)?;
    Ok(LeaseClaimOutcome::Taken(lease(taken)))
}

pub(crate) fn find_lease(c: &mut Conn, key: String) -> QueryResult<Option<LeaseRow>> {
    Ok(leases::table.find(key).select(LEASE).first(c).optional()?.map(lease))
}

pub(crate) fn find_lease_of(c: &mut Conn, value: String) -> QueryResult<Option<LeaseRow>> {
    let found = leases::table.filter(leases::value.eq(value)).select(LEASE);
    Ok(found.first(c).optional()?.map(lease))
}

/// What dead nodes own under keys that begin like this.
pub(crate) fn orphans(c: &mut Conn, prefix: String) -> QueryResult<Vec<LeaseRow>> {
    let now = clock(c)?;
    let alive = nodes::table.filter(nodes::until.gt(Sql(now))).select(nodes::id);
    let rows: Vec<Row> = leases::table
        .filter(leases::key.like(format!("{prefix}%")))
        .filter(leases::owner.ne_all(alive))
        .select(LEASE)
        .load(c)?;
    Ok(rows.into_iter().map(lease).collect())
}

/// Gives what is owned to another node that lives; the new epoch.
pub(crate) fn hand_over(
    c: &mut Conn,
    fence: FencingTokenRow,
    to: NodeId,
) -> QueryResult<Option<i64>> {
    if !holds(c, &fence)? || !lives(c, to)? {
        return Ok(None);
    }
    let epoch = diesel::update(leases::table.find(&fence.key))
        .set((leases::owner.eq(Sql(to)), leases::epoch.eq(leases::epoch + 1)))
        .returning(leases::epoch)
        .get_result(c)?;
    Ok(Some(epoch))
}

pub(crate) fn note_lease(c: &mut Conn, fence: FencingTokenRow, value: String) -> QueryResult<bool> {
    if !holds(c, &fence)? {
        return Ok(false);
    }
    diesel::update(leases::table.find(&fence.key)).set(leases::value.eq(value)).execute(c)?;
    Ok(true)
}

pub(crate) fn release(c: &mut Conn, fence: FencingTokenRow) -> QueryResult<bool> {
    let mine = leases::table
        .find(fence.key)
        .filter(leases::owner.eq(Sql(fence.owner)))
        .filter(leases::epoch.eq(fence.epoch));
    Ok(diesel::delete(mine).execute(c)? == 1)
}

/// Whether the bearer of this proof is still the owner, and stays it until the transaction ends.
pub(crate) fn holds(c: &mut Conn, fence: &FencingTokenRow) -> QueryResult<bool> {
    let row = leases::table
        .find(&fence.key)
        .filter(leases::owner.eq(Sql(fence.owner)))
        .filter(leases::epoch.eq(fence.epoch))
        .select(leases::epoch);
    Ok(shared!(row).first::<i64>(c).optional()?.is_some() && lives(c, fence.owner)?)
}

/// Which of these devices are signed out, or belong to somebody who may not be here.
pub(crate) fn signed_out(c: &mut Conn, ids: Vec<DeviceId>) -> QueryResult<Vec<DeviceId>> {
    let mut gone = Vec::new();
    for ids in ids.chunks(MAX_QUERY_VALUES) {
        let here: Vec<DeviceId> = devices::table
            .inner_join(users::table)
            .filter(devices::id.eq_any(ids.iter().copied().map(Sql)))
            .filter(devices::revoked_at.is_null())
            .filter(users::suspended_at.is_null())
            .select(devices::id)
            .load(c)?;
        gone.extend(ids.iter().filter(|id| !here.contains(id)));
    }
    Ok(gone)
}

/// Which of these people may not be here any more.
pub(crate) fn suspended_users(c: &mut Conn, ids: Vec<UserId>) -> QueryResult<Vec<UserId>> {
    let mut gone = Vec::new();
    for ids in ids.chunks(MAX_QUERY_VALUES) {
        let here: Vec<UserId> = users::table
            .filter(users::id.eq_any(ids.iter().copied().map(Sql)))
            .filter(users::suspended_at.is_null())
            .select(users::id)
            .load(c)?;
        gone.extend(ids.iter().filter(|id| !here.contains(id)));
    }
    Ok(gone)
}
