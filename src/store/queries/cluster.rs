//! Nodes and the leases they own; the design is in
//! `docs/decisions/0009-per-node-leases-with-fencing-epochs.md`.
//!
//! An owner's write first share-locks its lease and its node's row; a claim and a death declaration
//! update those rows. So each write is either before the change of owner or rejected.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{DeviceId, NodeId, UserId};
use diesel::prelude::*;

use super::super::{current_time, is_lock_free, server_started_at};
use super::Conn;
use crate::limits::{MAX_HEARTBEAT_AGE_FOR_DEATH, MAX_QUERY_VALUES};
use crate::rows::{
    FencingTokenRow, HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow,
    NodeState, lock_number,
};
use crate::schema::{devices, leases, nodes, users};
use crate::types::Sql;

/// Rows of nodes that are down are kept this long for operators to see.
const DEAD_NODE_RETENTION: Duration = Duration::from_hours(24);

type Row = (String, NodeId, i64, String);

fn to_lease((key, owner, epoch, value): Row) -> LeaseRow {
    LeaseRow { key, owner, epoch, value }
}

const LEASE_COLUMNS: (leases::key, leases::owner, leases::epoch, leases::value) =
    (leases::key, leases::owner, leases::epoch, leases::value);

/// Server start during which a node holds its lock; zero if it is not known to hold it.
fn locked_since_server_start(c: &mut Conn, heartbeat: &NodeHeartbeat) -> QueryResult<Timestamp> {
    if heartbeat.holds_lock { server_started_at(c) } else { Ok(Timestamp::from_micros(0)) }
}

/// Registers a node. One that was declared dead comes back under its id, but its fencing tokens do
/// not: each of its leases gets a new epoch. For one that is alive this only renews the heartbeat:
/// the request was repeated or came late.
pub(crate) fn join_cluster(
    c: &mut Conn,
    heartbeat: NodeHeartbeat,
    ttl: Duration,
) -> QueryResult<()> {
    let (now, server) = (current_time(c)?, locked_since_server_start(c, &heartbeat)?);
    if !is_alive(c, heartbeat.id)? {
        diesel::update(leases::table.filter(leases::owner.eq(Sql(heartbeat.id))))
            .set(leases::epoch.eq(leases::epoch + 1))
            .execute(c)?;
    }
    diesel::delete(nodes::table.find(Sql(heartbeat.id))).execute(c)?;
    diesel::insert_into(nodes::table)
        .values((
            nodes::id.eq(Sql(heartbeat.id)),
            nodes::name.eq(heartbeat.name),
            nodes::url.eq(heartbeat.url),
            nodes::state.eq(heartbeat.state),
            nodes::started_at.eq(Sql(now)),
            nodes::renewed_at.eq(Sql(now)),
            nodes::until.eq(Sql(now + ttl)),
            nodes::server.eq(Sql(server)),
        ))
        .execute(c)?;
    Ok(())
}

/// Renews a node's heartbeat.
pub(crate) fn heartbeat(
    c: &mut Conn,
    heartbeat: NodeHeartbeat,
    ttl: Duration,
) -> QueryResult<HeartbeatOutcome> {
    let (now, server) = (current_time(c)?, locked_since_server_start(c, &heartbeat)?);
    let own_row = nodes::table.find(Sql(heartbeat.id)).filter(nodes::until.gt(Sql(now)));
    let renewed = diesel::update(own_row)
        .set((
            nodes::state.eq(heartbeat.state),
            nodes::renewed_at.eq(Sql(now)),
            nodes::until.eq(Sql(now + ttl)),
            nodes::server.eq(Sql(server)),
        ))
        .execute(c)?;
    Ok(HeartbeatOutcome { is_alive: renewed == 1, now, nodes: live_nodes(c)? })
}

/// All nodes whose heartbeat is valid.
pub(crate) fn live_nodes(c: &mut Conn) -> QueryResult<Vec<NodeRow>> {
    let now = current_time(c)?;
    nodes::table
        .filter(nodes::until.gt(Sql(now)))
        .order(nodes::id)
        .select(NodeRow::as_select())
        .load(c)
}

/// A node leaves: what it still owns can be claimed at once.
pub(crate) fn leave_cluster(c: &mut Conn, id: NodeId) -> QueryResult<()> {
    let now = current_time(c)?;
    diesel::update(nodes::table.find(Sql(id)))
        .set((nodes::state.eq(NodeState::Down), nodes::until.eq(Sql(now))))
        .execute(c)?;
    diesel::delete(nodes::table.filter(nodes::until.lt(Sql(now - DEAD_NODE_RETENTION))))
        .execute(c)?;
    Ok(())
}

/// Declares a node dead before its heartbeat expires: its lock is free, and neither a network
/// partition nor a restart of the database could have freed it. True if it is dead now.
pub(crate) fn declare_dead(c: &mut Conn, id: NodeId) -> QueryResult<bool> {
    let (now, server) = (current_time(c)?, server_started_at(c)?);
    let row = nodes::table.find(Sql(id)).select((nodes::renewed_at, nodes::until, nodes::server));
    let found: Option<(Timestamp, Timestamp, Timestamp)> = for_update!(row).first(c).optional()?;
    let Some((renewed_at, until, locked_server)) = found else { return Ok(true) };
    if until <= now {
        return Ok(true);
    }
    if now.since(renewed_at) > MAX_HEARTBEAT_AGE_FOR_DEATH
        || locked_server != server
        || !is_lock_free(c, lock_number(id))?
    {
        return Ok(false);
    }
    leave_cluster(c, id)?;
    Ok(true)
}

fn is_alive(c: &mut Conn, id: NodeId) -> QueryResult<bool> {
    let now = current_time(c)?;
    let row = nodes::table.find(Sql(id)).filter(nodes::until.gt(Sql(now))).select(nodes::id);
    Ok(for_share!(row).first::<NodeId>(c).optional()?.is_some())
}

