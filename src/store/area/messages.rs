//! What is said: numbered without holes, once each, and how far it has come.

use std::collections::{HashMap, HashSet};

use base::clock::Time;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;
use serde_json::{Value, json};

use super::{Conn, contacts, files};
use crate::model::{Append, Appended, Attachment, Marked, Message, NewMessage, Range, Receipt};
use crate::schema::{conversations, members, messages, outbox};
use crate::types::Sql;

/// SQLite takes 32,766 values in a statement, PostgreSQL 65,535: a message has eight.
const ROWS: usize = 1000;

/// What is known of a conversation while it is held.
struct Held {
    last_seq: i64,
    roster: i64,
    direct: Option<(UserId, UserId)>,
}

pub(crate) fn append(
    c: &mut Conn,
    id: ConversationId,
    new: Vec<NewMessage>,
    now: Time,
) -> QueryResult<Appended> {
    // Numbers are taken for all of them first, which also holds the row: others wait here, so
    // that what is found below stays true. Most often all are fresh, and this was the only write.
    let wanted = count(new.len());
    let Some(held) = take(c, id, wanted)? else {
        let results = vec![Append::NotAMember; new.len()];
        return Ok(Appended { roster: 0, results, attachments: HashMap::new() });
    };
    let first = held.last_seq - wanted + 1;
    let files: HashMap<_, _> = new
        .iter()
        .filter(|new| !new.attachments.is_empty())
        .map(|new| (new.id, new.attachments.clone()))
        .collect();
    let (results, fresh) = judge(c, id, &held, new, first, now)?;
    let surplus = wanted - count(fresh.len());
    if surplus > 0 {
        take(c, id, -surplus)?;
    }
    if !fresh.is_empty() {
        for rows in fresh.chunks(ROWS) {
            insert(c, rows, now)?;
        }
        advance_senders(c, id, &fresh)?;
        let carried = fresh.iter().filter_map(|m| Some((m.id, files.get(&m.id)?.clone())));
        files::carry(c, &carried.collect::<Vec<_>>())?;
    }
    let attachments = carried(c, &results, files.is_empty())?;
    Ok(Appended { roster: held.roster, results, attachments })
}

