//! Calls: created, answered, closed exactly once, and listed as history.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::{CallId, UserId};
use diesel::prelude::*;
use serde_json::{Value, json};

use super::{Conn, cluster, contacts};
use crate::rows::{
    CallOutcome, CallParticipantRow, CallPermission, CallReason, CallRecord, CallRow,
    CallWriteOutcome, EndedCall, FencingTokenRow, InvitationRule, NewCall,
};
use crate::schema::{call_people, calls, outbox, users};
use crate::types::Sql;

pub(crate) fn call_permission(
    c: &mut Conn,
    me: UserId,
    other: UserId,
    rule: InvitationRule,
) -> QueryResult<CallPermission> {
    let callee = users::table.find(Sql(other)).filter(users::deleted_at.is_null());
    let count: i64 = callee.count().get_result(c)?;
    if count == 0 || me == other {
        return Ok(CallPermission::UserNotFound);
    }
    if contacts::is_blocked(c, me, other)? || !contacts::is_within_reach(c, me, &[other], rule)? {
        return Ok(CallPermission::NotAllowed);
    }
    let is_shadow_blocked = contacts::is_blocked(c, other, me)?;
    Ok(if is_shadow_blocked { CallPermission::ShadowBlocked } else { CallPermission::Allowed })
}

/// Whether a write may proceed: it carries no fencing token, or a valid one.
fn may_write(c: &mut Conn, token: Option<&FencingTokenRow>) -> QueryResult<bool> {
    token.map_or(Ok(true), |token| cluster::is_token_valid(c, token))
}

pub(crate) fn create_call(
    c: &mut Conn,
    new: NewCall,
    token: Option<FencingTokenRow>,
    now: Timestamp,
) -> QueryResult<CallWriteOutcome> {
    if !may_write(c, token.as_ref())? {
        return Ok(CallWriteOutcome::Fenced);
    }
    diesel::insert_into(calls::table)
        .values((
            calls::id.eq(Sql(new.id)),
            calls::conversation_id.eq(new.conversation_id.map(Sql)),
            calls::session.eq(new.session.as_deref()),
            calls::created_by.eq(Sql(new.created_by)),
            calls::media.eq(new.media),
            calls::node.eq(Sql(new.node)),
            calls::started_at.eq(Sql(now)),
        ))
        .execute(c)?;
    let caller = (new.created_by, CallOutcome::Joined, false);
    let callees = new.callees.iter().map(|user| (*user, CallOutcome::Called, false));
    let shadow_blocked_callees =
        new.shadow_blocked.iter().map(|user| (*user, CallOutcome::Called, true));
    for (user, outcome, withheld) in
        std::iter::once(caller).chain(callees).chain(shadow_blocked_callees)
    {
        diesel::insert_into(call_people::table)
            .values((
                call_people::call_id.eq(Sql(new.id)),
                call_people::user_id.eq(Sql(user)),
                call_people::outcome.eq(outcome),
                call_people::withheld.eq(withheld),
            ))
            .execute(c)?;
    }
    if !new.callees.is_empty() {
        let payload = json!({
            "call_id": new.id,
            "from": new.created_by,
            "to": new.callees,
            "media": new.media,
            "conversation_id": new.conversation_id,
            "expires_at": new.rings_until,
        });
        enqueue_outbox(c, "call", payload, now)?;
    }
    Ok(CallWriteOutcome::Done)
}

