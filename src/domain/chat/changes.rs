//! What becomes of messages: edits, reactions, pins, deletions, and the end of their time.

use base::ids::{ConversationId, MessageId, UserId};
use store::{MessageActionLimits, MessageActionOutcome, RevisedMessage};
use unicode_segmentation::UnicodeSegmentation;

use super::messages::people;
use super::{ChatError, ChatService, views};
use crate::domain::DirectedEvent;
use crate::protocol::Paginated;
use crate::protocol::messages::{self as wire, DeleteScope};
use crate::protocol::server::ServerEvent;

/// How many different emoji a message may have, and how many of them one person may give.
const MAX_REACTIONS: (i64, i64) = (20, 5);
/// How many messages of a conversation may be pinned.
const MAX_PINS: i64 = 50;
/// How often a message may be edited.
const MAX_EDITS: i64 = 100;
/// How many messages are removed by one transaction when their time is over.
const EXPIRED: usize = 200;

/// Something to be done to a message, checked but not yet in order.
#[derive(Clone, Debug)]
pub struct ChangeMessageRequest(store::MessageActionRequest);

/// What became of a wish.
#[derive(Clone, Debug)]
pub struct ChangeMessageOutcome {
    /// The message now.
    pub message: wire::MessageView,
    /// What others should hear, if anything changed.
    pub change: Option<MessageChange>,
}

/// A change of a message, with its place in the order of changes.
#[derive(Clone, Debug)]
pub struct MessageChange {
    /// The conversation's roster at that moment.
    pub roster: i64,
    /// What happened; it has its number in it.
    pub event: ServerEvent,
    /// The only one who hears of it; the others only that this number is not for them.
    pub only: Option<UserId>,
    /// Those who may not hear of it.
    pub except: Vec<UserId>,
}