/// What the messages of these results carry; most often nothing, which needs no question.
fn carried(
    c: &mut Conn,
    results: &[Append],
    no_files: bool,
) -> QueryResult<HashMap<MessageId, Vec<Attachment>>> {
    let ids = results.iter().filter_map(|result| match result {
        Append::Repeated(message) => Some(message.id),
        Append::Stored(message) if !no_files => Some(message.id),
        _ => None,
    });
    let ids: Vec<_> = ids.collect();
    if ids.is_empty() { Ok(HashMap::new()) } else { files::attachments_of(c, ids) }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Moves the last number of a conversation, and holds it.
fn take(c: &mut Conn, id: ConversationId, by: i64) -> QueryResult<Option<Held>> {
    type Row = (i64, i64, Option<UserId>, Option<UserId>);
    let row: Option<Row> = diesel::update(conversations::table.find(Sql(id)))
        .set(conversations::last_seq.eq(conversations::last_seq + by))
        .returning((
            conversations::last_seq,
            conversations::roster,
            conversations::direct_low,
            conversations::direct_high,
        ))
        .get_result(c)
        .optional()?;
    Ok(row.map(|(last_seq, roster, low, high)| Held { last_seq, roster, direct: low.zip(high) }))
}

/// Decides about each message, in the order given; the fresh ones are numbered from `first`.
fn judge(
    c: &mut Conn,
    id: ConversationId,
    held: &Held,
    new: Vec<NewMessage>,
    first: i64,
    now: Time,
) -> QueryResult<(Vec<Append>, Vec<Message>)> {
    let (present, mut said) = known(c, id, &new)?;
    let mut targets = answered(c, id, &new)?;
    let sendable = files::sendable(c, &new)?;
    let blocked = match held.direct {
        Some((low, high)) => contacts::any_block(c, low, high)?,
        None => false,
    };
    let mut seq = first;
    let mut fresh = Vec::with_capacity(new.len());
    let mut results = Vec::with_capacity(new.len());
    for new in new {
        if !present.contains(&new.sender) {
            results.push(Append::NotAMember);
            continue;
        }
        let name = (new.sender, new.client_id);
        if let Some(message) = said.get(&name) {
            results.push(Append::Repeated(message.clone()));
            continue;
        }
        if blocked {
            results.push(Append::Blocked);
            continue;
        }
        if new.reply_to.is_some_and(|target| !targets.contains(&target)) {
            results.push(Append::NoSuchReply);
            continue;
        }
        if !new.attachments.iter().all(|file| sendable.contains(&(name.0, *file))) {
            results.push(Append::NoSuchAttachment);
            continue;
        }
        let message = Message {
            id: new.id,
            conversation_id: id,
            seq,
            sender_id: name.0,
            client_id: name.1.clone(),
            body: new.body,
            reply_to: new.reply_to,
            sent_at: now,
        };
        seq += 1;
        said.insert(name, message.clone());
        targets.insert(message.id);
        fresh.push(message.clone());
        results.push(Append::Stored(message));
    }
    Ok((results, fresh))
}

// Below, one message alone has a statement of its own: its text is always the same, so that it is
// prepared once, which halves the time of the most frequent case.

/// The members among the senders, and what was said before under a sender and a name.
type Known = (HashSet<UserId>, HashMap<(UserId, String), Message>);

/// One question for both: who is a member, and what they said before under the same names.
fn known(c: &mut Conn, id: ConversationId, new: &[NewMessage]) -> QueryResult<Known> {
    let theirs = || {
        messages::conversation_id
            .eq(members::conversation_id)
            .and(messages::sender_id.eq(members::user_id))
    };
    let columns = || (members::user_id, Option::<Message>::as_select());
    let mut rows: Vec<(UserId, Option<Message>)> = Vec::new();
    if let [one] = new {
        rows = members::table
            .left_join(messages::table.on(theirs().and(messages::client_id.eq(&one.client_id))))
            .filter(members::conversation_id.eq(Sql(id)))
            .filter(members::user_id.eq(Sql(one.sender)))
            .select(columns())
            .load(c)?;
    } else {
        for new in new.chunks(ROWS) {
            let senders: HashSet<UserId> = new.iter().map(|new| new.sender).collect();
            let names = messages::client_id.eq_any(new.iter().map(|new| &new.client_id));
            rows.extend(
                members::table
                    .left_join(messages::table.on(theirs().and(names)))
                    .filter(members::conversation_id.eq(Sql(id)))
                    .filter(members::user_id.eq_any(senders.into_iter().map(Sql)))
                    .select(columns())
                    .load::<(UserId, Option<Message>)>(c)?,
            );
        }
    }
    let present = rows.iter().map(|row| row.0).collect();
    let said = rows.into_iter().filter_map(|row| row.1);
    Ok((present, said.map(|m| ((m.sender_id, m.client_id.clone()), m)).collect()))
}

/// Which of the messages that are answered are in the conversation.
fn answered(
    c: &mut Conn,
    id: ConversationId,
    new: &[NewMessage],
) -> QueryResult<HashSet<MessageId>> {
    let targets: HashSet<MessageId> = new.iter().filter_map(|new| new.reply_to).collect();
    if targets.is_empty() {
        return Ok(targets);
    }
    let found: Vec<MessageId> = messages::table
        .filter(messages::id.eq_any(targets.into_iter().map(Sql)))
        .filter(messages::conversation_id.eq(Sql(id)))
        .select(messages::id)
        .load(c)?;
    Ok(found.into_iter().collect())
}

/// Stores messages, and with each that somebody is still to be told of it.
fn insert<'a>(c: &mut Conn, fresh: &'a [Message], now: Time) -> QueryResult<()> {
    let row = |message: &'a Message| {
        (
            messages::id.eq(Sql(message.id)),
            messages::conversation_id.eq(Sql(message.conversation_id)),
            messages::seq.eq(message.seq),
            messages::sender_id.eq(Sql(message.sender_id)),
            messages::client_id.eq(&message.client_id),
            messages::body.eq(&message.body),
            messages::reply_to.eq(message.reply_to.map(Sql)),
            messages::sent_at.eq(Sql(message.sent_at)),
        )
    };
    let note = |message: &Message| {
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

fn news(message: &Message) -> Value {
    json!({
        "conversation_id": message.conversation_id,
        "message_id": message.id,
        "seq": message.seq,
        "sender_id": message.sender_id,
    })
}

/// Whoever says something has read up to there.
fn advance_senders(c: &mut Conn, id: ConversationId, fresh: &[Message]) -> QueryResult<()> {
    let newest: HashMap<UserId, i64> = fresh.iter().map(|m| (m.sender_id, m.seq)).collect();
    for (sender, seq) in newest {
        diesel::update(members::table.find((Sql(id), Sql(sender))))
            .set((members::delivered_seq.eq(seq), members::read_seq.eq(seq)))
            .execute(c)?;
    }
    Ok(())
}

pub(crate) fn messages(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
    range: Range,
    limit: i64,
) -> QueryResult<Option<Vec<Message>>> {
    let joined: Option<i64> = members::table
        .find((Sql(id), Sql(viewer)))
        .select(members::joined_seq)
        .first(c)
        .optional()?;
    let Some(joined) = joined else { return Ok(None) };
    let (after, before) = match range {
        Range::After(seq) => (seq.max(joined), i64::MAX),
        Range::Before(seq) => (joined, seq),
        Range::Latest => (joined, i64::MAX),
    };
    let part = messages::table
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::seq.gt(after))
        .filter(messages::seq.lt(before))
        .select(Message::as_select())
        .limit(limit);
    if matches!(range, Range::After(_)) {
        return part.order(messages::seq.asc()).load(c).map(Some);
    }
    let mut found: Vec<Message> = part.order(messages::seq.desc()).load(c)?;
    found.reverse();
    Ok(Some(found))
}

pub(crate) fn mark(
    c: &mut Conn,
    id: ConversationId,
    user: UserId,
    receipt: Receipt,
    seq: i64,
) -> QueryResult<Marked> {
    let last: Option<i64> =
        conversations::table.find(Sql(id)).select(conversations::last_seq).first(c).optional()?;
    let query = members::table
        .find((Sql(id), Sql(user)))
        .select((members::delivered_seq, members::read_seq));
    let old: Option<(i64, i64)> = held!(query).first(c).optional()?;
    let (Some(last), Some(old)) = (last, old) else { return Ok(Marked::NotAMember) };
    let seq = seq.min(last);
    let delivered_seq = old.0.max(seq);
    let read_seq = if receipt == Receipt::Read { old.1.max(seq) } else { old.1 };
    if (delivered_seq, read_seq) == old {
        return Ok(Marked::Unchanged);
    }
    diesel::update(members::table.find((Sql(id), Sql(user))))
        .set((members::delivered_seq.eq(delivered_seq), members::read_seq.eq(read_seq)))
        .execute(c)?;
    Ok(Marked::Moved { delivered_seq, read_seq })
}
