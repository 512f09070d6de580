//! Contacts and blocks, and who may add whom to a conversation.

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

/// Locks both users before a change between them, the lower id first: crossing requests are
/// serialised and cannot deadlock. False if one of the two does not exist (any more), or both are
/// the same.
pub(super) fn lock_pair(c: &mut Conn, a: UserId, b: UserId) -> QueryResult<bool> {
    Ok(user_admin::lock_users(c, &[a, b])?.len() == 2)
}

pub(crate) fn request_contact(
    c: &mut Conn,
    from: UserId,
    to: UserId,
    now: Timestamp,
) -> QueryResult<ContactRequestOutcome> {
    if !lock_pair(c, from, to)? {
        return Ok(ContactRequestOutcome::UserNotFound);
    }
    if is_blocked(c, from, to)? {
        return Ok(ContactRequestOutcome::RecipientBlocked);
    }
    let is_shadow_blocked = is_blocked(c, to, from)?;
    match (contact_state(c, from, to)?, contact_state(c, to, from)?) {
        (Some(ContactState::PendingIn), _) => {
            insert_contacts(c, from, to, now)?;
            Ok(ContactRequestOutcome::Accepted)
        }
        // To the requester it looks pending; the other user is never notified.
        (None, _) if is_shadow_blocked => {
            upsert_contact(c, from, to, ContactState::PendingOut, now)?;
            Ok(ContactRequestOutcome::ShadowBlocked)
        }
        (Some(ContactState::PendingOut), None) if !is_shadow_blocked => {
            upsert_contact(c, to, from, ContactState::PendingIn, now)?;
            Ok(ContactRequestOutcome::Requested)
        }
        (Some(_), _) => Ok(ContactRequestOutcome::AlreadyRequested),
        (None, _) => {
            upsert_contact(c, from, to, ContactState::PendingOut, now)?;
            upsert_contact(c, to, from, ContactState::PendingIn, now)?;
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
    if !lock_pair(c, me, other)? || contact_state(c, me, other)? != Some(ContactState::PendingIn) {
        return Ok(false);
    }
    insert_contacts(c, me, other, now)?;
    Ok(true)
}

pub(crate) fn decline_contact(c: &mut Conn, me: UserId, other: UserId) -> QueryResult<bool> {
    if !lock_pair(c, me, other)? || contact_state(c, me, other)? != Some(ContactState::PendingIn) {
        return Ok(false);
    }
    delete_contact(c, me, other)
}

pub(crate) fn remove_contact(c: &mut Conn, me: UserId, other: UserId) -> QueryResult<bool> {
    Ok(lock_pair(c, me, other)? && delete_contact(c, me, other)?)
}

pub(crate) fn block_user(
    c: &mut Conn,
    me: UserId,
    other: UserId,
    now: Timestamp,
) -> QueryResult<bool> {
    if !lock_pair(c, me, other)? {
        return Ok(false);
    }
    delete_contact(c, me, other)?;
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

pub(crate) fn unblock_user(c: &mut Conn, me: UserId, other: UserId) -> QueryResult<bool> {
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

pub(crate) fn blocked_users(c: &mut Conn, me: UserId) -> QueryResult<Vec<BlockedUserRow>> {
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

/// Whether either of the two blocks the other.
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

/// Those of the two members of a direct conversation who block the other; empty for a group.
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

/// The outcome of an operation that is then rolled back: a shadow-blocked user gets this, and
/// nothing has happened.
pub(super) fn simulate<T>(
    c: &mut Conn,
    operation: impl FnOnce(&mut Conn) -> QueryResult<T>,
) -> QueryResult<T> {
    let mut outcome = None;
    let rolled_back = c.transaction::<(), Error, _>(|c| {
        outcome = Some(operation(c)?);
        Err(Error::RollbackTransaction)
    });
    match (rolled_back, outcome) {
        (Err(Error::RollbackTransaction), Some(outcome)) => Ok(outcome),
        (Err(error), _) => Err(error),
        // Unreachable: the closure always returns an error.
        (Ok(()), _) => Err(Error::RollbackTransaction),
    }
}

fn contact_state(c: &mut Conn, me: UserId, other: UserId) -> QueryResult<Option<ContactState>> {
    contacts::table.find((Sql(me), Sql(other))).select(contacts::state).first(c).optional()
}

fn insert_contacts(c: &mut Conn, a: UserId, b: UserId, now: Timestamp) -> QueryResult<()> {
    upsert_contact(c, a, b, ContactState::Accepted, now)?;
    upsert_contact(c, b, a, ContactState::Accepted, now)
}

fn upsert_contact(
    c: &mut Conn,
    a: UserId,
    b: UserId,
    state: ContactState,
    now: Timestamp,
) -> QueryResult<()> {
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

fn delete_contact(c: &mut Conn, a: UserId, b: UserId) -> QueryResult<bool> {
    let forward = diesel::delete(contacts::table.find((Sql(a), Sql(b)))).execute(c)?;
    let reverse = diesel::delete(contacts::table.find((Sql(b), Sql(a)))).execute(c)?;
    Ok(forward + reverse > 0)
}

/// Whether `me` may add all of `others`, who exist, to a conversation.
pub(super) fn can_invite(
    c: &mut Conn,
    me: UserId,
    others: &[UserId],
    rule: InvitationRule,
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
    is_within_reach(c, me, others, rule)
}

/// Whether all of `others` are within reach of `me`, regardless of blocks.
pub(super) fn is_within_reach(
    c: &mut Conn,
    me: UserId,
    others: &[UserId],
    rule: InvitationRule,
) -> QueryResult<bool> {
    if rule == InvitationRule::Anyone {
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
    let group_mates: Vec<UserId> = members::table
        .filter(members::user_id.eq_any(strangers.iter().copied().map(Sql)))
        .filter(members::conversation_id.eq_any(my_groups))
        .select(members::user_id)
        .distinct()
        .load(c)?;
    Ok(group_mates.len() == strangers.len())
}
