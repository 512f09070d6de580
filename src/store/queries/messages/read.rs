//! What was said and what became of it, as far as somebody may see it; and how far they have come.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;

use super::super::{Conn, files};
use super::is_visible;
use crate::rows::{
    MessageEditRow, MessageRange, MessageRow, MessageWithDetails, ReceiptKind, ReceiptOutcome,
    RevisedMessage,
};
use crate::schema::{conversations, hidden_messages, members, message_edits, messages, reactions};
use crate::types::Sql;

/// After which numbers a member's devices are told, and a member may see.
fn begin(c: &mut Conn, id: ConversationId, viewer: UserId) -> QueryResult<Option<(i64, i64)>> {
    members::table
        .find((Sql(id), Sql(viewer)))
        .select((members::joined_seq, members::visible_seq))
        .first(c)
        .optional()
}

pub(crate) fn messages(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    range: MessageRange,
    limit: i64,
    now: Timestamp,
) -> QueryResult<Option<Vec<MessageWithDetails>>> {
    let Some((joined, visible)) = begin(c, id, viewer)? else { return Ok(None) };
    let (after, before) = match range {
        MessageRange::After(seq) => (seq.max(visible), i64::MAX),
        MessageRange::Since(seq) => (seq.max(joined), i64::MAX),
        MessageRange::Before(seq) => (visible, seq),
        MessageRange::Latest => (visible, i64::MAX),
    };
    let part = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::seq.gt(after))
        .filter(messages::seq.lt(before))
        .filter(is_visible!(viewer))
        .select(MessageRow::as_select())
        .limit(limit);
    let found: Vec<MessageRow> = if matches!(range, MessageRange::After(_) | MessageRange::Since(_))
    {
        part.order(messages::seq.asc()).load(c)?
    } else {
        let mut found: Vec<MessageRow> = part.order(messages::seq.desc()).load(c)?;
        found.reverse();
        found
    };
    complete(c, found, now).map(Some)
}

/// Adds to messages what they carry and who reacted; only to what was changed somebody has.
pub(in super::super) fn complete(
    c: &mut Conn,
    found: Vec<MessageRow>,
    now: Timestamp,
) -> QueryResult<Vec<MessageWithDetails>> {
    let found: Vec<MessageRow> = found.into_iter().map(|message| message.at(now)).collect();
    let changed = found.iter().filter(|m| m.revision > 0 && m.deleted_at.is_none());
    let changed: Vec<_> = changed.map(|message| Sql(message.id)).collect();
    let mut all: HashMap<MessageId, Vec<(UserId, String)>> = HashMap::new();
    if !changed.is_empty() {
        let rows: Vec<(MessageId, UserId, String)> = reactions::table
            .filter(reactions::message_id.eq_any(changed))
            .order((reactions::message_id, reactions::reacted_at, reactions::user_id))
            .select((reactions::message_id, reactions::user_id, reactions::emoji))
            .load(c)?;
        for (message, user, emoji) in rows {
            all.entry(message).or_default().push((user, emoji));
        }
    }
    let there = found.iter().filter(|message| message.deleted_at.is_none());
    let there: Vec<_> = there.map(|message| message.id).collect();
    let mut files =
        if there.is_empty() { HashMap::new() } else { files::attachments_of(c, there)? };
    let shown = |message: MessageRow| {
        let reactions = all.remove(&message.id).unwrap_or_default();
        let attachments = files.remove(&message.id).unwrap_or_default();
        MessageWithDetails { message, reactions, attachments }
    };
    Ok(found.into_iter().map(shown).collect())
}

/// The members who may not see a message: those who came later and have no history, those who hid
/// it, and whoever it is withheld from.
pub(super) fn unseen(c: &mut Conn, message: &MessageRow) -> QueryResult<Vec<UserId>> {
    let mut all: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(message.conversation_id)))
        .filter(members::visible_seq.ge(message.seq))
        .select(members::user_id)
        .load(c)?;
    let hid = hidden_messages::table.filter(hidden_messages::message_id.eq(Sql(message.id)));
    all.extend(hid.select(hidden_messages::user_id).load::<UserId>(c)?);
    all.extend(message.withheld_from);
    Ok(all)
}

