//! The end of a message: its number stays, so that devices learn of it; nothing else does.

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;
use serde_json::Value;

use super::super::{Conn, files, search};
use super::read::unseen;
use super::update::next;
use crate::rows::MessageRow;
use crate::schema::{members, message_edits, messages, reactions};
use crate::types::Sql;

/// Empties messages, each with the number of this change, and removes what belongs to them.
pub(in super::super) fn erase(
    c: &mut Conn,
    which: &[(MessageId, i64)],
    now: Timestamp,
) -> QueryResult<Vec<MessageRow>> {
    files::release(c, &which.iter().map(|(id, _)| *id).collect::<Vec<_>>(), now)?;
    let ids = || which.iter().map(|(id, _)| Sql(*id));
    diesel::delete(message_edits::table.filter(message_edits::message_id.eq_any(ids())))
        .execute(c)?;
    diesel::delete(reactions::table.filter(reactions::message_id.eq_any(ids()))).execute(c)?;
    search::forget(c, ids().map(|id| id.0).collect())?;
    let mut left = Vec::with_capacity(which.len());
    for (id, revision) in which {
        left.push(
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
    Ok(left)
}

/// Removes messages of one conversation whose time is over, of that which has waited longest; and
/// of each the members who could see it.
pub(crate) fn expire(
    c: &mut Conn,
    limit: i64,
    now: Timestamp,
) -> QueryResult<Vec<(MessageRow, Vec<UserId>)>> {
    let mut over: Vec<(ConversationId, MessageId)> = messages::table
        .filter(messages::expires_at.le(Sql(now)))
        .filter(messages::deleted_at.is_null())
        .order(messages::expires_at)
        .limit(limit)
        .select((messages::conversation_id, messages::id))
        .load(c)?;
    // Of one conversation only: whoever holds two at once waits in a circle with somebody else.
    let Some(id) = over.first().map(|(id, _)| *id) else { return Ok(Vec::new()) };
    over.retain(|(other, _)| *other == id);
    let many = i64::try_from(over.len()).unwrap_or(i64::MAX);
    let newest = next(c, id, many)?;
    // Another node may have been here while this one waited for the row.
    let ids: Vec<MessageId> = messages::table
        .filter(messages::id.eq_any(over.into_iter().map(|(_, message)| Sql(message))))
        .filter(messages::deleted_at.is_null())
        .order(messages::seq)
        .select(messages::id)
        .load(c)?;
    let which: Vec<_> = ids.into_iter().zip(newest - many + 1..).collect();
    let members: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .select(members::user_id)
        .load(c)?;
    let mut all = Vec::with_capacity(which.len());
    for message in erase(c, &which, now)? {
        let unseen = unseen(c, &message)?;
        let saw = members.iter().filter(|user| !unseen.contains(user)).copied().collect();
        all.push((message, saw));
    }
    Ok(all)
}
