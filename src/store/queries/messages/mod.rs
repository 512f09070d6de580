//! Messages: numbered without gaps, stored once each.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;
use serde_json::{Value, json};

use super::visible::is_visible;
use super::{Conn, contacts, files, message_index};
use crate::rows::{
    AppendBatchOutcome, AppendOutcome, Encryption, MemberRole, MessageRow, NewMessageRow,
    SystemEventRow,
};
use crate::schema::{conversations, hidden_messages, members, messages, outbox};
use crate::types::Sql;

mod attachments;
mod expire;
mod read;
mod reservation;
mod revisions;
mod update;

pub(super) use self::expire::erase;
pub(crate) use self::expire::expire;
pub(super) use self::read::complete;
pub(crate) use self::read::{advance_receipt, changes, edits, message, messages, pins};
use self::reservation::{LockedConversation, reserve};
pub(super) use self::revisions::reserve_revisions;
pub(crate) use self::update::apply_action;

/// Rows per INSERT: SQLite allows 32,766 values in a statement, PostgreSQL 65,535, and a message
/// has thirteen.
const INSERT_CHUNK_ROWS: usize = 1000;

pub(crate) fn append(
    c: &mut Conn,
    id: ConversationId,
    new: Vec<NewMessageRow>,
    now: Timestamp,
) -> QueryResult<AppendBatchOutcome> {
    // Numbers are reserved for all messages first, which also locks the row: others wait here, so
    // that what is read below stays true. Usually all are new, and this is the only write to the
    // row.
    let reserved = count(new.len());
    let Some(locked) = reserve(c, id, reserved, now)? else {
        let results = vec![AppendOutcome::NotAMember; new.len()];
        return Ok(AppendBatchOutcome { roster: 0, results, attachments: HashMap::new() });
    };
    let first_seq = locked.last_seq - reserved + 1;
    let files = attachments::files_to_attach(c, &new)?;
    let (results, new_messages) = plan_append(c, id, &locked, new, first_seq, now)?;
    let surplus = reserved - count(new_messages.len());
    if surplus > 0 {
        reserve(c, id, -surplus, now)?;
    }
    if !new_messages.is_empty() {
        for rows in new_messages.chunks(INSERT_CHUNK_ROWS) {
            insert(c, rows, now)?;
            if locked.encryption == Encryption::None {
                message_index::insert(c, rows)?;
            }
        }
        advance_senders(c, id, &new_messages)?;
        let to_attach = new_messages.iter().filter_map(|m| Some((m.id, files.get(&m.id)?.clone())));
        files::attach(c, &to_attach.collect::<Vec<_>>())?;
    }
    let attachments = attachments::attachments_of_results(c, &results, files.is_empty())?;
    Ok(AppendBatchOutcome { roster: locked.roster, results, attachments })
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Decides about each message, in the order given; the new ones are numbered from `first_seq`.
fn plan_append(
    c: &mut Conn,
    id: ConversationId,
    locked: &LockedConversation,
    new: Vec<NewMessageRow>,
    first_seq: i64,
    now: Timestamp,
) -> QueryResult<(Vec<AppendOutcome>, Vec<MessageRow>)> {
    let (roles, mut earlier) = senders(c, id, &new)?;
    let mut reply_targets = existing_reply_targets(c, id, &new)?;
    let sendable = files::sendable(c, &new, now)?;
    let mentioned = new.iter().flat_map(|new| new.mentions.iter().copied()).collect();
    let strangers = non_members(c, id, mentioned)?;
    let blockers = match locked.direct {
        Some(pair) => contacts::blockers(c, pair)?,
        None => Vec::new(),
    };
    let mut seq = first_seq;
    let mut new_messages = Vec::with_capacity(new.len());
    let mut results = Vec::with_capacity(new.len());
    for new in new {
        let Some(role) = roles.get(&new.sender) else {
            results.push(AppendOutcome::NotAMember);
            continue;
        };
        let key = (new.sender, new.client_id.clone());
        if let Some(message) = earlier.get(&key) {
            results.push(AppendOutcome::Duplicate(message.clone().at(now)));
            continue;
        }
        let rejection = if blockers.contains(&new.sender) {
            Some(AppendOutcome::Blocked)
        } else if !locked.who_writes.admits(*role) {
            Some(AppendOutcome::NotAllowed)
        } else if new.reply_to.is_some_and(|target| !reply_targets.contains(&target)) {
            Some(AppendOutcome::ReplyTargetNotFound)
        } else if new.mentions.iter().any(|user| strangers.contains(user)) {
            Some(AppendOutcome::MentionNotFound)
        } else {
            None
        };
        if let Some(rejection) = rejection {
            results.push(rejection);
            continue;
        }
        if !new.attachments.iter().all(|file| sendable.contains(&(key.0, *file))) {
            results.push(AppendOutcome::AttachmentNotFound);
            continue;
        }
        let (body, forwarded_from) = match new.forward_of {
            None => (new.body, None),
            Some(target) => match forwarded_content(c, locked, new.sender, target, now)? {
                Some((body, original_sender)) => (body, Some(original_sender)),
                None => {
                    results.push(AppendOutcome::ForwardNotFound);
                    continue;
                }
            },
        };
        let expires_in = new.expires_in.or(locked.expires_in);
        let mentions = (!new.mentions.is_empty()).then(|| json!(new.mentions));
        let message = MessageRow {
            id: new.id,
            conversation_id: id,
            seq,
            sender_id: key.0,
            client_id: key.1.clone(),
            body,
            reply_to: new.reply_to,
            sent_at: locked.sent_at,
            revision: 0,
            edited_at: None,
            deleted_at: None,
            expires_at: expires_in.map(|s| locked.sent_at + Duration::from_secs(s.unsigned_abs())),
            pinned_at: None,
            forwarded_from,
            mentions,
            system: None,
            withheld_from: blockers.first().copied(),
        };
        seq += 1;
        earlier.insert(key, message.clone());
        reply_targets.insert(message.id);
        new_messages.push(message.clone());
        results.push(AppendOutcome::Stored(message));
    }
    Ok((results, new_messages))
}

// Below, a single message has a statement of its own: its text is always the same, so that it is
// prepared once, which halves the time of the most frequent case.

/// The roles of the senders who are members, and earlier messages by sender and client id.
type AppendLookup = (HashMap<UserId, MemberRole>, HashMap<(UserId, String), MessageRow>);

/// One query for both: which senders are members, and their earlier messages with the same client
/// ids.
fn senders(c: &mut Conn, id: ConversationId, new: &[NewMessageRow]) -> QueryResult<AppendLookup> {
    let by_member = || {
        messages::conversation_id
            .eq(members::conversation_id)
            .and(messages::sender_id.eq(members::user_id))
    };
    let columns = || (members::user_id, members::role, Option::<MessageRow>::as_select());
    let mut rows: Vec<(UserId, MemberRole, Option<MessageRow>)> = Vec::new();
    if let [one] = new {
        rows = members::table
            .left_join(messages::table.on(by_member().and(messages::client_id.eq(&one.client_id))))
            .filter(members::conversation_id.eq(Sql(id)))
            .filter(members::user_id.eq(Sql(one.sender)))
            .select(columns())
            .load(c)?;
    } else {
        for new in new.chunks(INSERT_CHUNK_ROWS) {
            let senders: HashSet<UserId> = new.iter().map(|new| new.sender).collect();
            let by_client_id = messages::client_id.eq_any(new.iter().map(|new| &new.client_id));
            rows.extend(
                members::table
                    .left_join(messages::table.on(by_member().and(by_client_id)))
                    .filter(members::conversation_id.eq(Sql(id)))
                    .filter(members::user_id.eq_any(senders.into_iter().map(Sql)))
                    .select(columns())
                    .load::<(UserId, MemberRole, Option<MessageRow>)>(c)?,
            );
        }
    }
    let roles = rows.iter().map(|row| (row.0, row.1)).collect();
    let earlier = rows.into_iter().filter_map(|row| row.2);
    Ok((roles, earlier.map(|m| ((m.sender_id, m.client_id.clone()), m)).collect()))
}

/// Which of the reply targets are in the conversation.
fn existing_reply_targets(
    c: &mut Conn,
    id: ConversationId,
    new: &[NewMessageRow],
) -> QueryResult<HashSet<MessageId>> {
    let targets: HashSet<MessageId> = new.iter().filter_map(|new| new.reply_to).collect();
    if targets.is_empty() {
        return Ok(targets);
    }
    let found: Vec<MessageId> = messages::table
        .filter(messages::id.eq_any(targets.into_iter().map(Sql)))
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::deleted_at.is_null())
        .select(messages::id)
        .load(c)?;
    Ok(found.into_iter().collect())
}

