//! What is said in conversations, and how far it has come.

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{
    AppendBatchOutcome, MessageActionLimits, MessageActionOutcome, MessageActionRequest,
    MessageEditRow, MessageRange, MessageRow, MessageWithDetails, NewMessageRow, ReceiptKind,
    ReceiptOutcome, RevisedMessage, SearchPage, SearchParams,
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
        messages: Vec<NewMessageRow>,
        now: Timestamp,
    ) -> Result<AppendBatchOutcome> {
        change!(self, messages::append(conversation, messages, now))
    }

    /// Part of a conversation by `seq` upwards, as far as `viewer` may see it; `None` if they are
    /// not in it.
    pub async fn messages(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        range: MessageRange,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<Vec<MessageWithDetails>>> {
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
    ) -> Result<Option<MessageWithDetails>> {
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
    ) -> Result<Option<Vec<RevisedMessage>>> {
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
    ) -> Result<Option<Vec<MessageEditRow>>> {
        look!(self, messages::edits(conversation, viewer, message, now))
    }

    /// What is pinned in a conversation, the newest first; `None` if `viewer` is not in it.
    pub async fn pins(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        now: Timestamp,
    ) -> Result<Option<Vec<MessageWithDetails>>> {
        look!(self, messages::pins(conversation, viewer, now))
    }

    /// Does something to a message. A change takes the next number under the conversation's row,
    /// and is in the search index and in what is kept of edits in the same transaction.
    pub async fn alter(
        &self,
        conversation: ConversationId,
        doing: MessageActionRequest,
        limits: MessageActionLimits,
        now: Timestamp,
    ) -> Result<MessageActionOutcome> {
        change!(self, messages::alter(conversation, doing, limits, now))
    }

    /// Removes messages whose time is over, at most `limit`.
    pub async fn expire_messages(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(MessageRow, Vec<UserId>)>> {
        let limit = rows(limit);
        change!(self, messages::expire(limit, now))
    }

    /// What somebody may see and looks for; what was said last comes first. Only so much is looked
    /// through for one page.
    pub async fn search(
        &self,
        search: SearchParams,
        limit: usize,
        now: Timestamp,
    ) -> Result<SearchPage> {
        look!(self, search::search(search, limit, now))
    }

    /// Moves how far a person has received or read: at most to `last_seq`, and never back.
    pub async fn mark(
        &self,
        conversation: ConversationId,
        user: UserId,
        receipt: ReceiptKind,
        seq: i64,
        _now: Timestamp,
    ) -> Result<ReceiptOutcome> {
        change!(self, messages::mark(conversation, user, receipt, seq))
    }
}
