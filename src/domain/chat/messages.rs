//! What is said: drafts, their place in the order, and how far people have come in reading it.

use base::ids::{ConversationId, MessageId, UserId};
use store::{AppendOutcome, MessageRange, NewMessageRow, ReceiptKind, ReceiptOutcome};

use super::{ChatError, ChatService, views};
use crate::domain::WithEvents;
use crate::protocol::Paginated;
use crate::protocol::messages as wire;
use crate::protocol::server::{self, ServerEvent};

/// In larger conversations receipts are kept and shown on request, not announced: what everybody
/// tells everybody grows with the square of their number.
const MAX_MEMBERS_FOR_RECEIPT_EVENTS: usize = 64;

/// The longest time after which a message disappears: a year, in seconds.
pub(super) const MAX_EXPIRY_SECONDS: i64 = 31_536_000;
/// How many people one message mentions at most.
const MAX_MENTIONS: usize = 50;

/// Who is mentioned, each once.
pub(super) fn people(mut mentions: Vec<UserId>) -> Result<Vec<UserId>, ChatError> {
    mentions.sort_unstable();
    mentions.dedup();
    if mentions.len() > MAX_MENTIONS { Err(ChatError::BadMentions) } else { Ok(mentions) }
}

/// Something to be said, checked but not yet in order.
#[derive(Clone, Debug)]
pub struct MessageDraft {
    message: NewMessageRow,
}

/// What became of a draft.
#[derive(Clone, Debug)]
pub enum SendMessageOutcome {
    /// It has its place in the order now; one of two may block its sender, and never sees it.
    New(wire::MessageView, Option<UserId>),
    /// It had it already.
    Before(wire::MessageView),
}

impl SendMessageOutcome {
    /// The message, new or not.
    pub fn into_message(self) -> wire::MessageView {
        match self {
            Self::New(message, _) | Self::Before(message) => message,
        }
    }
}

