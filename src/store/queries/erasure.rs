//! Account deletion: the user at once, their data in conversations in batches.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::json;

use super::{
    Conn, accounts, audit, files, group_members, jobs as job_queries, messages as message_queries,
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

/// Name under which others see a deleted user.
const DELETED_USER_NAME: &str = "Deleted account";
/// Conversations examined at once.
const WINDOW_CONVERSATIONS: i64 = 500;
/// Messages changed at once.
const BATCH_MESSAGES: i64 = 500;

/// Deletes all data that is the user's alone, and leaves an anonymous row to which other users'
/// data may still refer. `job` does the part that may take longer.
pub(crate) fn delete_user(
    c: &mut Conn,
    user: UserId,
    job: NewJob,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    accounts::lock_user_count(c)?;
    if !user_admin::lock_user(c, user)? {
        return Ok(UserChangeOutcome::UserNotFound);
    }
    if let Err(rejection) = user_admin::can_lose_admin(c, user)? {
        return Ok(rejection);
    }
    let signed_out = sign_in::revoke_all(c, user, None, now)?;
    let devices: Vec<_> =
        devices::table.filter(devices::user_id.eq(Sql(user))).select(devices::id).load(c)?;
    anonymise_audit(c, user, &devices)?;
    let tokens = refresh_tokens::device_id.eq_any(devices.iter().copied().map(Sql));
    diesel::delete(refresh_tokens::table.filter(tokens)).execute(c)?;
    diesel::delete(devices::table.filter(devices::user_id.eq(Sql(user)))).execute(c)?;
    second_factor::remove(c, user)?;
    passwords::delete_reset_links(c, user)?;
    diesel::delete(exports::table.filter(exports::user_id.eq(Sql(user)))).execute(c)?;
    files::delete_user_files(c, user, now)?;
    let of_user = contacts::user_id.eq(Sql(user)).or(contacts::other_id.eq(Sql(user)));
    diesel::delete(contacts::table.filter(of_user)).execute(c)?;
    let of_user = blocks::user_id.eq(Sql(user)).or(blocks::other_id.eq(Sql(user)));
    diesel::delete(blocks::table.filter(of_user)).execute(c)?;
    diesel::delete(statuses::table.find(Sql(user))).execute(c)?;
    diesel::delete(reactions::table.filter(reactions::user_id.eq(Sql(user)))).execute(c)?;
    let of_user = hidden_messages::user_id.eq(Sql(user));
    diesel::delete(hidden_messages::table.filter(of_user)).execute(c)?;
    diesel::delete(invites::table.filter(invites::created_by.eq(Sql(user)))).execute(c)?;
    let own_calls = calls::table.filter(calls::created_by.eq(Sql(user)));
    diesel::update(own_calls).set(calls::session.eq(None::<String>)).execute(c)?;

    diesel::update(users::table.find(Sql(user)))
        .set((
            users::phone.eq(user.to_string()), // unique, and not a phone number
            users::name.eq(DELETED_USER_NAME),
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
    job_queries::insert(c, &job, now)?;
    Ok(UserChangeOutcome::Done(signed_out))
}

/// Audit entries stay on record without their origin and details.
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

/// Those of the next conversations that hold data of the user, and the position after which to go
/// on.
pub(crate) fn affected_conversations(
    c: &mut Conn,
    user: UserId,
    after: Option<ConversationId>,
) -> QueryResult<(Vec<AffectedConversation>, Option<ConversationId>)> {
    let mut next = conversations::table
        .order(conversations::id)
        .limit(WINDOW_CONVERSATIONS)
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
    let sent = messages::table
        .filter(messages::conversation_id.eq(conversations::id))
        .filter(messages::sender_id.eq(Sql(user)))
        .filter(has_sender_data());
    let pair = conversations::direct_low
        .eq(Sql(user))
        .or(conversations::direct_high.eq(Sql(user)))
        .assume_not_null();
    let found: Vec<(ConversationId, Kind)> = conversations::table
        .filter(conversations::id.eq_any(window.into_iter().map(Sql)))
        .filter(
            exists(member).or(exists(sent)).or(conversations::direct_low.is_not_null().and(pair)),
        )
        .order(conversations::id)
        .select((conversations::id, conversations::kind))
        .load(c)?;
    Ok((found.into_iter().map(|(id, kind)| AffectedConversation { id, kind }).collect(), last))
}

/// Whether a message still has something of its sender's: a text, files, or the client id that they
/// gave it, which stays with a message that was deleted or has expired.
#[diesel::dsl::auto_type]
fn has_sender_data() -> _ {
    let attachments =
        message_attachments::table.filter(message_attachments::message_id.eq(messages::id));
    messages::body.ne("").or(exists(attachments)).or(messages::client_id.not_like(" %"))
}

/// Removes the user from a group; with `scrub`, the content of their messages there is erased: the
/// sequence numbers stay.
pub(crate) fn leave_group(
    c: &mut Conn,
    id: ConversationId,
    user: UserId,
    scrub: bool,
    now: Timestamp,
) -> QueryResult<DepartureBatch> {
    let mut system_messages = Vec::new();
    let others = match group_members::remove_member(c, id, user, user, now)? {
        ConversationChangeOutcome::Done(view, messages) => {
            system_messages = messages;
            view.members.iter().map(|member| member.user_id).collect()
        }
        _ => Vec::new(), // left before
    };
    if !scrub {
        return Ok(DepartureBatch { recipients: others, system_messages, has_more: false });
    }
    let batch = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::sender_id.eq(Sql(user)))
        .filter(has_sender_data())
        .limit(BATCH_MESSAGES)
        .select(messages::id);
    let batch: Vec<base::ids::MessageId> = batch.load(c)?;
    let has_more = batch.len() == usize::try_from(BATCH_MESSAGES).unwrap_or(usize::MAX);
    if !batch.is_empty() {
        let count = i64::try_from(batch.len()).unwrap_or(i64::MAX);
        let first = message_queries::reserve_revisions(c, id, count)? - count + 1;
        let revisions: Vec<_> = batch.iter().copied().zip(first..).collect();
        message_queries::erase(c, &revisions, now)?;
    }
    diesel::update(messages::table.filter(messages::id.eq_any(batch.into_iter().map(Sql))))
        // The sender chose the client id; the sequence is as unique, and of a form no sender may
        // choose.
        .set(messages::client_id.eq(sql::<Text>("' ' || CAST(seq AS TEXT)")))
        .execute(c)?;
    Ok(DepartureBatch { recipients: others, system_messages, has_more })
}

/// Removes a direct conversation: first from both lists, then its messages, then itself.
pub(crate) fn remove_direct_conversation(
    c: &mut Conn,
    id: ConversationId,
    user: UserId,
    now: Timestamp,
) -> QueryResult<DepartureBatch> {
    let row = conversations::table.find(Sql(id)).select(conversations::id);
    if for_update!(row).first::<ConversationId>(c).optional()?.is_none() {
        return Ok(DepartureBatch {
            recipients: Vec::new(),
            system_messages: Vec::new(),
            has_more: false,
        });
    }
    let mut others: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .select(members::user_id)
        .load(c)?;
    others.retain(|other| *other != user);
    diesel::delete(members::table.filter(members::conversation_id.eq(Sql(id)))).execute(c)?;
    let batch: Vec<base::ids::MessageId> = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .limit(BATCH_MESSAGES)
        .select(messages::id)
        .load(c)?;
    let has_more = batch.len() == usize::try_from(BATCH_MESSAGES).unwrap_or(usize::MAX);
    files::detach(c, &batch, now)?;
    diesel::delete(messages::table.filter(messages::id.eq_any(batch.into_iter().map(Sql))))
        .execute(c)?;
    if !has_more {
        let its_calls = calls::table.filter(calls::conversation_id.eq(Sql(id)));
        diesel::update(its_calls)
            .set(calls::conversation_id.eq(None::<Sql<ConversationId>>))
            .execute(c)?;
        diesel::delete(conversations::table.find(Sql(id))).execute(c)?;
    }
    Ok(DepartureBatch { recipients: others, system_messages: Vec::new(), has_more })
}
