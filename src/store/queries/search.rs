//! Finding what was said by its words, within what somebody may see.

use std::collections::{HashMap, HashSet};

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;

use super::super::words as index_of;
use super::Conn;
use super::messages::is_visible;
use crate::rows::{MessageRow, SearchPage, SearchParams};
use crate::schema::{hidden_messages, members, messages, search_entries};
use crate::tokenizer;
use crate::types::Sql;

/// How many finds are looked at at once.
const SEARCH_WINDOW_ROWS: usize = 500;
/// How often that is done for one page: whoever may see little of what is found gets shorter pages,
/// and nobody keeps the database for long.
const MAX_SEARCH_WINDOWS: usize = 20;
/// How many conversations are named to the index at most.
const MAX_CONVERSATIONS_IN_QUERY: usize = 300;

/// The word that names a conversation in the index: with it the search stays among those of the
/// person. No text has it, since words have letters and digits only.
fn place(id: ConversationId) -> String {
    format!("\u{e000}{}", id.uuid().simple())
}

fn words_of(message: &MessageRow) -> Option<String> {
    let mut words = tokenizer::of(&message.body);
    if words.is_empty() {
        return None;
    }
    words.push(place(message.conversation_id));
    Some(words.join(" "))
}

/// Puts new messages into the index.
pub(super) fn index(c: &mut Conn, fresh: &[MessageRow]) -> QueryResult<()> {
    for message in fresh {
        if let Some(words) = words_of(message) {
            index_of::put(c, message.id, &words)?;
        }
    }
    Ok(())
}

/// Puts a message that says something else now into the index, in its old place.
pub(super) fn index_again(c: &mut Conn, message: &MessageRow) -> QueryResult<()> {
    let entry: Option<i64> = search_entries::table
        .filter(search_entries::message_id.eq(Sql(message.id)))
        .select(search_entries::id)
        .first(c)
        .optional()?;
    match (entry, words_of(message)) {
        (Some(entry), Some(words)) => index_of::change(c, entry, &words),
        (Some(_), None) => forget(c, vec![message.id]),
        (None, _) => index(c, std::slice::from_ref(message)),
    }
}

/// Takes messages out of the index.
pub(super) fn forget(c: &mut Conn, ids: Vec<MessageId>) -> QueryResult<()> {
    let entries = search_entries::message_id.eq_any(ids.into_iter().map(Sql));
    diesel::delete(search_entries::table.filter(entries)).execute(c)?;
    Ok(())
}

/// What `viewer` may see that has all words, the last of which may be the beginning of one; what
/// was said last comes first.
pub(crate) fn search(
    c: &mut Conn,
    SearchParams { viewer, words: wanted, within, before }: SearchParams,
    limit: usize,
    now: Timestamp,
) -> QueryResult<SearchPage> {
    let mut mine = members::table
        .filter(members::user_id.eq(Sql(viewer)))
        .select((members::conversation_id, members::visible_seq))
        .into_boxed();
    if let Some(id) = within {
        mine = mine.filter(members::conversation_id.eq(Sql(id)));
    }
    let mine: HashMap<ConversationId, i64> =
        mine.load::<(ConversationId, i64)>(c)?.into_iter().collect();
    if mine.is_empty() || wanted.is_empty() {
        return Ok(SearchPage { shown: Vec::new(), next: None });
    }
    let places: Vec<String> = mine.keys().map(|id| place(*id)).collect();
    // Somebody with very many is asked of what is found, not of the index.
    let places = if places.len() > MAX_CONVERSATIONS_IN_QUERY { Vec::new() } else { places };
    let (mut found, mut next) = (Vec::new(), Some(before.unwrap_or(i64::MAX)));
    for _ in 0..MAX_SEARCH_WINDOWS {
        let Some(below) = next else { break };
        let candidates = index_of::find(c, &places, &wanted, below, rows(SEARCH_WINDOW_ROWS))?;
        next = candidates.last().copied().filter(|_| candidates.len() == SEARCH_WINDOW_ROWS);
        let one_more = limit + 1 - found.len(); // which says that there is more
        found.extend(visible(c, viewer, &mine, candidates, now)?.into_iter().take(one_more));
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().map(|(number, _)| *number);
            break;
        }
    }
    let found: Vec<MessageId> = found.into_iter().map(|(_, message)| message).collect();
    let told: Vec<MessageRow> = messages::table
        .filter(messages::id.eq_any(found.iter().copied().map(Sql)))
        .select(MessageRow::as_select())
        .load(c)?;
    let mut told: HashMap<_, _> = told.into_iter().map(|message| (message.id, message)).collect();
    let told = found.iter().filter_map(|id| told.remove(id)).collect();
    Ok(SearchPage { shown: super::messages::complete(c, told, now)?, next })
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Those of what was found that `viewer` may see, the highest number first. `mine` says of each of
/// their conversations behind which message they see something.
///
/// One table after the other: asked for all at once, SQLite begins with the person's conversations
/// and reads every message there is in them.
fn visible(
    c: &mut Conn,
    viewer: UserId,
    mine: &HashMap<ConversationId, i64>,
    candidates: Vec<i64>,
    now: Timestamp,
) -> QueryResult<Vec<(i64, MessageId)>> {
    let entries: Vec<(i64, MessageId)> = search_entries::table
        .filter(search_entries::id.eq_any(candidates))
        .order(search_entries::id.desc())
        .select((search_entries::id, search_entries::message_id))
        .load(c)?;
    let lasts = messages::expires_at.gt(Sql(now)).assume_not_null();
    let there: Vec<(MessageId, ConversationId, i64)> = messages::table
        .filter(messages::id.eq_any(entries.iter().map(|(_, id)| Sql(*id))))
        .filter(messages::deleted_at.is_null())
        .filter(messages::expires_at.is_null().or(lasts))
        .filter(is_visible!(viewer))
        .select((messages::id, messages::conversation_id, messages::seq))
        .load(c)?;
    let is_seen = |place, seq| mine.get(&place).is_some_and(|first| seq > *first);
    let seen = there.into_iter().filter(|(_, place, seq)| is_seen(*place, *seq));
    let seen: HashSet<MessageId> = seen.map(|(id, ..)| id).collect();
    Ok(entries.into_iter().filter(|(_, id)| seen.contains(id)).collect())
}
