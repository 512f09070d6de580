//! The end of a message: its number stays, so that devices learn of it; nothing else does.

use std::collections::BTreeMap;

use base::clock::Time;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;
use serde_json::Value;

use super::super::{Conn, files, search};
use super::alter::next;
use crate::model::{Expired, Message};
use crate::schema::{members, message_edits, messages, reactions};
use crate::types::Sql;

/// Empties messages, each with the number of this change, and removes what belongs to them.
pub(in super::super) fn erase(
    c: &mut Conn,
    which: &[(MessageId, i64)],
    now: Time,
) -> QueryResult<Vec<Message>> {
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
                    messages::edited_at.eq(None::<Sql<Time>>),
                    messages::expires_at.eq(None::<Sql<Time>>),
                    messages::pinned_at.eq(None::<Sql<Time>>),
                    messages::forwarded_from.eq(None::<Sql<UserId>>),
                    messages::mentions.eq(None::<Sql<Value>>),
                ))
                .returning(Message::as_returning())
                .get_result(c)?,
        );
    }
    Ok(left)
}

/// Removes messages whose time is over: those that have waited longest.
pub(crate) fn expire(c: &mut Conn, limit: i64, now: Time) -> QueryResult<Vec<Expired>> {
    let over: Vec<(ConversationId, MessageId)> = messages::table
        .filter(messages::expires_at.le(Sql(now)))
        .filter(messages::deleted_at.is_null())
        .order(messages::expires_at)
        .limit(limit)
        .select((messages::conversation_id, messages::id))
        .load(c)?;
    // Held in the order of their ids: two nodes that do the same do not wait in a circle.
    let mut by_conversation: BTreeMap<ConversationId, Vec<MessageId>> = BTreeMap::new();
    for (conversation, message) in over {
        by_conversation.entry(conversation).or_default().push(message);
    }
    let mut all = Vec::new();
    for (id, suspects) in by_conversation {
        let newest = next(c, id, i64::try_from(suspects.len()).unwrap_or(i64::MAX))?;
        // Another node may have been here while this one waited for the row.
        let ids: Vec<MessageId> = messages::table
            .filter(messages::id.eq_any(suspects.iter().copied().map(Sql)))
            .filter(messages::deleted_at.is_null())
            .order(messages::seq)
            .select(messages::id)
            .load(c)?;
        let first = newest - i64::try_from(suspects.len()).unwrap_or(i64::MAX) + 1;
        let which: Vec<_> = ids.into_iter().zip(first..).collect();
        let messages = erase(c, &which, now)?;
        let members: Vec<UserId> = members::table
            .filter(members::conversation_id.eq(Sql(id)))
            .select(members::user_id)
            .load(c)?;
        all.push(Expired { members, messages });
    }
    Ok(all)
}
