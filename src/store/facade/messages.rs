//! What is said in conversations, and how far it has come.

use base::clock::Time;
use base::ids::{ConversationId, UserId};

use super::accounts::rows;
use crate::error::Result;
use crate::model::{Appended, Marked, Message, NewMessage, Range, Receipt};
use crate::store::{Store, change, look};

impl Store {
    /// Says things in a conversation, all in one transaction, each judged for itself.
    ///
    /// What is stored is numbered from the conversation's `last_seq` on, without holes, in the
    /// order given; its sender has then read up to there; and an entry of topic `message` is in
    /// the outbox.
    pub async fn append(
        &self,
        conversation: ConversationId,
        messages: Vec<NewMessage>,
        now: Time,
    ) -> Result<Appended> {
        change!(self, messages::append(conversation, messages, now))
    }

    /// Part of a conversation by `seq` upwards, as far as `viewer` may see it; `None` if they are
    /// not in it.
    pub async fn messages(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        range: Range,
        limit: usize,
    ) -> Result<Option<Vec<Message>>> {
        let limit = rows(limit);
        look!(self, messages::messages(conversation, viewer, range, limit))
    }

    /// Moves how far a person has received or read: at most to `last_seq`, and never back.
    pub async fn mark(
        &self,
        conversation: ConversationId,
        user: UserId,
        receipt: Receipt,
        seq: i64,
        _now: Time,
    ) -> Result<Marked> {
        change!(self, messages::mark(conversation, user, receipt, seq))
    }
}