/// The message, if `viewer` may see it; perhaps only its number is left.
pub(crate) fn shown(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    target: MessageId,
    now: Timestamp,
) -> QueryResult<Option<MessageWithDetails>> {
    let Some((_, visible)) = begin(c, id, viewer)? else { return Ok(None) };
    let found: Vec<MessageRow> = messages::table
        .find(Sql(target))
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::seq.gt(visible))
        .filter(is_visible!(viewer))
        .select(MessageRow::as_select())
        .load(c)?;
    Ok(complete(c, found, now)?.pop())
}

/// What changed after a number, by the number of the change: of each message its newest one.
pub(crate) fn changes(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    after: i64,
    limit: i64,
    now: Timestamp,
) -> QueryResult<Option<Vec<RevisedMessage>>> {
    let Some((_, visible)) = begin(c, id, viewer)? else { return Ok(None) };
    let found: Vec<MessageRow> = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::revision.gt(after.max(0)))
        .filter(messages::seq.gt(visible))
        .filter(is_visible!(viewer))
        .order(messages::revision)
        .limit(limit)
        .select(MessageRow::as_select())
        .load(c)?;
    let hidden: Vec<(MessageId, i64, i64)> = hidden_messages::table
        .inner_join(messages::table)
        .filter(hidden_messages::user_id.eq(Sql(viewer)))
        .filter(hidden_messages::conversation_id.eq(Sql(id)))
        .filter(hidden_messages::revision.gt(after))
        .order(hidden_messages::revision)
        .limit(limit)
        .select((messages::id, messages::seq, hidden_messages::revision))
        .load(c)?;
    let hidden = hidden.into_iter();
    let hidden =
        hidden.map(|(message, seq, revision)| RevisedMessage::Hidden { message, seq, revision });
    let shown = complete(c, found, now)?.into_iter().map(Box::new).map(RevisedMessage::Message);
    let mut all: Vec<RevisedMessage> = shown.chain(hidden).collect();
    all.sort_by_key(RevisedMessage::revision);
    all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Some(all))
}

/// What a message said before, the oldest first; `None` if it is not there for `viewer`.
pub(crate) fn edits(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    target: MessageId,
    now: Timestamp,
) -> QueryResult<Option<Vec<MessageEditRow>>> {
    let found = shown(c, id, viewer, target, now)?;
    if found.is_none_or(|shown| shown.message.deleted_at.is_some()) {
        return Ok(None);
    }
    message_edits::table
        .filter(message_edits::message_id.eq(Sql(target)))
        .order(message_edits::revision)
        .select((message_edits::body, message_edits::edited_at))
        .load(c)
        .map(Some)
}

/// What is pinned, the newest message first.
pub(crate) fn pins(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    now: Timestamp,
) -> QueryResult<Option<Vec<MessageWithDetails>>> {
    let Some((_, visible)) = begin(c, id, viewer)? else { return Ok(None) };
    let found: Vec<MessageRow> = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::pinned_at.is_not_null())
        .filter(messages::seq.gt(visible))
        .filter(is_visible!(viewer))
        .order(messages::seq.desc())
        .select(MessageRow::as_select())
        .load(c)?;
    let mut shown = complete(c, found, now)?;
    shown.retain(|shown| shown.message.deleted_at.is_none());
    Ok(Some(shown))
}

pub(crate) fn mark(
    c: &mut Conn,
    id: ConversationId,
    user: UserId,
    receipt: ReceiptKind,
    seq: i64,
) -> QueryResult<ReceiptOutcome> {
    let last: Option<i64> =
        conversations::table.find(Sql(id)).select(conversations::last_seq).first(c).optional()?;
    let query = members::table
        .find((Sql(id), Sql(user)))
        .select((members::delivered_seq, members::read_seq));
    let old: Option<(i64, i64)> = held!(query).first(c).optional()?;
    let (Some(last), Some(old)) = (last, old) else { return Ok(ReceiptOutcome::NotAMember) };
    let seq = seq.min(last);
    let delivered_seq = old.0.max(seq);
    let read_seq = if receipt == ReceiptKind::Read { old.1.max(seq) } else { old.1 };
    if (delivered_seq, read_seq) == old {
        return Ok(ReceiptOutcome::Unchanged);
    }
    diesel::update(members::table.find((Sql(id), Sql(user))))
        .set((members::delivered_seq.eq(delivered_seq), members::read_seq.eq(read_seq)))
        .execute(c)?;
    Ok(ReceiptOutcome::Moved { delivered_seq, read_seq })
}
