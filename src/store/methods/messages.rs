//! What is said in conversations, and how far it has come.

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{
    Altered, Appended, Doing, Edit, Finds, Limits, Marked, Message, NewMessage, Range, Receipt,
    Revised, Search, Shown,
};
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
        now: Timestamp,
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
        now: Timestamp,
    ) -> Result<Option<Vec<Shown>>> {
        let limit = rows(limit);
        look!(self, messages::messages(conversation, viewer, range, limit, now))
    }

    /// One message, if `viewer` may see it; perhaps nothing but its number is left.
    pub async fn message(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        message: MessageId,
        now: Timestamp,
    ) -> Result<Option<Shown>> {
        look!(self, messages::shown(conversation, viewer, message, now))
    }

    /// Changes of messages by their number upwards, from the one after `after`: of each message
    /// only its newest, and not those that `viewer` may not see; `None` if they are not in it.
    pub async fn changes(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        after: i64,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<Vec<Revised>>> {
        let limit = rows(limit);
        look!(self, messages::changes(conversation, viewer, after, limit, now))
    }

    /// What a message said before, the oldest first; `None` if it is not there for `viewer`.
    pub async fn message_edits(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        message: MessageId,
        now: Timestamp,
    ) -> Result<Option<Vec<Edit>>> {
        look!(self, messages::edits(conversation, viewer, message, now))
    }

    /// What is pinned in a conversation, the newest first; `None` if `viewer` is not in it.
    pub async fn pins(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        now: Timestamp,
    ) -> Result<Option<Vec<Shown>>> {
        look!(self, messages::pins(conversation, viewer, now))
    }

    /// Does something to a message. A change takes the next number under the conversation's row,
    /// and is in the search index and in what is kept of edits in the same transaction.
    pub async fn alter(
        &self,
        conversation: ConversationId,
        doing: Doing,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Altered> {
        change!(self, messages::alter(conversation, doing, limits, now))
    }

    /// Removes messages whose time is over, at most `limit`.
    pub async fn expire_messages(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(Message, Vec<UserId>)>> {
        let limit = rows(limit);
        change!(self, messages::expire(limit, now))
    }

    /// What somebody may see and looks for; what was said last comes first. Only so much is looked
    /// through for one page.
    pub async fn search(&self, search: Search, limit: usize, now: Timestamp) -> Result<Finds> {
        look!(self, search::search(search, limit, now))
    }

    /// Moves how far a person has received or read: at most to `last_seq`, and never back.
    pub async fn mark(
        &self,
        conversation: ConversationId,
        user: UserId,
        receipt: Receipt,
        seq: i64,
        _now: Timestamp,
    ) -> Result<Marked> {
        change!(self, messages::mark(conversation, user, receipt, seq))
    }
}
