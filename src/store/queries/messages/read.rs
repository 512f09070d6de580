//! Messages and their revisions as far as a user may see them, and receipts.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;

use super::super::visible::is_visible;
use super::super::{Conn, files};
use crate::rows::{
    MessageEditRow, MessageRange, MessageRow, MessageWithDetails, ReceiptKind, ReceiptOutcome,
    RevisedMessage,
};
use crate::schema::{conversations, hidden_messages, members, message_edits, messages, reactions};
use crate::types::Sql;

/// A member's `joined_seq` and `visible_seq`; `None` if they are not a member.
fn member_start(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
) -> QueryResult<Option<(i64, i64)>> {
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
    let Some((joined, visible)) = member_start(c, id, viewer)? else { return Ok(None) };
    let (after, before) = match range {
        MessageRange::After(seq) => (seq.max(visible), i64::MAX),
        MessageRange::Since(seq) => (seq.max(joined), i64::MAX),
        MessageRange::Before(seq) => (visible, seq),
        MessageRange::Latest => (visible, i64::MAX),
    };
    let query = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::seq.gt(after))
        .filter(messages::seq.lt(before))
        .filter(is_visible!(viewer))
        .select(MessageRow::as_select())
        .limit(limit);
    let found: Vec<MessageRow> = if matches!(range, MessageRange::After(_) | MessageRange::Since(_))
    {
        query.order(messages::seq.asc()).load(c)?
    } else {
        let mut found: Vec<MessageRow> = query.order(messages::seq.desc()).load(c)?;
        found.reverse();
        found
    };
    complete(c, found, now).map(Some)
}

/// Adds attachments and reactions to messages; only changed messages can have reactions.
pub(in super::super) fn complete(
    c: &mut Conn,
    found: Vec<MessageRow>,
    now: Timestamp,
) -> QueryResult<Vec<MessageWithDetails>> {
    let found: Vec<MessageRow> = found.into_iter().map(|message| message.at(now)).collect();
    let changed = found.iter().filter(|m| m.revision > 0 && m.deleted_at.is_none());
    let changed: Vec<_> = changed.map(|message| Sql(message.id)).collect();
    let mut reactions_by_message: HashMap<MessageId, Vec<(UserId, String)>> = HashMap::new();
    if !changed.is_empty() {
        let rows: Vec<(MessageId, UserId, String)> = reactions::table
            .filter(reactions::message_id.eq_any(changed))
            .order((reactions::message_id, reactions::reacted_at, reactions::user_id))
            .select((reactions::message_id, reactions::user_id, reactions::emoji))
            .load(c)?;
        for (message, user, emoji) in rows {
            reactions_by_message.entry(message).or_default().push((user, emoji));
        }
    }
    let remaining = found.iter().filter(|message| message.deleted_at.is_none());
    let remaining: Vec<_> = remaining.map(|message| message.id).collect();
    let mut files =
        if remaining.is_empty() { HashMap::new() } else { files::attachments_of(c, remaining)? };
    let with_details = |message: MessageRow| {
        let reactions = reactions_by_message.remove(&message.id).unwrap_or_default();
        let attachments = files.remove(&message.id).unwrap_or_default();
        MessageWithDetails { message, reactions, attachments }
    };
    Ok(found.into_iter().map(with_details).collect())
}

/// The members who may not see a message: those who joined later and have no history, those who hid
/// it, and the one it is withheld from.
pub(super) fn hidden_from(c: &mut Conn, message: &MessageRow) -> QueryResult<Vec<UserId>> {
    let mut users: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(message.conversation_id)))
        .filter(members::visible_seq.ge(message.seq))
        .select(members::user_id)
        .load(c)?;
    let hidden = hidden_messages::table.filter(hidden_messages::message_id.eq(Sql(message.id)));
    users.extend(hidden.select(hidden_messages::user_id).load::<UserId>(c)?);
    users.extend(message.withheld_from);
    Ok(users)
}

/// The message, if `viewer` may see it; of a deleted one only its number is left.
pub(crate) fn message(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    target: MessageId,
    now: Timestamp,
) -> QueryResult<Option<MessageWithDetails>> {
    let Some((_, visible)) = member_start(c, id, viewer)? else { return Ok(None) };
    let found: Vec<MessageRow> = messages::table
        .find(Sql(target))
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::seq.gt(visible))
        .filter(is_visible!(viewer))
        .select(MessageRow::as_select())
        .load(c)?;
    Ok(complete(c, found, now)?.pop())
}

/// The changes after a revision, by ascending revision: of each message its newest one.
pub(crate) fn changes(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    after: i64,
    limit: i64,
    now: Timestamp,
) -> QueryResult<Option<Vec<RevisedMessage>>> {
    let Some((_, visible)) = member_start(c, id, viewer)? else { return Ok(None) };
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
    let changed = complete(c, found, now)?.into_iter().map(Box::new).map(RevisedMessage::Message);
    let mut all: Vec<RevisedMessage> = changed.chain(hidden).collect();
    all.sort_by_key(RevisedMessage::revision);
    all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(Some(all))
}

/// The earlier texts of a message, oldest first; `None` if `viewer` cannot see it.
pub(crate) fn edits(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    target: MessageId,
    now: Timestamp,
) -> QueryResult<Option<Vec<MessageEditRow>>> {
    let found = message(c, id, viewer, target, now)?;
    if found.is_none_or(|details| details.message.deleted_at.is_some()) {
        return Ok(None);
    }
    message_edits::table
        .filter(message_edits::message_id.eq(Sql(target)))
        .order(message_edits::revision)
        .select((message_edits::body, message_edits::edited_at))
        .load(c)
        .map(Some)
}

/// The pinned messages, newest first.
pub(crate) fn pins(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    now: Timestamp,
) -> QueryResult<Option<Vec<MessageWithDetails>>> {
    let Some((_, visible)) = member_start(c, id, viewer)? else { return Ok(None) };
    let found: Vec<MessageRow> = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::pinned_at.is_not_null())
        .filter(messages::seq.gt(visible))
        .filter(is_visible!(viewer))
        .order(messages::seq.desc())
        .select(MessageRow::as_select())
        .load(c)?;
    let mut pinned = complete(c, found, now)?;
    pinned.retain(|pinned| pinned.message.deleted_at.is_none());
    Ok(Some(pinned))
}

pub(crate) fn advance_receipt(
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
    let old: Option<(i64, i64)> = for_update!(query).first(c).optional()?;
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