pub(crate) fn add_callee(
    c: &mut Conn,
    id: CallId,
    from: UserId,
    (user, is_notified): (UserId, bool),
    rings_until: Timestamp,
    now: Timestamp,
) -> QueryResult<bool> {
    // An update, so that it serialises with closing the call.
    let open = calls::table.find(Sql(id)).filter(calls::ended_at.is_null());
    if diesel::update(open).set(calls::media.eq(calls::media)).execute(c)? == 0 {
        return Ok(false);
    }
    let callee = diesel::insert_into(call_people::table).values((
        call_people::call_id.eq(Sql(id)),
        call_people::user_id.eq(Sql(user)),
        call_people::outcome.eq(CallOutcome::Called),
        call_people::withheld.eq(!is_notified),
    ));
    if !is_notified {
        callee.on_conflict_do_nothing().execute(c)?;
        return Ok(true);
    }
    callee
        .on_conflict((call_people::call_id, call_people::user_id))
        .do_update()
        // Somebody else may have called them before without notifying them.
        .set(call_people::withheld.eq(false))
        .execute(c)?;
    let payload = json!({ "call_id": id, "from": from, "to": [user], "expires_at": rings_until });
    enqueue_outbox(c, "call", payload, now)?;
    Ok(true)
}

pub(crate) fn answer_call(
    c: &mut Conn,
    id: CallId,
    token: Option<FencingTokenRow>,
    now: Timestamp,
) -> QueryResult<CallWriteOutcome> {
    if !may_write(c, token.as_ref())? {
        return Ok(CallWriteOutcome::Fenced);
    }
    let open = calls::table.find(Sql(id)).filter(calls::answered_at.is_null());
    let open = open.filter(calls::ended_at.is_null());
    let changed = diesel::update(open).set(calls::answered_at.eq(Sql(now))).execute(c)?;
    Ok(if changed == 1 { CallWriteOutcome::Done } else { CallWriteOutcome::AlreadyDone })
}

pub(crate) fn save_call_state(
    c: &mut Conn,
    id: CallId,
    state: Value,
    token: Option<FencingTokenRow>,
) -> QueryResult<CallWriteOutcome> {
    if !may_write(c, token.as_ref())? {
        return Ok(CallWriteOutcome::Fenced);
    }
    let open = calls::table.find(Sql(id)).filter(calls::ended_at.is_null());
    let changed = diesel::update(open).set(calls::state.eq(Sql(state))).execute(c)?;
    Ok(if changed == 1 { CallWriteOutcome::Done } else { CallWriteOutcome::AlreadyDone })
}

pub(crate) fn call_state(c: &mut Conn, id: CallId) -> QueryResult<Option<Value>> {
    let open = calls::table.find(Sql(id)).filter(calls::ended_at.is_null());
    Ok(open.select(calls::state).first::<Option<Value>>(c).optional()?.flatten())
}

pub(crate) fn end_call(
    c: &mut Conn,
    end: EndedCall,
    token: Option<FencingTokenRow>,
    now: Timestamp,
) -> QueryResult<CallWriteOutcome> {
    if !may_write(c, token.as_ref())? {
        return Ok(CallWriteOutcome::Fenced);
    }
    let open = calls::table.find(Sql(end.id)).filter(calls::ended_at.is_null());
    let closed = diesel::update(open)
        .set((
            calls::ended_at.eq(Sql(now)),
            calls::reason.eq(end.reason),
            calls::answered_at.eq(end.answered_at.map(Sql)),
            calls::state.eq(None::<Sql<Value>>),
        ))
        .execute(c)?;
    if closed == 0 {
        return Ok(CallWriteOutcome::AlreadyDone);
    }
    for person in &end.participants {
        upsert_participant(c, end.id, person)?;
    }
    let with_outcome = |outcome| {
        let people = call_people::table.filter(call_people::call_id.eq(Sql(end.id)));
        people.filter(call_people::outcome.eq(outcome))
    };
    // A participant who joined after all knows of the call.
    let joined = with_outcome(CallOutcome::Joined).filter(call_people::withheld.eq(true));
    diesel::update(joined).set(call_people::withheld.eq(false)).execute(c)?;
    let missed: Vec<UserId> = with_outcome(CallOutcome::Missed)
        .filter(call_people::withheld.eq(false))
        .order(call_people::user_id)
        .select(call_people::user_id)
        .load(c)?;
    // Recorded as called but never rung: only the history shows them.
    mark_unreached_missed(c, end.id)?;
    if !missed.is_empty() {
        let payload = json!({ "call_id": end.id, "to": missed, "reason": end.reason });
        enqueue_outbox(c, "call_missed", payload, now)?;
    }
    if let Some(token) = token {
        cluster::release_lease(c, token)?;
    }
    Ok(CallWriteOutcome::Done)
}