impl ChatService {
    /// Checks what can be checked without the database.
    ///
    /// # Errors
    /// [`ChatError::BadBody`], [`ChatError::BadClientId`] and other errors of what was sent.
    pub fn draft(&self, sender: UserId, new: wire::PostMessage) -> Result<MessageDraft, ChatError> {
        match new.forward_of {
            Some(_) if !new.body.is_empty() || !new.attachments.is_empty() => {
                return Err(ChatError::BadForward);
            }
            Some(_) => {}
            None if new.body.is_empty() && !new.attachments.is_empty() => {}
            None => self.check_body(&new.body)?,
        }
        let mentions = people(new.mentions)?;
        if new.expires_in.is_some_and(|seconds| !(1..=MAX_EXPIRY_SECONDS).contains(&seconds)) {
            return Err(ChatError::BadExpiry);
        }
        let id = &new.client_id;
        if !(1..=64).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ChatError::BadClientId);
        }
        let most = self.config.max_attachments;
        if new.attachments.len() > most {
            return Err(ChatError::TooManyAttachments(most));
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

    /// Whether a text can be said.
    pub(super) fn check_body(&self, body: &str) -> Result<(), ChatError> {
        let most = self.config.max_body_bytes;
        let fits = (1..=most).contains(&body.len()) && !body.contains('\0');
        if fits { Ok(()) } else { Err(ChatError::BadBody(most)) }
    }

    /// Stores drafts of one conversation in the order given, in one transaction: when it answers,
    /// they are committed. The first value is the roster's number, which changes with membership.
    ///
    /// # Errors
    /// The database's, for all of them: nothing was stored, or (`store/timeout`) it is unknown,
    /// and the same drafts may be sent again.
    pub async fn append(
        &self,
        conversation: ConversationId,
        drafts: Vec<MessageDraft>,
    ) -> Result<(i64, Vec<Result<SendMessageOutcome, ChatError>>), ChatError> {
        let rows = drafts.into_iter().map(|draft| draft.message).collect();
        let done = self.store.append_messages(conversation, rows, self.clock.now()).await?;
        let mut files = done.attachments;
        let results = done.results.into_iter().map(|result| match result {
            AppendOutcome::Stored(row) => {
                let withheld = row.withheld_from;
                Ok(SendMessageOutcome::New(views::carrying(row, &mut files), withheld))
            }
            AppendOutcome::Duplicate(row) => {
                Ok(SendMessageOutcome::Before(views::carrying(row, &mut files)))
            }
            AppendOutcome::NotAMember => Err(ChatError::NoSuchConversation),
            AppendOutcome::Blocked => Err(ChatError::NotReachable),
            AppendOutcome::NotAllowed => Err(ChatError::NotAllowed),
            AppendOutcome::ReplyTargetNotFound => Err(ChatError::NoSuchReply),
            AppendOutcome::AttachmentNotFound => Err(ChatError::NoSuchAttachment),
            AppendOutcome::MentionNotFound => Err(ChatError::NoSuchMention),
            AppendOutcome::ForwardNotFound => Err(ChatError::NoSuchForward),
        });
        Ok((done.roster, results.collect()))
    }

    /// Everybody in a conversation.
    ///
    /// # Errors
    /// The database's.
    pub async fn audience(
        &self,
        conversation: ConversationId,
    ) -> Result<store::RecipientSet, ChatError> {
        Ok(self.store.recipient_set(conversation).await?)
    }

    /// A page of messages, ascending by `seq`, of what the person may see.
    ///
    /// # Errors
    /// [`ChatError::BadRange`], [`ChatError::NoSuchConversation`], or the database's.
    pub async fn messages(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        query: &wire::MessagesQuery,
    ) -> Result<Paginated<wire::MessageView>, ChatError> {
        let limit = query.limit.map_or(50, |n| n.clamp(1, 200)) as usize;
        let range = match (query.after, query.before) {
            (Some(_), Some(_)) => return Err(ChatError::BadRange),
            (Some(seq), None) => MessageRange::After(seq),
            (None, Some(seq)) => MessageRange::Before(seq),
            (None, None) => MessageRange::Latest,
        };
        self.page(viewer, conversation, range, limit).await
    }

    /// A page of what is brought to a person's devices, after a number.
    ///
    /// # Errors
    /// [`ChatError::NoSuchConversation`], or the database's.
    pub async fn missed(
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
        let mut rows = found.ok_or(ChatError::NoSuchConversation)?;
        let more = rows.len() > limit;
        // The surplus row only says that there is more; it lies on the far side of the page.
        let surplus = match range {
            MessageRange::After(_) | MessageRange::Since(_) => rows.len().saturating_sub(1),
            MessageRange::Before(_) | MessageRange::Latest => 0,
        };
        if more {
            rows.remove(surplus);
        }
        let edge = match range {
            MessageRange::After(_) | MessageRange::Since(_) => rows.last(),
            MessageRange::Before(_) | MessageRange::Latest => rows.first(),
        };
        let next = edge.filter(|_| more).map(|row| row.message.seq.to_string());
        Ok(Paginated { items: rows.into_iter().map(views::shown).collect(), next })
    }

    /// Notes how far a device has received or a person has read.
    ///
    /// # Errors
    /// [`ChatError::BadSeq`], [`ChatError::NoSuchConversation`], or the database's.
    pub async fn set_receipt(
        &self,
        user: UserId,
        conversation: ConversationId,
        receipt: ReceiptKind,
        seq: i64,
    ) -> Result<WithEvents<server::EmptyReply>, ChatError> {
        if seq < 0 {
            return Err(ChatError::BadSeq);
        }
        match self.store.advance_receipt(conversation, user, receipt, seq, self.clock.now()).await?
        {
            ReceiptOutcome::NotAMember => Err(ChatError::NoSuchConversation),
            ReceiptOutcome::Unchanged => Ok(WithEvents::without_events(server::EmptyReply {})),
            ReceiptOutcome::Moved { delivered_seq, read_seq } => {
                let hearers = self.store.recipients(conversation, user).await?;
                let mut to = hearers.unwrap_or_default(); // left meanwhile: nobody
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

    /// Tells the others that somebody is writing; not whoever keeps them away, or is kept away.
    ///
    /// # Errors
    /// [`ChatError::NoSuchConversation`], or the database's.
    pub async fn typing(
        &self,
        user: UserId,
        conversation: ConversationId,
    ) -> Result<WithEvents<server::EmptyReply>, ChatError> {
        let to = self.store.recipients(conversation, user).await?;
        let to = to.ok_or(ChatError::NoSuchConversation)?;
        let typing = server::TypingEvent { conversation_id: conversation, user_id: user };
        Ok(WithEvents::with_event(server::EmptyReply {}, to, ServerEvent::Typing(typing)))
    }
}