impl ChatService {
    /// Wishes that a message of one's own says something else.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn edit(
        &self,
        by: UserId,
        message: MessageId,
        new: wire::PatchMessage,
    ) -> Result<ChangeMessageRequest, ChatError> {
        self.check_body(&new.body)?;
        let mentions = new.mentions.map(people).transpose()?;
        let deed = store::MessageAction::Edit { body: new.body, mentions };
        Ok(ChangeMessageRequest(store::MessageActionRequest { by, message, action: deed }))
    }

    /// Wishes to react with an emoji, or to take that back.
    ///
    /// # Errors
    /// [`ChatError::BadReaction`].
    pub fn react(
        &self,
        by: UserId,
        message: MessageId,
        emoji: &str,
        on: bool,
    ) -> Result<ChangeMessageRequest, ChatError> {
        if !is_emoji(emoji) {
            return Err(ChatError::BadReaction);
        }
        let emoji = emoji.to_owned();
        let deed = if on {
            store::MessageAction::React(emoji)
        } else {
            store::MessageAction::Unreact(emoji)
        };
        Ok(ChangeMessageRequest(store::MessageActionRequest { by, message, action: deed }))
    }

    /// Wishes that a message is pinned, or no longer.
    pub fn pin(&self, by: UserId, message: MessageId, on: bool) -> ChangeMessageRequest {
        let deed = if on { store::MessageAction::Pin } else { store::MessageAction::Unpin };
        ChangeMessageRequest(store::MessageActionRequest { by, message, action: deed })
    }

    /// Wishes that a message goes.
    pub fn delete(
        &self,
        by: UserId,
        message: MessageId,
        whose: DeleteScope,
    ) -> ChangeMessageRequest {
        let deed = match whose {
            DeleteScope::Me => store::MessageAction::Hide,
            DeleteScope::All => store::MessageAction::Delete,
        };
        ChangeMessageRequest(store::MessageActionRequest { by, message, action: deed })
    }

    /// Does it: when it answers, it is committed.
    ///
    /// # Errors
    /// What the rules say, or the database's.
    pub async fn alter(
        &self,
        conversation: ConversationId,
        wish: ChangeMessageRequest,
    ) -> Result<ChangeMessageOutcome, ChatError> {
        let ChangeMessageRequest(doing) = wish;
        let (by, deed) = (doing.by, doing.action.clone());
        let limits = MessageActionLimits {
            edit_window: self.config.edit_window(),
            delete_window: self.config.delete_window(),
            max_emoji: MAX_REACTIONS.0,
            max_emoji_per_user: MAX_REACTIONS.1,
            max_pins: MAX_PINS,
            max_edits: MAX_EDITS,
        };
        let now = self.clock.now();
        match self.store.apply_message_action(conversation, doing, limits, now).await? {
            MessageActionOutcome::Done {
                roster,
                revision,
                current: shown,
                hidden_from: except,
            } => {
                let only = matches!(deed, store::MessageAction::Hide).then_some(by);
                let message = views::shown(shown);
                let event = news(&message, by, deed, revision);
                let change = Some(MessageChange { roster, event, only, except });
                Ok(ChangeMessageOutcome { message, change })
            }
            MessageActionOutcome::Unchanged(shown) => {
                Ok(ChangeMessageOutcome { message: views::shown(shown), change: None })
            }
            MessageActionOutcome::NotAMember => Err(ChatError::NoSuchConversation),
            MessageActionOutcome::NotFound => Err(ChatError::NoSuchMessage),
            MessageActionOutcome::NotAllowed => Err(ChatError::NotAllowed),
            MessageActionOutcome::Blocked => Err(ChatError::NotReachable),
            MessageActionOutcome::TooLate => Err(ChatError::TooLate),
            MessageActionOutcome::LimitReached => Err(ChatError::TooMany),
            MessageActionOutcome::MentionNotFound => Err(ChatError::NoSuchMention),
        }
    }

    /// A page of changes that a person has missed, as events with their numbers, and whether there
    /// may be more.
    ///
    /// # Errors
    /// [`ChatError::NoSuchConversation`], or the database's.
    pub async fn changes(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        after: i64,
        limit: usize,
    ) -> Result<(Vec<(i64, ServerEvent)>, bool), ChatError> {
        let now = self.clock.now();
        let found = self.store.message_changes(conversation, viewer, after, limit, now).await?;
        let rows = found.ok_or(ChatError::NoSuchConversation)?;
        let more = rows.len() == limit;
        let event = |row: RevisedMessage| {
            let revision = row.revision();
            let event = match row {
                RevisedMessage::Message(shown) if shown.message.deleted_at.is_some() => {
                    gone(&views::shown(*shown), revision, DeleteScope::All)
                }
                RevisedMessage::Message(shown) => ServerEvent::MessageEdited(views::shown(*shown)),
                RevisedMessage::Hidden { message, seq, .. } => {
                    ServerEvent::MessageDeleted(wire::MessageDeleted {
                        conversation_id: conversation,
                        message_id: message,
                        seq,
                        revision,
                        r#for: DeleteScope::Me,
                    })
                }
            };
            (revision, event)
        };
        Ok((rows.into_iter().map(event).collect(), more))
    }

    /// One message, if the person may see it.
    ///
    /// # Errors
    /// [`ChatError::NoSuchMessage`], or the database's.
    pub async fn message(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<wire::MessageView, ChatError> {
        let found = self.store.message(conversation, viewer, message, self.clock.now()).await?;
        found.map(views::shown).ok_or(ChatError::NoSuchMessage)
    }

    /// What a message said before, the oldest first.
    ///
    /// # Errors
    /// [`ChatError::NoSuchMessage`], or the database's.
    pub async fn edits(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Paginated<wire::MessageRevision>, ChatError> {
        let now = self.clock.now();
        let found = self.store.message_edits(conversation, viewer, message, now).await?;
        let rows = found.ok_or(ChatError::NoSuchMessage)?;
        let edit = |row: store::MessageEditRow| wire::MessageRevision {
            body: row.body,
            edited_at: row.edited_at,
        };
        Ok(Paginated { items: rows.into_iter().map(edit).collect(), next: None })
    }

    /// What is pinned, the newest first.
    ///
    /// # Errors
    /// [`ChatError::NoSuchConversation`], or the database's.
    pub async fn pins(
        &self,
        viewer: UserId,
        conversation: ConversationId,
    ) -> Result<Paginated<wire::MessageView>, ChatError> {
        let found = self.store.pinned_messages(conversation, viewer, self.clock.now()).await?;
        let rows = found.ok_or(ChatError::NoSuchConversation)?;
        Ok(Paginated { items: rows.into_iter().map(views::shown).collect(), next: None })
    }

    /// Removes messages whose time is over, and tells how many there were; others should hear the
    /// news. There may be more until it is none.
    ///
    /// # Errors
    /// The database's.
    pub async fn expire(&self) -> Result<(usize, Vec<DirectedEvent>), ChatError> {
        let expired = self.store.expire_messages(EXPIRED, self.clock.now()).await?;
        let news = |(row, to): (store::MessageRow, Vec<UserId>)| {
            let revision = row.revision;
            DirectedEvent { to, event: gone(&views::message(row), revision, DeleteScope::All) }
        };
        Ok((expired.len(), expired.into_iter().map(news).collect()))
    }
}

/// What is told of a change.
fn news(
    message: &wire::MessageView,
    by: UserId,
    deed: store::MessageAction,
    revision: i64,
) -> ServerEvent {
    match deed {
        store::MessageAction::Edit { .. }
        | store::MessageAction::Pin
        | store::MessageAction::Unpin => ServerEvent::MessageEdited(message.clone()),
        store::MessageAction::React(ref emoji) | store::MessageAction::Unreact(ref emoji) => {
            ServerEvent::Reaction(wire::Reaction {
                conversation_id: message.conversation_id,
                message_id: message.id,
                seq: message.seq,
                revision,
                user_id: by,
                emoji: emoji.clone(),
                added: matches!(deed, store::MessageAction::React(_)),
            })
        }
        store::MessageAction::Delete => gone(message, revision, DeleteScope::All),
        store::MessageAction::Hide => gone(message, revision, DeleteScope::Me),
    }
}

fn gone(message: &wire::MessageView, revision: i64, r#for: DeleteScope) -> ServerEvent {
    ServerEvent::MessageDeleted(wire::MessageDeleted {
        conversation_id: message.conversation_id,
        message_id: message.id,
        seq: message.seq,
        revision,
        r#for,
    })
}

/// Whether a text is one emoji: one grapheme cluster (UAX #29) that looks like a picture (UTS #51):
/// from the blocks of symbols, or made one by the selector U+FE0F or the keycap U+20E3.
fn is_emoji(text: &str) -> bool {
    let one = text.graphemes(true).take(2).count() == 1 && text.len() <= 64;
    let picture = |letter: char| matches!(letter, '\u{fe0f}' | '\u{20e3}' | '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}');
    one && text.chars().any(picture) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::is_emoji;

    #[test]
    fn reaction_must_be_single_emoji() {
        for emoji in ["👍", "👍🏽", "❤️", "👨‍👩‍👧‍👦", "🇩🇪", "1️⃣", "☃", "👩🏽‍❤️‍💋‍👨🏿", "ℹ️"]
        {
            assert!(is_emoji(emoji), "{emoji}");
        }
        for text in ["", "a", "👍👍", "👍 ", "1", "ab", "\u{fe0f}\n", "é", "中", "\u{202e}"]
        {
            assert!(!is_emoji(text), "{text:?}");
        }
    }
}