fn mark_unreached_missed(c: &mut Conn, id: CallId) -> QueryResult<()> {
    let unreached = call_people::table
        .filter(call_people::call_id.eq(Sql(id)))
        .filter(call_people::outcome.eq(CallOutcome::Called));
    diesel::update(unreached).set(call_people::outcome.eq(CallOutcome::Missed)).execute(c)?;
    Ok(())
}

fn upsert_participant(c: &mut Conn, call: CallId, person: &CallParticipantRow) -> QueryResult<()> {
    let outcome = || {
        (
            call_people::outcome.eq(person.outcome),
            call_people::joined_at.eq(person.joined_at.map(Sql)),
            call_people::left_at.eq(person.left_at.map(Sql)),
        )
    };
    diesel::insert_into(call_people::table)
        .values((
            call_people::call_id.eq(Sql(call)),
            call_people::user_id.eq(Sql(person.user_id)),
            outcome(),
        ))
        .on_conflict((call_people::call_id, call_people::user_id))
        .do_update()
        .set(outcome())
        .execute(c)?;
    Ok(())
}

fn enqueue_outbox(c: &mut Conn, topic: &str, payload: Value, now: Timestamp) -> QueryResult<()> {
    diesel::insert_into(outbox::table)
        .values((
            outbox::topic.eq(topic),
            outbox::payload.eq(Sql(payload)),
            outbox::created_at.eq(Sql(now)),
        ))
        .execute(c)?;
    Ok(())
}

pub(crate) fn open_calls(c: &mut Conn) -> QueryResult<Vec<CallId>> {
    calls::table.filter(calls::ended_at.is_null()).order(calls::id).select(calls::id).load(c)
}

pub(crate) fn close_calls(c: &mut Conn, ids: Vec<CallId>, now: Timestamp) -> QueryResult<usize> {
    let mut closed = 0;
    for id in ids {
        let open = calls::table.find(Sql(id)).filter(calls::ended_at.is_null());
        let end = (
            calls::ended_at.eq(Sql(now)),
            calls::reason.eq(CallReason::Failed),
            calls::state.eq(None::<Sql<Value>>),
        );
        if diesel::update(open).set(end).execute(c)? == 1 {
            closed += 1;
            mark_unreached_missed(c, id)?;
        }
    }
    Ok(closed)
}

pub(crate) fn call_history(
    c: &mut Conn,
    me: UserId,
    before: Option<CallId>,
    limit: i64,
) -> QueryResult<Vec<CallRecord>> {
    let mut query = call_people::table
        .inner_join(calls::table.inner_join(users::table))
        .filter(call_people::user_id.eq(Sql(me)))
        .filter(call_people::withheld.eq(false))
        .select((CallRow::as_select(), users::name))
        .order(call_people::call_id.desc())
        .limit(limit)
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(call_people::call_id.lt(Sql(before)));
    }
    let found: Vec<(CallRow, String)> = query.load(c)?;
    let ids = found.iter().map(|(call, _)| Sql(call.id));
    let rows: Vec<(CallId, CallParticipantRow, String)> = call_people::table
        .inner_join(users::table)
        .filter(call_people::call_id.eq_any(ids))
        .select((
            call_people::call_id,
            (
                call_people::user_id,
                call_people::outcome,
                call_people::joined_at,
                call_people::left_at,
            ),
            users::name,
        ))
        .order((call_people::call_id, call_people::user_id))
        .load(c)?;
    let mut people: HashMap<CallId, Vec<(CallParticipantRow, String)>> = HashMap::new();
    for (id, person, name) in rows {
        people.entry(id).or_default().push((person, name));
    }
    let record = |(call, caller): (CallRow, String)| {
        let people = people.remove(&call.id).unwrap_or_default();
        CallRecord { call, caller_name: caller, participants: people }
    };
    Ok(found.into_iter().map(record).collect())
}
