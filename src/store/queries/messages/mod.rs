//! What is said: numbered without holes, once each.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;
use serde_json::{Value, json};

use super::{Conn, contacts, files, search};
use crate::rows::{
    AppendBatchOutcome, AppendOutcome, Circle, Encryption, MemberRole, MessageRow, NewMessageRow,
    SystemEventRow,
};
use crate::schema::{conversations, hidden_messages, members, messages, outbox};
use crate::types::Sql;

mod attachments;
mod expire;
mod read;
mod update;
mod visible;

pub(super) use self::expire::erase;
pub(crate) use self::expire::expire;
pub(super) use self::read::complete;
pub(crate) use self::read::{changes, edits, mark, messages, pins, shown};
pub(crate) use self::update::alter;
pub(super) use self::update::next;
pub(super) use self::visible::is_visible;

/// SQLite takes 32,766 values in a statement, PostgreSQL 65,535: a message has thirteen.
const INSERT_CHUNK_ROWS: usize = 1000;

/// What is known of a conversation while it is held.
struct LockedConversation {
    last_seq: i64,
    roster: i64,
    direct: Option<(UserId, UserId)>,
    expires_in: Option<i64>,
    who_writes: Circle,
    encryption: Encryption,
}

pub(crate) fn append(
    c: &mut Conn,
    id: ConversationId,
    new: Vec<NewMessageRow>,
    now: Timestamp,
) -> QueryResult<AppendBatchOutcome> {
    // Numbers are taken for all of them first, which also holds the row: others wait here, so
    // that what is found below stays true. Most often all are fresh, and this was the only write.
    let wanted = count(new.len());
    let Some(held) = take(c, id, wanted)? else {
        let results = vec![AppendOutcome::NotAMember; new.len()];
        return Ok(AppendBatchOutcome { roster: 0, results, attachments: HashMap::new() });
    };
    let first = held.last_seq - wanted + 1;
    let files = attachments::files_of(c, &new)?;
    let (results, fresh) = plan_append(c, id, &held, new, first, now)?;
    let surplus = wanted - count(fresh.len());
    if surplus > 0 {
        take(c, id, -surplus)?;
    }
    if !fresh.is_empty() {
        for rows in fresh.chunks(INSERT_CHUNK_ROWS) {
            insert(c, rows, now)?;
            if held.encryption == Encryption::None {
                search::index(c, rows)?;
            }
        }
        advance_senders(c, id, &fresh)?;
        let carried = fresh.iter().filter_map(|m| Some((m.id, files.get(&m.id)?.clone())));
        files::carry(c, &carried.collect::<Vec<_>>())?;
    }
    let attachments = attachments::carried(c, &results, files.is_empty())?;
    Ok(AppendBatchOutcome { roster: held.roster, results, attachments })
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Moves the last number of a conversation, and holds it.
fn take(c: &mut Conn, id: ConversationId, by: i64) -> QueryResult<Option<LockedConversation>> {
    type Row = (i64, i64, Option<UserId>, Option<UserId>, Option<i64>, Circle, Encryption);
    let row: Option<Row> = diesel::update(conversations::table.find(Sql(id)))
        .set(conversations::last_seq.eq(conversations::last_seq + by))
        .returning((
            conversations::last_seq,
            conversations::roster,
            conversations::direct_low,
            conversations::direct_high,
            conversations::expires_in,
            conversations::who_writes,
            conversations::encryption,
        ))
        .get_result(c)
        .optional()?;
    Ok(row.map(|(last_seq, roster, low, high, expires_in, who_writes, encryption)| {
        let direct = low.zip(high);
        LockedConversation { last_seq, roster, direct, expires_in, who_writes, encryption }
    }))
}

/// Decides about each message, in the order given; the fresh ones are numbered from `first`.
fn plan_append(
    c: &mut Conn,
    id: ConversationId,
    held: &LockedConversation,
    new: Vec<NewMessageRow>,
    first: i64,
    now: Timestamp,
) -> QueryResult<(Vec<AppendOutcome>, Vec<MessageRow>)> {
    let (present, mut said) = known(c, id, &new)?;
    let mut targets = answered(c, id, &new)?;
    let sendable = files::sendable(c, &new, now)?;
    let strangers = not_members(c, id, &new)?;
    let blockers = match held.direct {
        Some(pair) => contacts::blockers(c, pair)?,
        None => Vec::new(),
    };
    let mut seq = first;
    let mut fresh = Vec::with_capacity(new.len());
    let mut results = Vec::with_capacity(new.len());
    for new in new {
        let Some(role) = present.get(&new.sender) else {
            results.push(AppendOutcome::NotAMember);
            continue;
        };
        let name = (new.sender, new.client_id.clone());
        if let Some(message) = said.get(&name) {
            results.push(AppendOutcome::Repeated(message.clone().at(now)));
            continue;
        }
        let refusal = if blockers.contains(&new.sender) {
            Some(AppendOutcome::Blocked)
        } else if !held.who_writes.admits(*role) {
            Some(AppendOutcome::NotAllowed)
        } else if new.reply_to.is_some_and(|target| !targets.contains(&target)) {
            Some(AppendOutcome::NoSuchReply)
        } else if new.mentions.iter().any(|user| strangers.contains(user)) {
            Some(AppendOutcome::NoSuchMention)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            results.push(refusal);
            continue;
        }
        if !new.attachments.iter().all(|file| sendable.contains(&(name.0, *file))) {
            results.push(AppendOutcome::NoSuchAttachment);
            continue;
        }
        let (body, forwarded_from) = match new.forward_of {
            None => (new.body, None),
            Some(target) => match passed_on(c, held, new.sender, target, now)? {
                Some((body, origin)) => (body, Some(origin)),
                None => {
                    results.push(AppendOutcome::NoSuchForward);
                    continue;
                }
            },
        };
        let expires_in = new.expires_in.or(held.expires_in);
        let mentions = (!new.mentions.is_empty()).then(|| json!(new.mentions));
        let message = MessageRow {
            id: new.id,
            conversation_id: id,
            seq,
            sender_id: name.0,
            client_id: name.1.clone(),
            body,
            reply_to: new.reply_to,
            sent_at: now,
            revision: 0,
            edited_at: None,
            deleted_at: None,
            expires_at: expires_in.map(|s| now + Duration::from_secs(s.unsigned_abs())),
            pinned_at: None,
            forwarded_from,
            mentions,
            system: None,
            withheld_from: blockers.first().copied(),
        };
        seq += 1;
        said.insert(name, message.clone());
        targets.insert(message.id);
        fresh.push(message.clone());
        results.push(AppendOutcome::Stored(message));
    }
    Ok((results, fresh))
}

// Below, one message alone has a statement of its own: its text is always the same, so that it is
// prepared once, which halves the time of the most frequent case.

/// The members among the senders, and what was said before under a sender and a name.
type AppendLookup = (HashMap<UserId, MemberRole>, HashMap<(UserId, String), MessageRow>);

/// One question for both: who is a member, and what they said before under the same names.
fn known(c: &mut Conn, id: ConversationId, new: &[NewMessageRow]) -> QueryResult<AppendLookup> {
    let theirs = || {
        messages::conversation_id
            .eq(members::conversation_id)
            .and(messages::sender_id.eq(members::user_id))
    };
    let columns = || (members::user_id, members::role, Option::<MessageRow>::as_select());
    let mut rows: Vec<(UserId, MemberRole, Option<MessageRow>)> = Vec::new();
    if let [one] = new {
        rows = members::table
            .left_join(messages::table.on(theirs().and(messages::client_id.eq(&one.client_id))))
            .filter(members::conversation_id.eq(Sql(id)))
            .filter(members::user_id.eq(Sql(one.sender)))
            .select(columns())
            .load(c)?;
    } else {
        for new in new.chunks(INSERT_CHUNK_ROWS) {
            let senders: HashSet<UserId> = new.iter().map(|new| new.sender).collect();
            let names = messages::client_id.eq_any(new.iter().map(|new| &new.client_id));
            rows.extend(
                members::table
                    .left_join(messages::table.on(theirs().and(names)))
                    .filter(members::conversation_id.eq(Sql(id)))
                    .filter(members::user_id.eq_any(senders.into_iter().map(Sql)))
                    .select(columns())
                    .load::<(UserId, MemberRole, Option<MessageRow>)>(c)?,
            );
        }
    }
    let present = rows.iter().map(|row| (row.0, row.1)).collect();
    let said = rows.into_iter().filter_map(|row| row.2);
    Ok((present, said.map(|m| ((m.sender_id, m.client_id.clone()), m)).collect()))
}

/// Which of the messages that are answered are in the conversation.
fn answered(
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

/// Who is mentioned but not in the conversation.
fn not_members(
    c: &mut Conn,
    id: ConversationId,
    new: &[NewMessageRow],
) -> QueryResult<HashSet<UserId>> {
    strangers(c, id, new.iter().flat_map(|new| new.mentions.iter().copied()).collect())
}

/// Those who are not in a conversation.
fn strangers(
    c: &mut Conn,
    id: ConversationId,
    mut people: HashSet<UserId>,
) -> QueryResult<HashSet<UserId>> {
    if people.is_empty() {
        return Ok(people);
    }
    let found: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .filter(members::user_id.eq_any(people.iter().copied().map(Sql)))
        .select(members::user_id)
        .load(c)?;
    people.retain(|user| !found.contains(user));
    Ok(people)
}

/// What a message says that `by` may see and pass on, and who said it first. Into a conversation
/// that is encrypted nothing is: the server would put plain text there.
fn passed_on(
    c: &mut Conn,
    into: &LockedConversation,
    by: UserId,
    target: MessageId,
    now: Timestamp,
) -> QueryResult<Option<(String, UserId)>> {
    if into.encryption != Encryption::None {
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
        let there = message.deleted_at.is_none() && message.system.is_none();
        there.then(|| (message.body, message.forwarded_from.unwrap_or(message.sender_id)))
    }))
}

