//! What people say of themselves, when they were here last, and who may know.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::UserId;
use diesel::prelude::*;

use super::{Conn, user_admin};
use crate::rows::{Availability, ContactState, StatusRow};
use crate::schema::{contacts, statuses, users};
use crate::types::Sql;

const COLUMNS: (statuses::user_id, statuses::state, statuses::text, statuses::last_seen_at) =
    (statuses::user_id, statuses::state, statuses::text, statuses::last_seen_at);

/// Of these people, those who ever said something of themselves or went.
pub(crate) fn statuses(c: &mut Conn, people: Vec<UserId>) -> QueryResult<Vec<StatusRow>> {
    statuses::table
        .filter(statuses::user_id.eq_any(people.into_iter().map(Sql)))
        .select(COLUMNS)
        .load(c)
}

pub(crate) fn set_status(
    c: &mut Conn,
    user: UserId,
    state: Availability,
    text: String,
) -> QueryResult<bool> {
    if !user_admin::hold(c, user)? {
        return Ok(false);
    }
    diesel::insert_into(statuses::table)
        .values((
            statuses::user_id.eq(Sql(user)),
            statuses::state.eq(state),
            statuses::text.eq(&text),
        ))
        .on_conflict(statuses::user_id)
        .do_update()
        .set((statuses::state.eq(state), statuses::text.eq(&text)))
        .execute(c)?;
    Ok(true)
}

/// Notes when people were here last; what is known and later stays.
pub(crate) fn last_seen(c: &mut Conn, gone: Vec<(UserId, Timestamp)>) -> QueryResult<()> {
    let mut last: HashMap<UserId, Timestamp> = HashMap::new();
    for (user, at) in gone {
        let known = last.entry(user).or_insert(at);
        *known = at.max(*known);
    }
    let all: Vec<UserId> = last.keys().copied().collect();
    let there = user_admin::hold_all(c, &all)?;
    let known: HashMap<UserId, Option<Timestamp>> = statuses::table
        .filter(statuses::user_id.eq_any(all.into_iter().map(Sql)))
        .select((statuses::user_id, statuses::last_seen_at))
        .load(c)?
        .into_iter()
        .collect();
    for user in there {
        let (before, Some(at)) = (known.get(&user).copied().flatten(), last.get(&user).copied())
        else {
            continue;
        };
        if before.is_some_and(|before| before >= at) {
            continue;
        }
        diesel::insert_into(statuses::table)
            .values((
                statuses::user_id.eq(Sql(user)),
                statuses::state.eq(Availability::Online),
                statuses::text.eq(""),
                statuses::last_seen_at.eq(Sql(at)),
            ))
            .on_conflict(statuses::user_id)
            .do_update()
            .set(statuses::last_seen_at.eq(Sql(at)))
            .execute(c)?;
    }
    Ok(())
}

/// Of each of these people: who agreed to be their contact, and so may know whether they are here.
pub(crate) fn watchers(c: &mut Conn, people: Vec<UserId>) -> QueryResult<Vec<(UserId, UserId)>> {
    contacts::table
        .filter(contacts::user_id.eq_any(people.into_iter().map(Sql)))
        .filter(contacts::state.eq(ContactState::Accepted))
        .select((contacts::user_id, contacts::other_id))
        .load(c)
}

/// Who of these numbers is here, up to a thousand.
pub(crate) fn match_phones(
    c: &mut Conn,
    me: UserId,
    phones: Vec<String>,
) -> QueryResult<Vec<(String, UserId, String)>> {
    use crate::schema::blocks;
    let keeps_away =
        blocks::table.filter(blocks::user_id.eq(users::id)).filter(blocks::other_id.eq(Sql(me)));
    users::table
        .filter(users::phone.eq_any(phones))
        .filter(users::id.ne(Sql(me)))
        .filter(users::deleted_at.is_null())
        .filter(users::suspended_at.is_null())
        .filter(diesel::dsl::not(diesel::dsl::exists(keeps_away)))
        .select((users::phone, users::id, users::name))
        .load(c)
}
