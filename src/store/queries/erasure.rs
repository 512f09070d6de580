//! The end of an account: the person at once, what they left in conversations step by step.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::json;

use super::{
    Conn, accounts, audit, files, group_members, jobs as work, messages as said_and_done,
    passwords, second_factor, sign_in, user_admin,
};
use crate::rows::{
    AffectedConversation, ConversationChangeOutcome, DepartureBatch, Kind, NewAudit, NewJob, Role,
    UserChangeOutcome,
};
use crate::schema::{
    audit_entries, blocks, calls, contacts, conversations, counters, devices, exports,
    hidden_messages, invites, members, message_attachments, messages, reactions, refresh_tokens,
    statuses, users,
};
use crate::types::Sql;

/// Under which name others see who is gone.
const GONE: &str = "Deleted account";
/// Conversations that are looked through at once.
const WINDOW: i64 = 500;
/// Messages that are changed at once.
const BATCH: i64 = 500;

/// Takes everything away that is the person's alone, and leaves a row without a name, to which
/// what others keep may still refer. `rest` does what may take longer.
pub(crate) fn delete_user(
    c: &mut Conn,
    user: UserId,
    rest: NewJob,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    accounts::hold_count(c)?;
    if !user_admin::hold(c, user)? {
        return Ok(UserChangeOutcome::NoSuchUser);
    }
    if let Err(refused) = user_admin::can_lose_admin(c, user)? {
        return Ok(refused);
    }
    let everywhere = sign_in::revoke_all(c, user, None, now)?;
    let theirs: Vec<_> =
        devices::table.filter(devices::user_id.eq(Sql(user))).select(devices::id).load(c)?;
    anonymise_audit(c, user, &theirs)?;
    let tokens = refresh_tokens::device_id.eq_any(theirs.iter().copied().map(Sql));
    diesel::delete(refresh_tokens::table.filter(tokens)).execute(c)?;
    diesel::delete(devices::table.filter(devices::user_id.eq(Sql(user)))).execute(c)?;
    second_factor::remove(c, user)?;
    passwords::drop_links(c, user)?;
    diesel::delete(exports::table.filter(exports::user_id.eq(Sql(user)))).execute(c)?;
    files::forget_files(c, user, now)?;
    let mine = contacts::user_id.eq(Sql(user)).or(contacts::other_id.eq(Sql(user)));
    diesel::delete(contacts::table.filter(mine)).execute(c)?;
    let mine = blocks::user_id.eq(Sql(user)).or(blocks::other_id.eq(Sql(user)));
    diesel::delete(blocks::table.filter(mine)).execute(c)?;
    diesel::delete(statuses::table.find(Sql(user))).execute(c)?;
    diesel::delete(reactions::table.filter(reactions::user_id.eq(Sql(user)))).execute(c)?;
    let mine = hidden_messages::user_id.eq(Sql(user));
    diesel::delete(hidden_messages::table.filter(mine)).execute(c)?;
    diesel::delete(invites::table.filter(invites::created_by.eq(Sql(user)))).execute(c)?;
    let own = calls::table.filter(calls::created_by.eq(Sql(user)));
    diesel::update(own).set(calls::session.eq(None::<String>)).execute(c)?;

    diesel::update(users::table.find(Sql(user)))
        .set((
            users::phone.eq(user.to_string()), // unique, and no number
            users::name.eq(GONE),
            users::role.eq(Role::User),
            users::password_hash.eq(""),
            users::suspended_at.eq(Sql(now)),
            users::deleted_at.eq(Sql(now)),
        ))
        .execute(c)?;
    diesel::update(counters::table.find("users"))
        .set(counters::value.eq(counters::value - 1))
        .execute(c)?;
    audit::insert(c, &entry, now)?;
    work::insert(c, &rest, now)?;
    Ok(UserChangeOutcome::Done(everywhere))
}

/// What was done stays on record; from where, and the rest about it, does not.
fn anonymise_audit(c: &mut Conn, user: UserId, devices: &[base::ids::DeviceId]) -> QueryResult<()> {
    let subjects = devices.iter().map(ToString::to_string).chain([user.to_string()]);
    let about = audit_entries::actor
        .eq(Sql(user))
        .or(audit_entries::subject.eq_any(subjects.collect::<Vec<_>>()).assume_not_null());
    diesel::update(audit_entries::table.filter(about))
        .set((audit_entries::ip.eq(None::<String>), audit_entries::detail.eq(Sql(json!({})))))
        .execute(c)?;
    Ok(())
}

