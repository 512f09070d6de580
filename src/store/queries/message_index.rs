//! Which words of messages the full-text index has.

use base::ids::{ConversationId, MessageId};
use diesel::prelude::*;

use super::super::words;
use super::Conn;
use crate::rows::MessageRow;
use crate::schema::search_entries;
use crate::tokenizer;
use crate::types::Sql;

/// The index word that identifies a conversation: it confines a search to the user's conversations.
/// No text contains it, since words have letters and digits only.
pub(super) fn conversation_word(id: ConversationId) -> String {
    format!("\u{e000}{}", id.uuid().simple())
}

fn index_text(message: &MessageRow) -> Option<String> {
    let mut index_words = tokenizer::index_words(&message.body);
    if index_words.is_empty() {
        return None;
    }
    index_words.push(conversation_word(message.conversation_id));
    Some(index_words.join(" "))
}

/// Adds new messages to the index.
pub(super) fn insert(c: &mut Conn, messages: &[MessageRow]) -> QueryResult<()> {
    for message in messages {
        if let Some(text) = index_text(message) {
            words::insert(c, message.id, &text)?;
        }
    }
    Ok(())
}

/// Updates the index entry of an edited message, which keeps its number.
pub(super) fn update(c: &mut Conn, message: &MessageRow) -> QueryResult<()> {
    let entry: Option<i64> = search_entries::table
        .filter(search_entries::message_id.eq(Sql(message.id)))
        .select(search_entries::id)
        .first(c)
        .optional()?;
    match (entry, index_text(message)) {
        (Some(entry), Some(text)) => words::update(c, entry, &text),
        (Some(_), None) => remove(c, vec![message.id]),
        (None, _) => insert(c, std::slice::from_ref(message)),
    }
}

/// Removes messages from the index.
pub(super) fn remove(c: &mut Conn, ids: Vec<MessageId>) -> QueryResult<()> {
    let entries = search_entries::message_id.eq_any(ids.into_iter().map(Sql));
    diesel::delete(search_entries::table.filter(entries)).execute(c)?;
    Ok(())
}
