//! Changes of messages: edits, reactions, pins, deletions and expiry.

use base::ids::{ConversationId, MessageId, UserId};
use store::{MessageActionLimits, MessageActionOutcome, RevisedMessage};
use unicode_segmentation::UnicodeSegmentation;

use super::messages::normalize_mentions;
use super::{ChatError, ChatService, views};
use crate::domain::DirectedEvent;
use crate::limits::{
    MAX_EDITS_PER_MESSAGE, MAX_EXPIRED_PER_BATCH, MAX_PINS_PER_CONVERSATION,
    MAX_REACTION_EMOJI_PER_MESSAGE, MAX_REACTIONS_PER_USER_AND_MESSAGE,
};
use crate::protocol::Paginated;
use crate::protocol::messages::{self as wire, DeleteScope};
use crate::protocol::server::ServerEvent;

/// A validated change of a message, not yet executed by the chat shard.
#[derive(Clone, Debug)]
pub struct ChangeMessageRequest(store::MessageActionRequest);

/// Result of a [`ChangeMessageRequest`].
#[derive(Clone, Debug)]
pub struct ChangeMessageOutcome {
    /// The message in its current state.
    pub message: wire::MessageView,
    /// The change to publish, if anything changed.
    pub change: Option<MessageChange>,
}

/// A change of a message with its revision number.
#[derive(Clone, Debug)]
pub struct MessageChange {
    /// Version of the conversation's member list at that moment.
    pub members_version: i64,
    /// The event to publish; contains the revision number.
    pub event: ServerEvent,
    /// If set, only this user receives the event; other members skip the revision number.
    pub only: Option<UserId>,
    /// Members who must not receive the event.
    pub except: Vec<UserId>,
}

impl ChatService {
    /// Validates an edit of the user's own message.
    ///
    /// # Errors
    /// Validation errors.
    pub fn edit(
        &self,
        by: UserId,
        message: MessageId,
        new: wire::PatchMessage,
    ) -> Result<ChangeMessageRequest, ChatError> {
        self.check_body(&new.body)?;
        let mentions = new.mentions.map(normalize_mentions).transpose()?;
        let action = store::MessageAction::Edit { body: new.body, mentions };
        Ok(ChangeMessageRequest(store::MessageActionRequest { by, message, action }))
    }

    /// Validates adding (`on`) or removing a reaction.
    ///
    /// # Errors
    /// [`ChatError::InvalidReaction`].
    pub fn react(
        &self,
        by: UserId,
        message: MessageId,
        emoji: &str,
        on: bool,
    ) -> Result<ChangeMessageRequest, ChatError> {
        if !is_emoji(emoji) {
            return Err(ChatError::InvalidReaction);
        }
        let emoji = emoji.to_owned();
        let action = if on {
            store::MessageAction::React(emoji)
        } else {
            store::MessageAction::Unreact(emoji)
        };
        Ok(ChangeMessageRequest(store::MessageActionRequest { by, message, action }))
    }

    /// Creates a request to pin (`on`) or unpin a message.
    pub fn pin(&self, by: UserId, message: MessageId, on: bool) -> ChangeMessageRequest {
        let action = if on { store::MessageAction::Pin } else { store::MessageAction::Unpin };
        ChangeMessageRequest(store::MessageActionRequest { by, message, action })
    }

    /// Creates a request to delete a message for the user or for all members.
    pub fn delete(
        &self,
        by: UserId,
        message: MessageId,
        scope: DeleteScope,
    ) -> ChangeMessageRequest {
        let action = match scope {
            DeleteScope::Me => store::MessageAction::Hide,
            DeleteScope::All => store::MessageAction::Delete,
        };
        ChangeMessageRequest(store::MessageActionRequest { by, message, action })
    }

    /// Executes a change. It is committed when this returns.
    ///
    /// # Errors
    /// Permission and limit errors, or a database error.
    pub async fn change_message(
        &self,
        conversation: ConversationId,
        request: ChangeMessageRequest,
    ) -> Result<ChangeMessageOutcome, ChatError> {
        let ChangeMessageRequest(action_request) = request;
        let (by, action) = (action_request.by, action_request.action.clone());
        let limits = MessageActionLimits {
            edit_window: self.config.edit_window(),
            delete_window: self.config.delete_window(),
            max_emoji: MAX_REACTION_EMOJI_PER_MESSAGE,
            max_emoji_per_user: MAX_REACTIONS_PER_USER_AND_MESSAGE,
            max_pins: MAX_PINS_PER_CONVERSATION,
            max_edits: MAX_EDITS_PER_MESSAGE,
        };
        let now = self.clock.now();
        match self.store.apply_message_action(conversation, action_request, limits, now).await? {
            MessageActionOutcome::Done {
                roster,
                revision,
                current: shown,
                hidden_from: except,
            } => {
                let only = matches!(action, store::MessageAction::Hide).then_some(by);
                let message = views::shown(shown);
                let event = change_event(&message, by, action, revision);
                let change = Some(MessageChange { members_version: roster, event, only, except });
                Ok(ChangeMessageOutcome { message, change })
            }
            MessageActionOutcome::Unchanged(shown) => {
                Ok(ChangeMessageOutcome { message: views::shown(shown), change: None })
            }
            MessageActionOutcome::NotAMember => Err(ChatError::ConversationNotFound),
            MessageActionOutcome::NotFound => Err(ChatError::MessageNotFound),
            MessageActionOutcome::NotAllowed => Err(ChatError::NotAllowed),
            MessageActionOutcome::Blocked => Err(ChatError::RecipientNotReachable),
            MessageActionOutcome::TooLate => Err(ChatError::ChangeWindowExpired),
            MessageActionOutcome::EditLimitReached => Err(ChatError::EditLimitReached),
            MessageActionOutcome::ReactionLimitReached => Err(ChatError::ReactionLimitReached),
            MessageActionOutcome::EmojiLimitReached => Err(ChatError::EmojiLimitReached),
            MessageActionOutcome::PinLimitReached => Err(ChatError::PinLimitReached),
            MessageActionOutcome::MentionNotFound => Err(ChatError::MentionNotFound),
        }
    }

