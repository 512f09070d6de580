//! Full-text search in messages.

use base::ids::UserId;
use store::{SearchParams, tokenizer};

use super::{ChatError, ChatService, views};
use crate::protocol::{Paginated, messages as wire};

impl ChatService {
    /// A page of visible messages that contain all words, newest first. A page may be short or
    /// empty and still have a next page.
    ///
    /// # Errors
    /// [`ChatError::InvalidSearch`], [`ChatError::ConversationNotFound`], or a database error.
    pub async fn search(
        &self,
        caller: UserId,
        query: &wire::SearchQuery,
    ) -> Result<Paginated<wire::MessageView>, ChatError> {
        let limit = query.limit.map_or(50, |n| n.clamp(1, 200)) as usize;
        let terms = tokenizer::query_words(&query.q);
        if terms.is_empty() || query.q.chars().count() > 200 {
            return Err(ChatError::InvalidSearch);
        }
        let before = match query.after.as_deref().map(str::parse::<i64>) {
            None => None,
            Some(Ok(number)) => Some(number),
            Some(Err(_)) => return Err(ChatError::InvalidSearch),
        };
        let within = query.conversation_id;
        if let Some(id) = within {
            // The conversation must look as if it did not exist, rather than as if nothing was
            // found.
            self.store.conversation(id, caller).await?.ok_or(ChatError::ConversationNotFound)?;
        }
        let now = self.clock.now();
        let search = SearchParams { viewer: caller, words: terms, conversation: within, before };
        let found = self.store.search_messages(search, limit, now).await?;
        let next = found.next_before.map(|number| number.to_string());
        Ok(Paginated { items: found.messages.into_iter().map(views::shown).collect(), next })
    }
}
