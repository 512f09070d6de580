//! Availability, status texts and last-seen times, and who may see presence.

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

/// The status rows of these users.
pub(crate) fn statuses(c: &mut Conn, user_ids: Vec<UserId>) -> QueryResult<Vec<StatusRow>> {
    statuses::table
        .filter(statuses::user_id.eq_any(user_ids.into_iter().map(Sql)))
        .select(COLUMNS)
        .load(c)
}

pub(crate) fn set_status(
    c: &mut Conn,
    user: UserId,
    state: Availability,
    text: String,
) -> QueryResult<bool> {
    if !user_admin::lock_user(c, user)? {
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

/// Records when users were last online; a later recorded time stays.
pub(crate) fn update_last_seen(c: &mut Conn, seen: Vec<(UserId, Timestamp)>) -> QueryResult<()> {
    let mut last: HashMap<UserId, Timestamp> = HashMap::new();
    for (user, at) in seen {
        let known = last.entry(user).or_insert(at);
        *known = at.max(*known);
    }
    let all: Vec<UserId> = last.keys().copied().collect();
    let existing = user_admin::lock_users(c, &all)?;
    let known: HashMap<UserId, Option<Timestamp>> = statuses::table
        .filter(statuses::user_id.eq_any(all.into_iter().map(Sql)))
        .select((statuses::user_id, statuses::last_seen_at))
        .load(c)?
        .into_iter()
        .collect();
    for user in existing {
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

/// Pairs of one of these users and an accepted contact of theirs, who may see their presence.
pub(crate) fn presence_watchers(
    c: &mut Conn,
    user_ids: Vec<UserId>,
) -> QueryResult<Vec<(UserId, UserId)>> {
    contacts::table
        .filter(contacts::user_id.eq_any(user_ids.into_iter().map(Sql)))
        .filter(contacts::state.eq(ContactState::Accepted))
        .select((contacts::user_id, contacts::other_id))
        .load(c)
}

/// The users with these phone numbers (at most a thousand) who do not block `me`.
pub(crate) fn users_by_phones(
    c: &mut Conn,
    me: UserId,
    phones: Vec<String>,
) -> QueryResult<Vec<(String, UserId, String)>> {
    use crate::schema::blocks;
    let blocks_me =
        blocks::table.filter(blocks::user_id.eq(users::id)).filter(blocks::other_id.eq(Sql(me)));
    users::table
        .filter(users::phone.eq_any(phones))
        .filter(users::id.ne(Sql(me)))
        .filter(users::deleted_at.is_null())
        .filter(users::suspended_at.is_null())
        .filter(diesel::dsl::not(diesel::dsl::exists(blocks_me)))
        .select((users::phone, users::id, users::name))
        .load(c)
}
