//! Messages: drafts, their order, receipts and typing.

use base::ids::{ConversationId, MessageId, UserId};
use store::{AppendOutcome, MessageRange, NewMessageRow, ReceiptKind, ReceiptOutcome};

use super::{ChatError, ChatService, views};
use crate::domain::WithEvents;
use crate::limits::{
    MAX_MEMBERS_FOR_RECEIPT_EVENTS, MAX_MENTIONS_PER_MESSAGE, MAX_MESSAGE_EXPIRY_SECONDS,
};
use crate::protocol::server::{self, ServerEvent};
use crate::protocol::{Paginated, messages as wire};

/// Removes duplicate mentions and checks their number.
pub(super) fn normalize_mentions(mut mentions: Vec<UserId>) -> Result<Vec<UserId>, ChatError> {
    mentions.sort_unstable();
    mentions.dedup();
    if mentions.len() > MAX_MENTIONS_PER_MESSAGE {
        Err(ChatError::InvalidMentions)
    } else {
        Ok(mentions)
    }
}

/// A validated message without a sequence number.
#[derive(Clone, Debug)]
pub struct MessageDraft {
    message: NewMessageRow,
}

/// Result of sending a draft.
#[derive(Clone, Debug)]
pub enum SendMessageOutcome {
    /// The message was stored. In a direct conversation the second value is a recipient who blocks
    /// the sender and does not receive it.
    Stored(wire::MessageView, Option<UserId>),
    /// A message with this `client_id` was stored before.
    Duplicate(wire::MessageView),
}

impl SendMessageOutcome {
    /// Returns the message, new or not.
    pub fn into_message(self) -> wire::MessageView {
        match self {
            Self::Stored(message, _) | Self::Duplicate(message) => message,
        }
    }
}

