//! Messages, their revisions, receipts and search.

use base::clock::Timestamp;
use base::ids::{ConversationId, MessageId, UserId};

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{
    AppendBatchOutcome, MessageActionLimits, MessageActionOutcome, MessageActionRequest,
    MessageEditRow, MessageRange, MessageRow, MessageWithDetails, NewMessageRow, ReceiptKind,
    ReceiptOutcome, RevisedMessage, SearchPage, SearchParams,
};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Appends messages to a conversation in one transaction; each is accepted or rejected on its
    /// own.
    ///
    /// Stored messages are numbered from the conversation's `last_seq` on, without gaps, in the
    /// order given. Their senders have then read up to there, and an entry of topic `message` is in
    /// the outbox.
    pub async fn append_messages(
        &self,
        conversation: ConversationId,
        messages: Vec<NewMessageRow>,
        now: Timestamp,
    ) -> Result<AppendBatchOutcome> {
        write_tx!(self, messages::append(conversation, messages, now))
    }

    /// Part of a conversation by ascending `seq`, as far as `viewer` may see it; `None` if they are
    /// not a member.
    pub async fn messages(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        range: MessageRange,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<Vec<MessageWithDetails>>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, messages::messages(conversation, viewer, range, limit, now))
    }

    /// One message, if `viewer` may see it; of a deleted one only its number is left.
    pub async fn message(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        message: MessageId,
        now: Timestamp,
    ) -> Result<Option<MessageWithDetails>> {
        read_tx!(self, messages::message(conversation, viewer, message, now))
    }

    /// Changed messages by ascending revision, after the revision `after`: each message only with
    /// its newest revision, and only those that `viewer` may see. `None` if they are not a member.
    pub async fn message_changes(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        after: i64,
        limit: usize,
        now: Timestamp,
    ) -> Result<Option<Vec<RevisedMessage>>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, messages::changes(conversation, viewer, after, limit, now))
    }

    /// The earlier texts of a message, oldest first; `None` if `viewer` cannot see it.
    pub async fn message_edits(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        message: MessageId,
        now: Timestamp,
    ) -> Result<Option<Vec<MessageEditRow>>> {
        read_tx!(self, messages::edits(conversation, viewer, message, now))
    }

    /// The pinned messages of a conversation, newest first; `None` if `viewer` is not a member.
    pub async fn pinned_messages(
        &self,
        conversation: ConversationId,
        viewer: UserId,
        now: Timestamp,
    ) -> Result<Option<Vec<MessageWithDetails>>> {
        read_tx!(self, messages::pins(conversation, viewer, now))
    }

    /// Applies an action to a message. A change takes the conversation's next revision under its
    /// row lock and updates the search index and the edit history in the same transaction.
    pub async fn apply_message_action(
        &self,
        conversation: ConversationId,
        request: MessageActionRequest,
        limits: MessageActionLimits,
        now: Timestamp,
    ) -> Result<MessageActionOutcome> {
        write_tx!(self, messages::apply_action(conversation, request, limits, now))
    }

    /// Erases up to `limit` expired messages; returns each with the members who could see it.
    pub async fn expire_messages(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(MessageRow, Vec<UserId>)>> {
        let limit = to_sql_limit(limit);
        write_tx!(self, messages::expire(limit, now))
    }

    /// Searches the messages that a user may see, newest first. The rows examined for one page are
    /// bounded.
    pub async fn search_messages(
        &self,
        search: SearchParams,
        limit: usize,
        now: Timestamp,
    ) -> Result<SearchPage> {
        read_tx!(self, search::search(search, limit, now))
    }

    /// Advances a user's delivered or read position: at most to `last_seq`, and never back.
    pub async fn advance_receipt(
        &self,
        conversation: ConversationId,
        user: UserId,
        receipt: ReceiptKind,
        seq: i64,
        _now: Timestamp,
    ) -> Result<ReceiptOutcome> {
        write_tx!(self, messages::advance_receipt(conversation, user, receipt, seq))
    }
}