/// Stores messages, and with each that somebody is still to be told of it.
fn insert<'a>(c: &mut Conn, fresh: &'a [MessageRow], now: Timestamp) -> QueryResult<()> {
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
    let note = |message: &MessageRow| {
        (
            outbox::topic.eq("message"),
            outbox::payload.eq(Sql(news(message))),
            outbox::created_at.eq(Sql(now)),
        )
    };
    if let [one] = fresh {
        diesel::insert_into(messages::table).values(row(one)).execute(c)?;
        diesel::insert_into(outbox::table).values(note(one)).execute(c)?;
    } else {
        let rows: Vec<_> = fresh.iter().map(row).collect();
        diesel::insert_into(messages::table).values(rows).execute(c)?;
        let notes: Vec<_> = fresh.iter().map(note).collect();
        diesel::insert_into(outbox::table).values(notes).execute(c)?;
    }
    Ok(())
}

fn news(message: &MessageRow) -> Value {
    json!({
        "conversation_id": message.conversation_id,
        "message_id": message.id,
        "seq": message.seq,
        "sender_id": message.sender_id,
        "mentions": message.mentions,
        "withheld_from": message.withheld_from,
    })
}

/// Whoever says something has read up to there.
fn advance_senders(c: &mut Conn, id: ConversationId, fresh: &[MessageRow]) -> QueryResult<()> {
    let newest: HashMap<UserId, i64> = fresh.iter().map(|m| (m.sender_id, m.seq)).collect();
    for (sender, seq) in newest {
        diesel::update(members::table.find((Sql(id), Sql(sender))))
            .set((members::delivered_seq.eq(seq), members::read_seq.eq(seq)))
            .execute(c)?;
    }
    Ok(())
}

/// Writes down that something happened, which nobody is notified of.
pub(super) fn happened(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    what: &SystemEventRow,
    now: Timestamp,
) -> QueryResult<Option<MessageRow>> {
    let Some(held) = take(c, id, 1)? else { return Ok(None) };
    let what = serde_json::to_value(what)
        .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))?;
    diesel::insert_into(messages::table)
        .values((
            messages::id.eq(Sql(MessageId::new())),
            messages::conversation_id.eq(Sql(id)),
            messages::seq.eq(held.last_seq),
            messages::sender_id.eq(Sql(by)),
            // Of a form that no sender may choose, and unique as the number is.
            messages::client_id.eq(format!(" {}", held.last_seq)),
            messages::body.eq(""),
            messages::sent_at.eq(Sql(now)),
            messages::system.eq(Some(Sql(what))),
        ))
        .returning(MessageRow::as_returning())
        .get_result(c)
        .map(Some)
}
