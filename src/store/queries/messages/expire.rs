//! Erasure of messages: the sequence number stays, so that devices learn of it; nothing else does.

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;
use serde_json::Value;

use super::super::{Conn, files, message_index};
use super::read::hidden_from;
use super::revisions::reserve_revisions;
use crate::rows::MessageRow;
use crate::schema::{members, message_edits, messages, reactions};
use crate::types::Sql;

/// Erases the content of messages, each with its new revision, and deletes what belongs to them.
pub(in super::super) fn erase(
    c: &mut Conn,
    revisions: &[(MessageId, i64)],
    now: Timestamp,
) -> QueryResult<Vec<MessageRow>> {
    files::detach(c, &revisions.iter().map(|(id, _)| *id).collect::<Vec<_>>(), now)?;
    let ids = || revisions.iter().map(|(id, _)| Sql(*id));
    diesel::delete(message_edits::table.filter(message_edits::message_id.eq_any(ids())))
        .execute(c)?;
    diesel::delete(reactions::table.filter(reactions::message_id.eq_any(ids()))).execute(c)?;
    message_index::remove(c, ids().map(|id| id.0).collect())?;
    let mut erased = Vec::with_capacity(revisions.len());
    for (id, revision) in revisions {
        erased.push(
            diesel::update(messages::table.find(Sql(*id)))
                .set((
                    messages::revision.eq(revision),
                    messages::body.eq(""),
                    messages::deleted_at.eq(Sql(now)),
                    messages::reply_to.eq(None::<Sql<MessageId>>),
                    messages::edited_at.eq(None::<Sql<Timestamp>>),
                    messages::expires_at.eq(None::<Sql<Timestamp>>),
                    messages::pinned_at.eq(None::<Sql<Timestamp>>),
                    messages::forwarded_from.eq(None::<Sql<UserId>>),
                    messages::mentions.eq(None::<Sql<Value>>),
                ))
                .returning(MessageRow::as_returning())
                .get_result(c)?,
        );
    }
    Ok(erased)
}

/// Erases expired messages of one conversation, the one that has waited longest; returns each with
/// the members who could see it.
pub(crate) fn expire(
    c: &mut Conn,
    limit: i64,
    now: Timestamp,
) -> QueryResult<Vec<(MessageRow, Vec<UserId>)>> {
    let mut expired: Vec<(ConversationId, MessageId)> = messages::table
        .filter(messages::expires_at.le(Sql(now)))
        .filter(messages::deleted_at.is_null())
        .order(messages::expires_at)
        .limit(limit)
        .select((messages::conversation_id, messages::id))
        .load(c)?;
    // Of one conversation only: locking two at once could deadlock with somebody else.
    let Some(id) = expired.first().map(|(id, _)| *id) else { return Ok(Vec::new()) };
    expired.retain(|(other, _)| *other == id);
    let count = i64::try_from(expired.len()).unwrap_or(i64::MAX);
    let newest = reserve_revisions(c, id, count)?;
    // Another node may have erased some while this one waited for the row.
    let ids: Vec<MessageId> = messages::table
        .filter(messages::id.eq_any(expired.into_iter().map(|(_, message)| Sql(message))))
        .filter(messages::deleted_at.is_null())
        .order(messages::seq)
        .select(messages::id)
        .load(c)?;
    let revisions: Vec<_> = ids.into_iter().zip(newest - count + 1..).collect();
    let members: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .select(members::user_id)
        .load(c)?;
    let mut results = Vec::with_capacity(revisions.len());
    for message in erase(c, &revisions, now)? {
        let hidden_from = hidden_from(c, &message)?;
        let could_see =
            members.iter().filter(|user| !hidden_from.contains(user)).copied().collect();
        results.push((message, could_see));
    }
    Ok(results)
}
