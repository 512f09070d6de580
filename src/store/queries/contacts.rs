//! Who knows whom, who wants to hear nothing of whom, and who may draw whom into something.

use std::collections::HashSet;

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;
use diesel::result::Error;

use super::{Conn, user_admin};
use crate::rows::{
    BlockedUserRow, ContactRequestOutcome, ContactRow, ContactState, InvitationRule, Kind,
};
use crate::schema::{blocks, contacts, conversations, members, users};
use crate::types::Sql;

/// Whoever changes what stands between two people holds both, the lower id first: requests that
/// cross each other come one after the other, and never wait in a circle. False if one of the two
/// does not exist (any more), or both are the same.
pub(super) fn hold_pair(c: &mut Conn, a: UserId, b: UserId) -> QueryResult<bool> {
    Ok(user_admin::hold_all(c, &[a, b])?.len() == 2)
}

pub(crate) fn request_contact(
    c: &mut Conn,
    from: UserId,
    to: UserId,
    now: Timestamp,
) -> QueryResult<ContactRequestOutcome> {
    if !hold_pair(c, from, to)? {
        return Ok(ContactRequestOutcome::NoSuchUser);
    }
    if is_blocked(c, from, to)? {
        return Ok(ContactRequestOutcome::Blocking);
    }
    let ignored = is_blocked(c, to, from)?;
    match (state(c, from, to)?, state(c, to, from)?) {
        (Some(ContactState::PendingIn), _) => {
            befriend(c, from, to, now)?;
            Ok(ContactRequestOutcome::Accepted)
        }
        // To whoever asked it looks as if it waited; whoever was asked never hears of it.
        (None, _) if ignored => {
            put(c, from, to, ContactState::PendingOut, now)?;
            Ok(ContactRequestOutcome::Ignored)
        }
        (Some(ContactState::PendingOut), None) if !ignored => {
            put(c, to, from, ContactState::PendingIn, now)?;
            Ok(ContactRequestOutcome::Requested)
        }
        (Some(_), _) => Ok(ContactRequestOutcome::Already),
        (None, _) => {
            put(c, from, to, ContactState::PendingOut, now)?;
            put(c, to, from, ContactState::PendingIn, now)?;
            Ok(ContactRequestOutcome::Requested)
        }
    }
}

pub(crate) fn accept_contact(
    c: &mut Conn,
    me: UserId,
    other: UserId,
    now: Timestamp,
) -> QueryResult<bool> {
    if !hold_pair(c, me, other)? || state(c, me, other)? != Some(ContactState::PendingIn) {
        return Ok(false);
    }
    befriend(c, me, other, now)?;
    Ok(true)
}

pub(crate) fn refuse_contact(c: &mut Conn, me: UserId, other: UserId) -> QueryResult<bool> {
    if !hold_pair(c, me, other)? || state(c, me, other)? != Some(ContactState::PendingIn) {
        return Ok(false);
    }
    part(c, me, other)
}

pub(crate) fn remove_contact(c: &mut Conn, me: UserId, other: UserId) -> QueryResult<bool> {
    Ok(hold_pair(c, me, other)? && part(c, me, other)?)
}

pub(crate) fn block(c: &mut Conn, me: UserId, other: UserId, now: Timestamp) -> QueryResult<bool> {
    if !hold_pair(c, me, other)? {
        return Ok(false);
    }
    part(c, me, other)?;
    diesel::insert_into(blocks::table)
        .values((
            blocks::user_id.eq(Sql(me)),
            blocks::other_id.eq(Sql(other)),
            blocks::since.eq(Sql(now)),
        ))
        .on_conflict_do_nothing()
        .execute(c)?;
    Ok(true)
}

pub(crate) fn unblock(c: &mut Conn, me: UserId, other: UserId) -> QueryResult<bool> {
    Ok(diesel::delete(blocks::table.find((Sql(me), Sql(other)))).execute(c)? == 1)
}

pub(crate) fn contacts(
    c: &mut Conn,
    me: UserId,
    after: Option<UserId>,
    limit: i64,
) -> QueryResult<Vec<ContactRow>> {
    let mut query = contacts::table
        .inner_join(users::table)
        .filter(contacts::user_id.eq(Sql(me)))
        .select((users::id, users::name, users::phone, contacts::state, contacts::since))
        .order(contacts::other_id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(contacts::other_id.gt(Sql(after)));
    }
    query.load(c)
}

pub(crate) fn blocked(c: &mut Conn, me: UserId) -> QueryResult<Vec<BlockedUserRow>> {
    blocks::table
        .inner_join(users::table)
        .filter(blocks::user_id.eq(Sql(me)))
        .select((users::id, users::name, blocks::since))
        .order(blocks::other_id)
        .load(c)
}

pub(super) fn is_blocked(c: &mut Conn, by: UserId, whom: UserId) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(blocks::table.find((Sql(by), Sql(whom))))).get_result(c)
}

/// Whether one of the two blocks the other.
pub(super) fn any_block(c: &mut Conn, a: UserId, b: UserId) -> QueryResult<bool> {
    let either = blocks::table.filter(
        (blocks::user_id.eq(Sql(a)).and(blocks::other_id.eq(Sql(b))))
            .or(blocks::user_id.eq(Sql(b)).and(blocks::other_id.eq(Sql(a)))),
    );
    diesel::select(diesel::dsl::exists(either)).get_result(c)
}