    /// A page of changes after the revision `after`, as events with their revision numbers, and
    /// whether there may be more.
    ///
    /// # Errors
    /// [`ChatError::ConversationNotFound`], or a database error.
    pub async fn changes(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        after: i64,
        limit: usize,
    ) -> Result<(Vec<(i64, ServerEvent)>, bool), ChatError> {
        let now = self.clock.now();
        let found = self.store.message_changes(conversation, viewer, after, limit, now).await?;
        let rows = found.ok_or(ChatError::ConversationNotFound)?;
        let more = rows.len() == limit;
        let event = |row: RevisedMessage| {
            let revision = row.revision();
            let event = match row {
                RevisedMessage::Message(shown) if shown.message.deleted_at.is_some() => {
                    deleted_event(&views::shown(*shown), revision, DeleteScope::All)
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

    /// Returns one message if the user can see it.
    ///
    /// # Errors
    /// [`ChatError::MessageNotFound`], or a database error.
    pub async fn message(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<wire::MessageView, ChatError> {
        let found = self.store.message(conversation, viewer, message, self.clock.now()).await?;
        found.map(views::shown).ok_or(ChatError::MessageNotFound)
    }

    /// Earlier texts of a message, oldest first.
    ///
    /// # Errors
    /// [`ChatError::MessageNotFound`], or a database error.
    pub async fn edits(
        &self,
        viewer: UserId,
        conversation: ConversationId,
        message: MessageId,
    ) -> Result<Paginated<wire::MessageRevision>, ChatError> {
        let now = self.clock.now();
        let found = self.store.message_edits(conversation, viewer, message, now).await?;
        let rows = found.ok_or(ChatError::MessageNotFound)?;
        let edit = |row: store::MessageEditRow| wire::MessageRevision {
            body: row.body,
            edited_at: row.edited_at,
        };
        Ok(Paginated { items: rows.into_iter().map(edit).collect(), next: None })
    }

    /// Pinned messages, most recently pinned first.
    ///
    /// # Errors
    /// [`ChatError::ConversationNotFound`], or a database error.
    pub async fn pins(
        &self,
        viewer: UserId,
        conversation: ConversationId,
    ) -> Result<Paginated<wire::MessageView>, ChatError> {
        let found = self.store.pinned_messages(conversation, viewer, self.clock.now()).await?;
        let rows = found.ok_or(ChatError::ConversationNotFound)?;
        Ok(Paginated { items: rows.into_iter().map(views::shown).collect(), next: None })
    }

    /// Removes a batch of expired messages. Returns their number and the events to publish. Call it
    /// again until the number is 0.
    ///
    /// # Errors
    /// A database error.
    pub async fn expire(&self) -> Result<(usize, Vec<DirectedEvent>), ChatError> {
        let expired = self.store.expire_messages(MAX_EXPIRED_PER_BATCH, self.clock.now()).await?;
        let deletion = |(row, to): (store::MessageRow, Vec<UserId>)| {
            let revision = row.revision;
            DirectedEvent {
                to,
                event: deleted_event(&views::message(row), revision, DeleteScope::All),
            }
        };
        Ok((expired.len(), expired.into_iter().map(deletion).collect()))
    }
}

/// Event that announces a change.
fn change_event(
    message: &wire::MessageView,
    by: UserId,
    action: store::MessageAction,
    revision: i64,
) -> ServerEvent {
    match action {
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
                added: matches!(action, store::MessageAction::React(_)),
            })
        }
        store::MessageAction::Delete => deleted_event(message, revision, DeleteScope::All),
        store::MessageAction::Hide => deleted_event(message, revision, DeleteScope::Me),
    }
}

fn deleted_event(message: &wire::MessageView, revision: i64, r#for: DeleteScope) -> ServerEvent {
    ServerEvent::MessageDeleted(wire::MessageDeleted {
        conversation_id: message.conversation_id,
        message_id: message.id,
        seq: message.seq,
        revision,
        r#for,
    })
}

/// Whether the text is exactly one emoji: one grapheme cluster (UAX #29) with a character from the
/// symbol and emoji blocks, or with the emoji selector U+FE0F or the keycap U+20E3 (UTS #51).
fn is_emoji(text: &str) -> bool {
    let single = text.graphemes(true).take(2).count() == 1 && text.len() <= 64;
    let is_emoji_char = |c: char| matches!(c, '\u{fe0f}' | '\u{20e3}' | '\u{2190}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}');
    single && text.chars().any(is_emoji_char) && !text.chars().any(char::is_control)
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