impl ChatService {
    /// Validates a message as far as possible without the database.
    ///
    /// # Errors
    /// [`ChatError::InvalidBody`], [`ChatError::InvalidClientId`] and other validation errors.
    pub fn draft(&self, sender: UserId, new: wire::PostMessage) -> Result<MessageDraft, ChatError> {
        match new.forward_of {
            Some(_) if !new.body.is_empty() || !new.attachments.is_empty() => {
                return Err(ChatError::InvalidForward);
            }
            Some(_) => {}
            None if new.body.is_empty() && !new.attachments.is_empty() => {}
            None => self.check_body(&new.body)?,
        }
        let mentions = normalize_mentions(new.mentions)?;
        if new
            .expires_in
            .is_some_and(|seconds| !(1..=MAX_MESSAGE_EXPIRY_SECONDS).contains(&seconds))
        {
            return Err(ChatError::InvalidExpiry);
        }
        let id = &new.client_id;
        if !(1..=64).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ChatError::InvalidClientId);
        }
        let max_attachments = self.config.max_attachments;
        if new.attachments.len() > max_attachments {
            return Err(ChatError::AttachmentLimitReached(max_attachments));
        }
        let message = NewMessageRow {
            id: MessageId::new(),
            sender,
            client_id: new.client_id,
            body: new.body,
            reply_to: new.reply_to,
            attachments: new.attachments,
            mentions,
            expires_in: new.expires_in,
            forward_of: new.forward_of,
        };
        Ok(MessageDraft { message })
    }

    /// Validates the text of a message.
    pub(super) fn check_body(&self, body: &str) -> Result<(), ChatError> {
        let max_bytes = self.config.max_body_bytes;
        let valid = (1..=max_bytes).contains(&body.len()) && !body.contains('\0');
        if valid { Ok(()) } else { Err(ChatError::InvalidBody(max_bytes)) }
    }

    /// Stores drafts of one conversation in the given order, in one transaction. They are committed
    /// when this returns. The first value is the version of the member list.
    ///
    /// # Errors
    /// A database error for all drafts. Nothing was stored, or with `store/timeout` it is unknown;
    /// the same drafts may be sent again.
    pub async fn append(
        &self,
        conversation: ConversationId,
        drafts: Vec<MessageDraft>,
    ) -> Result<(i64, Vec<Result<SendMessageOutcome, ChatError>>), ChatError> {
        let rows = drafts.into_iter().map(|draft| draft.message).collect();
        let appended = self.store.append_messages(conversation, rows, self.clock.now()).await?;
        let mut attachments = appended.attachments;
        let results = appended.results.into_iter().map(|result| match result {
            AppendOutcome::Stored(row) => {
                let withheld = row.withheld_from;
                Ok(SendMessageOutcome::Stored(
                    views::message_with_attachments(row, &mut attachments),
                    withheld,
                ))
            }
            AppendOutcome::Duplicate(row) => Ok(SendMessageOutcome::Duplicate(
                views::message_with_attachments(row, &mut attachments),
            )),
            AppendOutcome::NotAMember => Err(ChatError::ConversationNotFound),
            AppendOutcome::Blocked => Err(ChatError::RecipientNotReachable),
            AppendOutcome::NotAllowed => Err(ChatError::NotAllowed),
            AppendOutcome::ReplyTargetNotFound => Err(ChatError::ReplyTargetNotFound),
            AppendOutcome::AttachmentNotFound => Err(ChatError::AttachmentNotFound),
            AppendOutcome::MentionNotFound => Err(ChatError::MentionNotFound),
            AppendOutcome::ForwardNotFound => Err(ChatError::ForwardSourceNotFound),
        });
        Ok((appended.roster, results.collect()))
    }

    /// Members of a conversation with their delivery settings.
    ///
    /// # Errors
    /// A database error.
    pub async fn recipients(
        &self,
        conversation: ConversationId,
    ) -> Result<store::RecipientSet, ChatError> {
        Ok(self.store.recipient_set(conversation).await?)
    }

    /// A page of messages visible to the user, ascending by `seq`.
    ///
    /// # Errors
    /// [`ChatError::AmbiguousRange`], [`ChatError::ConversationNotFound`], or a database error.
    pub async fn messages(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        query: &wire::MessagesQuery,
    ) -> Result<Paginated<wire::MessageView>, ChatError> {
        let limit = query.limit.map_or(50, |n| n.clamp(1, 200)) as usize;
        let range = match (query.after, query.before) {
            (Some(_), Some(_)) => return Err(ChatError::AmbiguousRange),
            (Some(seq), None) => MessageRange::After(seq),
            (None, Some(seq)) => MessageRange::Before(seq),
            (None, None) => MessageRange::Latest,
        };
        self.page(viewer, conversation, range, limit).await
    }

    /// A page of messages to deliver to a user's devices, after `after`.
    ///
    /// # Errors
    /// [`ChatError::ConversationNotFound`], or a database error.
    pub async fn undelivered(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        after: i64,
        limit: usize,
    ) -> Result<Paginated<wire::MessageView>, ChatError> {
        self.page(viewer, conversation, MessageRange::Since(after), limit).await
    }

    async fn page(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        range: MessageRange,
        limit: usize,
    ) -> Result<Paginated<wire::MessageView>, ChatError> {
        let now = self.clock.now();
        let found = self.store.messages(conversation, viewer, range, limit + 1, now).await?;
        let mut rows = found.ok_or(ChatError::ConversationNotFound)?;
        let more = rows.len() > limit;
        // The extra row only shows that there is another page; it is at the far end of this page.
        let extra = match range {
            MessageRange::After(_) | MessageRange::Since(_) => rows.len().saturating_sub(1),
            MessageRange::Before(_) | MessageRange::Latest => 0,
        };
        if more {
            rows.remove(extra);
        }
        let last_on_page = match range {
            MessageRange::After(_) | MessageRange::Since(_) => rows.last(),
            MessageRange::Before(_) | MessageRange::Latest => rows.first(),
        };
        let next = last_on_page.filter(|_| more).map(|row| row.message.seq.to_string());
        Ok(Paginated { items: rows.into_iter().map(views::shown).collect(), next })
    }

    /// Stores up to which message a device has received or a user has read.
    ///
    /// # Errors
    /// [`ChatError::InvalidSeq`], [`ChatError::ConversationNotFound`], or a database error.
    pub async fn set_receipt(
        &self,
        user: UserId,
        conversation: ConversationId,
        receipt: ReceiptKind,
        seq: i64,
    ) -> Result<WithEvents<server::EmptyReply>, ChatError> {
        if seq < 0 {
            return Err(ChatError::InvalidSeq);
        }
        match self.store.advance_receipt(conversation, user, receipt, seq, self.clock.now()).await?
        {
            ReceiptOutcome::NotAMember => Err(ChatError::ConversationNotFound),
            ReceiptOutcome::Unchanged => Ok(WithEvents::without_events(server::EmptyReply {})),
            ReceiptOutcome::Moved { delivered_seq, read_seq } => {
                let recipients = self.store.recipients(conversation, user).await?;
                let mut to = recipients.unwrap_or_default(); // empty if the user left meanwhile
                if to.len() >= MAX_MEMBERS_FOR_RECEIPT_EVENTS {
                    to.clear();
                }
                to.push(user); // their own other devices
                let receipt = server::ReceiptEvent {
                    conversation_id: conversation,
                    user_id: user,
                    delivered_seq,
                    read_seq,
                };
                Ok(WithEvents::with_event(server::EmptyReply {}, to, ServerEvent::Receipt(receipt)))
            }
        }
    }

    /// Notifies other members that the user is typing, except those who block the user or are
    /// blocked.
    ///
    /// # Errors
    /// [`ChatError::ConversationNotFound`], or a database error.
    pub async fn typing(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<WithEvents<server::EmptyReply>, ChatError> {
        let to = self.store.recipients(conversation, user).await?;
        let to = to.ok_or(ChatError::ConversationNotFound)?;
        let typing = server::TypingEvent { conversation_id: conversation, user_id: user };
        Ok(WithEvents::with_event(server::EmptyReply {}, to, ServerEvent::Typing(typing)))
    }
}