/// Which of these users are not in a conversation.
fn non_members(
    c: &mut Conn,
    id: ConversationId,
    mut users: HashSet<UserId>,
) -> QueryResult<HashSet<UserId>> {
    if users.is_empty() {
        return Ok(users);
    }
    let found: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .filter(members::user_id.eq_any(users.iter().copied().map(Sql)))
        .select(members::user_id)
        .load(c)?;
    users.retain(|user| !found.contains(user));
    Ok(users)
}

/// The text and the original sender of a message that `by` may see and forward. Nothing can be
/// forwarded into an encrypted conversation: the server would put plain text there.
fn forwarded_content(
    c: &mut Conn,
    target_conversation: &LockedConversation,
    by: UserId,
    target: MessageId,
    now: Timestamp,
) -> QueryResult<Option<(String, UserId)>> {
    if target_conversation.encryption != Encryption::None {
        return Ok(None);
    }
    let found: Option<MessageRow> = messages::table
        .inner_join(members::table.on(members::conversation_id.eq(messages::conversation_id)))
        .inner_join(conversations::table.on(conversations::id.eq(messages::conversation_id)))
        .filter(messages::id.eq(Sql(target)))
        .filter(members::user_id.eq(Sql(by)))
        .filter(messages::seq.gt(members::visible_seq))
        .filter(conversations::encryption.eq(Encryption::None))
        .filter(is_visible!(by))
        .select(MessageRow::as_select())
        .first(c)
        .optional()?;
    Ok(found.map(|message| message.at(now)).and_then(|message| {
        let can_forward = message.deleted_at.is_none() && message.system.is_none();
        can_forward.then(|| (message.body, message.forwarded_from.unwrap_or(message.sender_id)))
    }))
}