/// Those of the next conversations in which the person left something, and where to go on.
pub(crate) fn left_behind(
    c: &mut Conn,
    user: UserId,
    after: Option<ConversationId>,
) -> QueryResult<(Vec<AffectedConversation>, Option<ConversationId>)> {
    let mut next = conversations::table
        .order(conversations::id)
        .limit(WINDOW)
        .select(conversations::id)
        .into_boxed();
    if let Some(after) = after {
        next = next.filter(conversations::id.gt(Sql(after)));
    }
    let window: Vec<ConversationId> = next.load(c)?;
    let last = window.last().copied();
    let member = members::table
        .filter(members::conversation_id.eq(conversations::id))
        .filter(members::user_id.eq(Sql(user)));
    let said = messages::table
        .filter(messages::conversation_id.eq(conversations::id))
        .filter(messages::sender_id.eq(Sql(user)))
        .filter(left_in_messages());
    let pair = conversations::direct_low
        .eq(Sql(user))
        .or(conversations::direct_high.eq(Sql(user)))
        .assume_not_null();
    let found: Vec<(ConversationId, Kind)> = conversations::table
        .filter(conversations::id.eq_any(window.into_iter().map(Sql)))
        .filter(
            exists(member).or(exists(said)).or(conversations::direct_low.is_not_null().and(pair)),
        )
        .order(conversations::id)
        .select((conversations::id, conversations::kind))
        .load(c)?;
    Ok((found.into_iter().map(|(id, kind)| AffectedConversation { id, kind }).collect(), last))
}

/// Whether a message still has something of its sender's: a text, files, or the name that they gave
/// it, which stays with a message that was deleted or has disappeared.
#[diesel::dsl::auto_type]
fn left_in_messages() -> _ {
    let carried =
        message_attachments::table.filter(message_attachments::message_id.eq(messages::id));
    messages::body.ne("").or(exists(carried)).or(messages::client_id.not_like(" %"))
}

/// Leaves a group; with `scrub`, what the person said there is emptied: its numbers stay.
pub(crate) fn part_from_group(
    c: &mut Conn,
    id: ConversationId,
    user: UserId,
    scrub: bool,
    now: Timestamp,
) -> QueryResult<DepartureBatch> {
    let mut said = Vec::new();
    let others = match group_members::remove_member(c, id, user, user, now)? {
        ConversationChangeOutcome::Done(view, left) => {
            said = left;
            view.members.iter().map(|member| member.user_id).collect()
        }
        _ => Vec::new(), // left before
    };
    if !scrub {
        return Ok(DepartureBatch { others, said, more: false });
    }
    let some = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::sender_id.eq(Sql(user)))
        .filter(left_in_messages())
        .limit(BATCH)
        .select(messages::id);
    let some: Vec<base::ids::MessageId> = some.load(c)?;
    let more = some.len() == usize::try_from(BATCH).unwrap_or(usize::MAX);
    if !some.is_empty() {
        let many = i64::try_from(some.len()).unwrap_or(i64::MAX);
        let first = said_and_done::next(c, id, many)? - many + 1;
        let which: Vec<_> = some.iter().copied().zip(first..).collect();
        said_and_done::erase(c, &which, now)?;
    }
    diesel::update(messages::table.filter(messages::id.eq_any(some.into_iter().map(Sql))))
        // Its sender made it up; the number is as unique, and of a form no sender may choose.
        .set(messages::client_id.eq(sql::<Text>("' ' || CAST(seq AS TEXT)")))
        .execute(c)?;
    Ok(DepartureBatch { others, said, more })
}

/// Removes a conversation of two: first from both lists, then what was said, then itself.
pub(crate) fn remove_direct(
    c: &mut Conn,
    id: ConversationId,
    user: UserId,
    now: Timestamp,
) -> QueryResult<DepartureBatch> {
    let held_row = conversations::table.find(Sql(id)).select(conversations::id);
    if held!(held_row).first::<ConversationId>(c).optional()?.is_none() {
        return Ok(DepartureBatch { others: Vec::new(), said: Vec::new(), more: false });
    }
    let mut others: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .select(members::user_id)
        .load(c)?;
    others.retain(|other| *other != user);
    diesel::delete(members::table.filter(members::conversation_id.eq(Sql(id)))).execute(c)?;
    let some: Vec<base::ids::MessageId> = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .limit(BATCH)
        .select(messages::id)
        .load(c)?;
    let more = some.len() == usize::try_from(BATCH).unwrap_or(usize::MAX);
    files::release(c, &some, now)?;
    diesel::delete(messages::table.filter(messages::id.eq_any(some.into_iter().map(Sql))))
        .execute(c)?;
    if !more {
        let held_in = calls::table.filter(calls::conversation_id.eq(Sql(id)));
        diesel::update(held_in)
            .set(calls::conversation_id.eq(None::<Sql<ConversationId>>))
            .execute(c)?;
        diesel::delete(conversations::table.find(Sql(id))).execute(c)?;
    }
    Ok(DepartureBatch { others, said: Vec::new(), more })
}
