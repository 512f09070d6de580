//! Finding what was said.

use base::ids::UserId;
use store::{SearchParams, tokenizer};

use super::{ChatError, ChatService, views};
use crate::protocol::Paginated;
use crate::protocol::messages as wire;

impl ChatService {
    /// A page of what the person may see and what has all the words, what was said last first. A
    /// page may be short, or empty, and yet have a next one.
    ///
    /// # Errors
    /// [`ChatError::BadSearch`], [`ChatError::NoSuchConversation`], or the database's.
    pub async fn search(
        &self,
        me: UserId,
        query: &wire::SearchQuery,
    ) -> Result<Paginated<wire::MessageView>, ChatError> {
        let limit = query.limit.map_or(50, |n| n.clamp(1, 200)) as usize;
        let words = tokenizer::query_words(&query.q);
        if words.is_empty() || query.q.chars().count() > 200 {
            return Err(ChatError::BadSearch);
        }
        let before = match query.after.as_deref().map(str::parse::<i64>) {
            None => None,
            Some(Ok(number)) => Some(number),
            Some(Err(_)) => return Err(ChatError::BadSearch),
        };
        let within = query.conversation_id;
        if let Some(id) = within {
            // As if it did not exist, not as if nothing was found.
            self.store.conversation(id, me).await?.ok_or(ChatError::NoSuchConversation)?;
        }
        let now = self.clock.now();
        let search = SearchParams { viewer: me, words, conversation: within, before };
        let found = self.store.search_messages(search, limit, now).await?;
        let next = found.next_before.map(|number| number.to_string());
        Ok(Paginated { items: found.messages.into_iter().map(views::shown).collect(), next })
    }
}