/// Claims `key` for `me` unless its owner is alive.
pub(crate) fn claim_lease(
    c: &mut Conn,
    key: String,
    value: String,
    me: NodeId,
) -> QueryResult<LeaseClaimOutcome> {
    if !is_alive(c, me)? {
        return Ok(LeaseClaimOutcome::NotAlive);
    }
    let inserted = diesel::insert_into(leases::table)
        .values((
            leases::key.eq(&key),
            leases::owner.eq(Sql(me)),
            leases::epoch.eq(1),
            leases::value.eq(&value),
        ))
        .on_conflict_do_nothing()
        .execute(c)?;
    let row = leases::table.find(&key).select(LEASE_COLUMNS);
    let found = to_lease(for_update!(row).first(c)?);
    if inserted == 1 {
        return Ok(LeaseClaimOutcome::Created(found));
    }
    if found.owner == me || is_alive(c, found.owner)? {
        return Ok(LeaseClaimOutcome::Held(found));
    }
    let taken = diesel::update(leases::table.find(&key))
        .set((leases::owner.eq(Sql(me)), leases::epoch.eq(leases::epoch + 1)))
        .returning(LEASE_COLUMNS)
        .get_result(c)?;
    Ok(LeaseClaimOutcome::TakenOver(to_lease(taken)))
}

pub(crate) fn lease(c: &mut Conn, key: String) -> QueryResult<Option<LeaseRow>> {
    Ok(leases::table.find(key).select(LEASE_COLUMNS).first(c).optional()?.map(to_lease))
}

pub(crate) fn lease_by_value(c: &mut Conn, value: String) -> QueryResult<Option<LeaseRow>> {
    let found = leases::table.filter(leases::value.eq(value)).select(LEASE_COLUMNS);
    Ok(found.first(c).optional()?.map(to_lease))
}

/// The leases of dead nodes whose keys start with `prefix`.
pub(crate) fn orphaned_leases(c: &mut Conn, prefix: String) -> QueryResult<Vec<LeaseRow>> {
    let now = current_time(c)?;
    let alive = nodes::table.filter(nodes::until.gt(Sql(now))).select(nodes::id);
    let rows: Vec<Row> = leases::table
        .filter(leases::key.like(format!("{prefix}%")))
        .filter(leases::owner.ne_all(alive))
        .select(LEASE_COLUMNS)
        .load(c)?;
    Ok(rows.into_iter().map(to_lease).collect())
}

/// Transfers a lease to another live node; returns the new epoch.
pub(crate) fn transfer_lease(
    c: &mut Conn,
    token: FencingTokenRow,
    to: NodeId,
) -> QueryResult<Option<i64>> {
    if !is_token_valid(c, &token)? || !is_alive(c, to)? {
        return Ok(None);
    }
    let epoch = diesel::update(leases::table.find(&token.key))
        .set((leases::owner.eq(Sql(to)), leases::epoch.eq(leases::epoch + 1)))
        .returning(leases::epoch)
        .get_result(c)?;
    Ok(Some(epoch))
}

pub(crate) fn set_lease_value(
    c: &mut Conn,
    token: FencingTokenRow,
    value: String,
) -> QueryResult<bool> {
    if !is_token_valid(c, &token)? {
        return Ok(false);
    }
    diesel::update(leases::table.find(&token.key)).set(leases::value.eq(value)).execute(c)?;
    Ok(true)
}

pub(crate) fn release_lease(c: &mut Conn, token: FencingTokenRow) -> QueryResult<bool> {
    let lease = leases::table
        .find(token.key)
        .filter(leases::owner.eq(Sql(token.owner)))
        .filter(leases::epoch.eq(token.epoch));
    Ok(diesel::delete(lease).execute(c)? == 1)
}

/// Whether the holder of this token still owns the lease; if so, it does until the transaction
/// ends.
pub(crate) fn is_token_valid(c: &mut Conn, token: &FencingTokenRow) -> QueryResult<bool> {
    let row = leases::table
        .find(&token.key)
        .filter(leases::owner.eq(Sql(token.owner)))
        .filter(leases::epoch.eq(token.epoch))
        .select(leases::epoch);
    Ok(for_share!(row).first::<i64>(c).optional()?.is_some() && is_alive(c, token.owner)?)
}

/// Which of these devices are signed out, or belong to a suspended or deleted user.
pub(crate) fn signed_out_devices(c: &mut Conn, ids: Vec<DeviceId>) -> QueryResult<Vec<DeviceId>> {
    let mut invalid = Vec::new();
    for ids in ids.chunks(MAX_QUERY_VALUES) {
        let valid: Vec<DeviceId> = devices::table
            .inner_join(users::table)
            .filter(devices::id.eq_any(ids.iter().copied().map(Sql)))
            .filter(devices::revoked_at.is_null())
            .filter(users::suspended_at.is_null())
            .select(devices::id)
            .load(c)?;
        invalid.extend(ids.iter().filter(|id| !valid.contains(id)));
    }
    Ok(invalid)
}

/// Which of these users are suspended or deleted.
pub(crate) fn suspended_users(c: &mut Conn, ids: Vec<UserId>) -> QueryResult<Vec<UserId>> {
    let mut invalid = Vec::new();
    for ids in ids.chunks(MAX_QUERY_VALUES) {
        let valid: Vec<UserId> = users::table
            .filter(users::id.eq_any(ids.iter().copied().map(Sql)))
            .filter(users::suspended_at.is_null())
            .select(users::id)
            .load(c)?;
        invalid.extend(ids.iter().filter(|id| !valid.contains(id)));
    }
    Ok(invalid)
}