/// Those of the two who block the other.
pub(super) fn blockers(c: &mut Conn, (a, b): (UserId, UserId)) -> QueryResult<Vec<UserId>> {
    blocks::table
        .filter(
            (blocks::user_id.eq(Sql(a)).and(blocks::other_id.eq(Sql(b))))
                .or(blocks::user_id.eq(Sql(b)).and(blocks::other_id.eq(Sql(a)))),
        )
        .select(blocks::user_id)
        .load(c)
}

/// Those of the two of a direct conversation who block the other; nobody in a group.
pub(super) fn blockers_in(c: &mut Conn, id: ConversationId) -> QueryResult<Vec<UserId>> {
    let pair: Option<(Option<UserId>, Option<UserId>)> = conversations::table
        .find(Sql(id))
        .select((conversations::direct_low, conversations::direct_high))
        .first(c)
        .optional()?;
    match pair.and_then(|(low, high)| low.zip(high)) {
        Some(pair) => blockers(c, pair),
        None => Ok(Vec::new()),
    }
}

/// What something would come to, which is taken back: whoever is blocked is told this, and nothing
/// has happened.
pub(super) fn for_show<T>(
    c: &mut Conn,
    deed: impl FnOnce(&mut Conn) -> QueryResult<T>,
) -> QueryResult<T> {
    let mut outcome = None;
    let undone = c.transaction::<(), Error, _>(|c| {
        outcome = Some(deed(c)?);
        Err(Error::RollbackTransaction)
    });
    match (undone, outcome) {
        (Err(Error::RollbackTransaction), Some(outcome)) => Ok(outcome),
        (Err(error), _) => Err(error),
        (Ok(()), _) => Err(Error::RollbackTransaction), // it never ends so
    }
}

fn state(c: &mut Conn, me: UserId, other: UserId) -> QueryResult<Option<ContactState>> {
    contacts::table.find((Sql(me), Sql(other))).select(contacts::state).first(c).optional()
}

fn befriend(c: &mut Conn, a: UserId, b: UserId, now: Timestamp) -> QueryResult<()> {
    put(c, a, b, ContactState::Accepted, now)?;
    put(c, b, a, ContactState::Accepted, now)
}

fn put(c: &mut Conn, a: UserId, b: UserId, state: ContactState, now: Timestamp) -> QueryResult<()> {
    diesel::insert_into(contacts::table)
        .values((
            contacts::user_id.eq(Sql(a)),
            contacts::other_id.eq(Sql(b)),
            contacts::state.eq(state),
            contacts::since.eq(Sql(now)),
        ))
        .on_conflict((contacts::user_id, contacts::other_id))
        .do_update()
        .set((contacts::state.eq(state), contacts::since.eq(Sql(now))))
        .execute(c)?;
    Ok(())
}

fn part(c: &mut Conn, a: UserId, b: UserId) -> QueryResult<bool> {
    let mine = diesel::delete(contacts::table.find((Sql(a), Sql(b)))).execute(c)?;
    let theirs = diesel::delete(contacts::table.find((Sql(b), Sql(a)))).execute(c)?;
    Ok(mine + theirs > 0)
}

/// Whether `me` may draw all of `others`, who exist, into a conversation.
pub(super) fn may_reach(
    c: &mut Conn,
    me: UserId,
    others: &[UserId],
    reach: InvitationRule,
) -> QueryResult<bool> {
    let blocked = blocks::table.filter(
        (blocks::user_id.eq(Sql(me)).and(blocks::other_id.eq_any(others.iter().copied().map(Sql))))
            .or(blocks::other_id
                .eq(Sql(me))
                .and(blocks::user_id.eq_any(others.iter().copied().map(Sql)))),
    );
    if diesel::select(diesel::dsl::exists(blocked)).get_result(c)? {
        return Ok(false);
    }
    knows(c, me, others, reach)
}

/// Whether all of `others` are within reach of `me`, whatever anybody blocks.
pub(super) fn knows(
    c: &mut Conn,
    me: UserId,
    others: &[UserId],
    reach: InvitationRule,
) -> QueryResult<bool> {
    if reach == InvitationRule::Anybody {
        return Ok(true);
    }
    let mut strangers: HashSet<UserId> = others.iter().copied().collect();
    let known: Vec<UserId> = contacts::table
        .filter(contacts::user_id.eq(Sql(me)))
        .filter(contacts::other_id.eq_any(others.iter().copied().map(Sql)))
        .filter(contacts::state.eq(ContactState::Accepted))
        .select(contacts::other_id)
        .load(c)?;
    strangers.retain(|stranger| !known.contains(stranger));
    if strangers.is_empty() {
        return Ok(true);
    }
    let mine = diesel::alias!(members as mine);
    let my_groups = mine
        .inner_join(
            conversations::table.on(conversations::id.eq(mine.field(members::conversation_id))),
        )
        .filter(mine.field(members::user_id).eq(Sql(me)))
        .filter(conversations::kind.eq(Kind::Group))
        .select(conversations::id);
    let met: Vec<UserId> = members::table
        .filter(members::user_id.eq_any(strangers.iter().copied().map(Sql)))
        .filter(members::conversation_id.eq_any(my_groups))
        .select(members::user_id)
        .distinct()
        .load(c)?;
    Ok(met.len() == strangers.len())
}