/// Stores messages, each with an outbox entry that announces it.
fn insert<'a>(c: &mut Conn, new_messages: &'a [MessageRow], now: Timestamp) -> QueryResult<()> {
    let row = |message: &'a MessageRow| {
        (
            messages::id.eq(Sql(message.id)),
            messages::conversation_id.eq(Sql(message.conversation_id)),
            messages::seq.eq(message.seq),
            messages::sender_id.eq(Sql(message.sender_id)),
            messages::client_id.eq(&message.client_id),
            messages::body.eq(&message.body),
            messages::reply_to.eq(message.reply_to.map(Sql)),
            messages::sent_at.eq(Sql(message.sent_at)),
            messages::expires_at.eq(message.expires_at.map(Sql)),
            messages::forwarded_from.eq(message.forwarded_from.map(Sql)),
            messages::mentions.eq(message.mentions.clone().map(Sql)),
            messages::withheld_from.eq(message.withheld_from.map(Sql)),
        )
    };
    let outbox_row = |message: &MessageRow| {
        (
            outbox::topic.eq("message"),
            outbox::payload.eq(Sql(outbox_payload(message))),
            outbox::created_at.eq(Sql(now)),
        )
    };
    if let [one] = new_messages {
        diesel::insert_into(messages::table).values(row(one)).execute(c)?;
        diesel::insert_into(outbox::table).values(outbox_row(one)).execute(c)?;
    } else {
        let rows: Vec<_> = new_messages.iter().map(row).collect();
        diesel::insert_into(messages::table).values(rows).execute(c)?;
        let outbox_rows: Vec<_> = new_messages.iter().map(outbox_row).collect();
        diesel::insert_into(outbox::table).values(outbox_rows).execute(c)?;
    }
    Ok(())
}

fn outbox_payload(message: &MessageRow) -> Value {
    json!({
        "conversation_id": message.conversation_id,
        "message_id": message.id,
        "seq": message.seq,
        "sender_id": message.sender_id,
        "mentions": message.mentions,
        "withheld_from": message.withheld_from,
    })
}

/// Senders have read up to their own newest message.
fn advance_senders(
    c: &mut Conn,
    id: ConversationId,
    new_messages: &[MessageRow],
) -> QueryResult<()> {
    let newest: HashMap<UserId, i64> = new_messages.iter().map(|m| (m.sender_id, m.seq)).collect();
    for (sender, seq) in newest {
        diesel::update(members::table.find((Sql(id), Sql(sender))))
            .set((members::delivered_seq.eq(seq), members::read_seq.eq(seq)))
            .execute(c)?;
    }
    Ok(())
}

/// Appends a system event, which triggers no notification.
pub(super) fn append_system_event(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    event: &SystemEventRow,
    now: Timestamp,
) -> QueryResult<Option<MessageRow>> {
    let Some(locked) = reserve(c, id, 1, now)? else { return Ok(None) };
    let event = serde_json::to_value(event)
        .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))?;
    diesel::insert_into(messages::table)
        .values((
            messages::id.eq(Sql(MessageId::new())),
            messages::conversation_id.eq(Sql(id)),
            messages::seq.eq(locked.last_seq),
            messages::sender_id.eq(Sql(by)),
            // Of a form that no sender may choose, and as unique as the sequence.
            messages::client_id.eq(format!(" {}", locked.last_seq)),
            messages::body.eq(""),
            messages::sent_at.eq(Sql(locked.sent_at)),
            messages::system.eq(Some(Sql(event))),
        ))
        .returning(MessageRow::as_returning())
        .get_result(c)
        .map(Some)
}
