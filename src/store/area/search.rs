//! Finding what was said by its words, within what somebody may see.

use base::clock::Time;
use base::ids::{ConversationId, MessageId, UserId};
use diesel::prelude::*;

use super::super::words as index_of;
use super::Conn;
use super::messages::shows;
use crate::model::{Finds, Message, Search, Shown};
use crate::schema::{conversations, hidden_messages, members, messages, search_entries};
use crate::types::Sql;
use crate::words;

/// How many finds are looked at at once.
const WINDOW: usize = 500;
/// How often that is done for one page: whoever may see little of what is found gets shorter pages,
/// and nobody keeps the database for long.
const WINDOWS: usize = 20;
/// How many conversations are named to the index at most.
const PLACES: usize = 300;

/// The word that names a conversation in the index: with it the search stays among those of the
/// person. No text has it, since words have letters and digits only.
fn place(id: ConversationId) -> String {
    format!("\u{e000}{}", id.uuid().simple())
}

fn words_of(message: &Message) -> Option<String> {
    let mut words = words::of(&message.body);
    if words.is_empty() {
        return None;
    }
    words.push(place(message.conversation_id));
    Some(words.join(" "))
}

/// Puts new messages into the index.
pub(super) fn index(c: &mut Conn, fresh: &[Message]) -> QueryResult<()> {
    for message in fresh {
        if let Some(words) = words_of(message) {
            index_of::put(c, message.id, &words)?;
        }
    }
    Ok(())
}

/// Puts a message that says something else now into the index, in its old place.
pub(super) fn index_again(c: &mut Conn, message: &Message) -> QueryResult<()> {
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
    Search { viewer, words: wanted, within, before }: Search,
    limit: usize,
    now: Time,
) -> QueryResult<Finds> {
    let mut mine = members::table
        .inner_join(conversations::table)
        .filter(members::user_id.eq(Sql(viewer)))
        .order(conversations::updated_at.desc())
        .select(members::conversation_id)
        .into_boxed();
    if let Some(id) = within {
        mine = mine.filter(members::conversation_id.eq(Sql(id)));
    }
    let mine: Vec<ConversationId> = mine.load(c)?;
    if mine.is_empty() || wanted.is_empty() {
        return Ok(Finds { shown: Vec::new(), next: None });
    }
    let places: Vec<String> = mine.into_iter().map(place).collect();
    // Somebody with very many is asked of what is found, not of the index.
    let places = if places.len() > PLACES { Vec::new() } else { places };
    let (mut found, mut next) = (Vec::new(), Some(before.unwrap_or(i64::MAX)));
    for _ in 0..WINDOWS {
        let Some(below) = next else { break };
        let candidates = index_of::find(c, &places, &wanted, below, rows(WINDOW))?;
        next = candidates.last().copied().filter(|_| candidates.len() == WINDOW);
        let one_more = limit + 1 - found.len(); // which says that there is more
        found.extend(visible(c, viewer, candidates, rows(one_more), now)?);
        if found.len() > limit {
            found.truncate(limit);
            next = found.last().map(|(number, _)| *number);
            break;
        }
    }
    Ok(Finds { shown: found.into_iter().map(|(_, shown)| shown).collect(), next })
}

fn rows(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Those of what was found that `viewer` may see.
fn visible(
    c: &mut Conn,
    viewer: UserId,
    candidates: Vec<i64>,
    limit: i64,
    now: Time,
) -> QueryResult<Vec<(i64, Shown)>> {
    let lasts = messages::expires_at.gt(Sql(now)).assume_not_null();
    let found: Vec<(i64, Message)> = search_entries::table
        .inner_join(messages::table)
        .inner_join(members::table.on(members::conversation_id.eq(messages::conversation_id)))
        .filter(search_entries::id.eq_any(candidates))
        .filter(members::user_id.eq(Sql(viewer)))
        .filter(messages::seq.gt(members::visible_seq))
        .filter(messages::deleted_at.is_null())
        .filter(messages::expires_at.is_null().or(lasts))
        .filter(shows!(viewer))
        .order(search_entries::id.desc())
        .limit(limit)
        .select((search_entries::id, Message::as_select()))
        .load(c)?;
    let (numbers, found): (Vec<i64>, Vec<Message>) = found.into_iter().unzip();
    let shown = super::messages::complete(c, found, now)?;
    Ok(numbers.into_iter().zip(shown).collect())
}
