//! Full-text search of messages within what a user may see.

use std::collections::{HashMap, HashSet};

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;

use super::super::words as search_index;
use super::Conn;
use super::message_index::conversation_word;
use super::visible::is_visible;
use crate::limits::{MAX_CONVERSATIONS_IN_QUERY, MAX_SEARCH_WINDOWS};
use crate::rows::{MessageRow, SearchPage, SearchParams};
use crate::schema::{hidden_messages, members, messages, search_entries};
use crate::types::Sql;

/// How many index hits are examined at once.
const SEARCH_WINDOW_ROWS: usize = 500;

/// The messages that `viewer` may see and that contain all words, the last of which may be a
/// prefix; newest first.
pub(crate) fn search(
    c: &mut Conn,
    SearchParams { viewer, words, conversation, before }: SearchParams,
    limit: usize,
    now: Timestamp,
) -> QueryResult<SearchPage> {
    let mut visible_from = members::table
        .filter(members::user_id.eq(Sql(viewer)))
        .select((members::conversation_id, members::visible_seq))
        .into_boxed();
    if let Some(id) = conversation {
        visible_from = visible_from.filter(members::conversation_id.eq(Sql(id)));
    }
    let visible_from: HashMap<ConversationId, i64> =
        visible_from.load::<(ConversationId, i64)>(c)?.into_iter().collect();
    if visible_from.is_empty() || words.is_empty() {
        return Ok(SearchPage { messages: Vec::new(), next_before: None });
    }
    let conversation_words: Vec<String> =
        visible_from.keys().map(|id| conversation_word(*id)).collect();
    // With very many conversations, the hits are filtered instead of the index.
    let conversation_words = if conversation_words.len() > MAX_CONVERSATIONS_IN_QUERY {
        Vec::new()
    } else {
        conversation_words
    };
    let (mut found, mut next) = (Vec::new(), Some(before.unwrap_or(i64::MAX)));
    for _ in 0..MAX_SEARCH_WINDOWS {
        let Some(below) = next else { break };
        let hits = search_index::find(
            c,
            &conversation_words,
            &words,
            below,
            to_sql_limit(SEARCH_WINDOW_ROWS),
        )?;
        next = hits.last().copied().filter(|_| hits.len() == SEARCH_WINDOW_ROWS);
        // One more than the limit shows that there is a next page.
        let one_more = limit + 1 - found.len();
        found.extend(visible_hits(c, viewer, &visible_from, hits, now)?.into_iter().take(one_more));
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().map(|(number, _)| *number);
            break;
        }
    }
    let found: Vec<MessageId> = found.into_iter().map(|(_, message)| message).collect();
    let rows: Vec<MessageRow> = messages::table
        .filter(messages::id.eq_any(found.iter().copied().map(Sql)))
        .select(MessageRow::as_select())
        .load(c)?;
    let mut rows: HashMap<_, _> = rows.into_iter().map(|message| (message.id, message)).collect();
    let rows = found.iter().filter_map(|id| rows.remove(id)).collect();
    Ok(SearchPage { messages: super::messages::complete(c, rows, now)?, next_before: next })
}

fn to_sql_limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Those of the hits that `viewer` may see, highest number first. `visible_from` maps each of their
/// conversations to the sequence after which they can see messages.
///
/// One table at a time: with one join, SQLite starts with the user's conversations and reads every
/// message in them.
fn visible_hits(
    c: &mut Conn,
    viewer: UserId,
    visible_from: &HashMap<ConversationId, i64>,
    hits: Vec<i64>,
    now: Timestamp,
) -> QueryResult<Vec<(i64, MessageId)>> {
    let entries: Vec<(i64, MessageId)> = search_entries::table
        .filter(search_entries::id.eq_any(hits))
        .order(search_entries::id.desc())
        .select((search_entries::id, search_entries::message_id))
        .load(c)?;
    let not_expired = messages::expires_at.gt(Sql(now)).assume_not_null();
    let existing: Vec<(MessageId, ConversationId, i64)> = messages::table
        .filter(messages::id.eq_any(entries.iter().map(|(_, id)| Sql(*id))))
        .filter(messages::deleted_at.is_null())
        .filter(messages::expires_at.is_null().or(not_expired))
        .filter(is_visible!(viewer))
        .select((messages::id, messages::conversation_id, messages::seq))
        .load(c)?;
    let is_in_range = |conversation, seq| {
        visible_from.get(&conversation).is_some_and(|visible_seq| seq > *visible_seq)
    };
    let visible =
        existing.into_iter().filter(|(_, conversation, seq)| is_in_range(*conversation, *seq));
    let visible: HashSet<MessageId> = visible.map(|(id, ..)| id).collect();
    Ok(entries.into_iter().filter(|(_, id)| visible.contains(id)).collect())
}
