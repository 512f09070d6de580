//! Conversations: members, messages, order, receipts.

mod changes;
mod error;
mod invites;
mod messages;
mod search;
mod views;

use std::sync::Arc;
use std::time::Duration;

use base::clock::Clock;
use base::ids::{ConversationId, UserId};
use base::page::Page;
use base::random::RandomSource;
pub use changes::{ChangeMessageOutcome, ChangeMessageRequest, MessageChange};
pub use error::ChatError;
pub use messages::{MessageDraft, SendMessageOutcome};
use store::{
    ConversationChangeOutcome, ConversationPosition, GroupSettingsPatch, InvitationRule,
    MemberSettingsPatch, NewConversationRow, OpenDirect, OpenGroup, Store,
};
pub(super) use views::message as message_view;

use super::{DirectedEvent, WithEvents};
use crate::config;
use crate::domain::identity::Principal;
use crate::protocol::chat as wire;
use crate::protocol::server::{MemberLeft, ServerEvent};

/// Chat service; cheap to clone.
#[derive(Clone)]
pub struct ChatService {
    store: Store,
    clock: Clock,
    entropy: RandomSource,
    config: Arc<config::ChatConfig>,
}

/// A conversation that was created or existed before.
#[derive(Debug)]
pub struct OpenConversationOutcome {
    pub conversation: wire::ConversationDetail,
    /// Whether the conversation is new.
    pub created: bool,
}

impl ChatService {
    /// Creates the service from its dependencies.
    pub fn new(
        store: Store,
        clock: Clock,
        entropy: RandomSource,
        config: config::ChatConfig,
    ) -> Self {
        Self { store, clock, entropy, config: Arc::new(config) }
    }

    /// Creates a conversation. An existing direct conversation is returned.
    ///
    /// # Errors
    /// Validation errors, [`ChatError::RecipientNotReachable`], or a database error.
    pub async fn open(
        &self,
        principal: &Principal,
        new: wire::CreateConversation,
    ) -> Result<WithEvents<OpenConversationOutcome>, ChatError> {
        if new.encryption == wire::Encryption::None && !self.config.allow_unencrypted {
            return Err(ChatError::PlaintextForbidden);
        }
        let row = NewConversationRow {
            id: ConversationId::new(),
            kind: views::kind_row(new.kind),
            title: new.title.as_deref().map(parse_title).transpose()?,
            encryption: views::encryption_row(new.encryption),
            created_by: principal.user,
        };
        if new.kind == wire::ConversationKind::Direct {
            return self.open_direct(principal, row, &new.members).await;
        }
        let conversation = views::conversation(self.open_group(principal, row, new.members).await?);
        let events = conversation_events(&conversation);
        Ok(WithEvents { reply: OpenConversationOutcome { conversation, created: true }, events })
    }

    async fn open_direct(
        &self,
        principal: &Principal,
        row: NewConversationRow,
        members: &[UserId],
    ) -> Result<WithEvents<OpenConversationOutcome>, ChatError> {
        let mut others = members.iter().filter(|id| **id != principal.user);
        let (Some(other), None, None) = (others.next(), others.next(), &row.title) else {
            return Err(ChatError::InvalidDirect);
        };
        let rule = invitation_rule(self.config.direct_conversations_from);
        let (view, recipients) =
            match self.store.open_direct(row, *other, rule, self.clock.now()).await? {
                OpenDirect::Created(view) => (view, vec![principal.user, *other]),
                OpenDirect::ShadowBlocked(view) => (view, vec![principal.user]),
                OpenDirect::Existing(view) => (view, Vec::new()),
                OpenDirect::NotAllowed => return Err(ChatError::RecipientNotReachable),
                OpenDirect::UserNotFound => return Err(ChatError::UserNotFound),
            };
        let (conversation, created) = (views::conversation(view), !recipients.is_empty());
        let event = ServerEvent::Conversation(conversation.clone());
        let events =
            if created { vec![DirectedEvent { to: recipients, event }] } else { Vec::new() };
        Ok(WithEvents { reply: OpenConversationOutcome { conversation, created }, events })
    }

    async fn open_group(
        &self,
        principal: &Principal,
        row: NewConversationRow,
        mut members: Vec<UserId>,
    ) -> Result<store::ConversationWithMembers, ChatError> {
        members.retain(|id| *id != principal.user);
        members.sort_unstable();
        members.dedup();
        if members.len() >= self.config.max_members {
            return Err(ChatError::MemberLimitReached(self.config.max_members));
        }
        let rule = invitation_rule(self.config.group_adds_from);
        match self.store.open_group(row, members, rule, self.clock.now()).await? {
            OpenGroup::Created(view) => Ok(view),
            OpenGroup::NotAllowed => Err(ChatError::RecipientNotReachable),
            OpenGroup::UserNotFound => Err(ChatError::UserNotFound),
        }
    }

    /// A page of the user's conversations.
    ///
    /// # Errors
    /// A database error.
    pub async fn list(
        &self,
        caller: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Page<wire::ConversationSummary>, ChatError> {
        let rows =
            self.store.user_conversations(caller, after, limit + 1, self.clock.now()).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.conversation.id.to_string())
            .map(views::summary))
    }

    /// Returns a conversation if the caller is a member.
    ///
    /// # Errors
    /// [`ChatError::ConversationNotFound`], or a database error.
    pub async fn get(
        &self,
        principal: &Principal,
        id: ConversationId,
    ) -> Result<wire::ConversationDetail, ChatError> {
        let found = self.store.conversation(id, principal.user).await?;
        found.map(views::conversation).ok_or(ChatError::ConversationNotFound)
    }

    /// Changes the settings of a group.
    ///
    /// # Errors
    /// Validation errors, [`ChatError::NotAllowed`], or a database error.
    pub async fn change(
        &self,
        principal: &Principal,
        id: ConversationId,
        change: wire::PatchConversation,
    ) -> Result<WithEvents<wire::ConversationDetail>, ChatError> {
        let expires_in = match change.expires_in {
            None => None,
            Some(0) => Some(None),
            Some(seconds) if (1..=crate::limits::MAX_MESSAGE_EXPIRY_SECONDS).contains(&seconds) => {
                Some(Some(seconds))
            }
            Some(_) => return Err(ChatError::InvalidExpiry),
        };
        let settings = GroupSettingsPatch {
            title: change.title.as_deref().map(parse_title).transpose()?,
            expires_in,
            history: change.history.map(views::history_row),
            who_writes: change.who_writes.map(views::circle_row),
            who_adds: change.who_adds.map(views::circle_row),
        };
        if settings == GroupSettingsPatch::default() {
            return Err(ChatError::EmptyPatch);
        }
        let now = self.clock.now();
        match self.store.update_conversation(id, principal.user, settings, now).await? {
            ConversationChangeOutcome::ShadowBlocked(view) => {
                Ok(WithEvents::without_events(views::conversation(view)))
            }
            change => applied(change)
                .map(|(view, system_messages)| with_change_events(view, system_messages)),
        }
    }

    /// Mutes or archives a conversation for the caller.
    ///
    /// # Errors
    /// [`ChatError::InvalidMemberSettings`], [`ChatError::ConversationNotFound`], or a database
    /// error.
    pub async fn update_member_settings(
        &self,
        caller: UserId,
        id: ConversationId,
        patch: wire::PatchMemberSettings,
    ) -> Result<WithEvents<wire::MemberSettings>, ChatError> {
        let now = self.clock.now();
        let muted_until = match patch.mute_seconds {
            None => None,
            Some(0) => Some(None),
            Some(seconds @ 1..=315_360_000) => {
                Some(Some(now + Duration::from_secs(seconds.unsigned_abs())))
            }
            Some(_) => return Err(ChatError::InvalidMemberSettings),
        };
        if muted_until.is_none() && patch.archived.is_none() {
            return Err(ChatError::EmptyPatch);
        }
        let row = MemberSettingsPatch { muted_until, archived: patch.archived };
        let stored = self.store.update_member_settings(id, caller, row, now).await?;
        let stored = stored.ok_or(ChatError::ConversationNotFound)?;
        let stored = wire::MemberSettings {
            id,
            muted_until: stored.muted_until,
            archived_at: stored.archived_at,
        };
        Ok(WithEvents::with_event(stored, vec![caller], ServerEvent::ConversationKept(stored)))
    }

    /// Adds a user to a group, or changes a member's role.
    ///
    /// # Errors
    /// [`ChatError::NotAllowed`], [`ChatError::RecipientNotReachable`], or a database error.
    pub async fn put_member(
        &self,
        principal: &Principal,
        id: ConversationId,
        user: UserId,
        put: wire::PutMember,
    ) -> Result<WithEvents<wire::ConversationDetail>, ChatError> {
        let now = self.clock.now();
        let view = self
            .store
            .conversation(id, principal.user)
            .await?
            .ok_or(ChatError::ConversationNotFound)?;
        let is_member = view.members.iter().any(|member| member.user_id == user);
        if !is_member {
            if view.members.len() >= self.config.max_members {
                return Err(ChatError::MemberLimitReached(self.config.max_members));
            }
            // Only the owner may assign roles; checked before the user is added.
            let own_membership =
                view.members.iter().find(|member| member.user_id == principal.user);
            let is_owner =
                own_membership.is_some_and(|member| member.role == store::MemberRole::Owner);
            let role = put.role.filter(|role| *role != wire::GroupRole::Member);
            if role.is_some() && !is_owner {
                return Err(ChatError::NotAllowed);
            }
            let rule = invitation_rule(self.config.group_adds_from);
            let added = self.store.add_member(id, principal.user, user, rule, now).await?;
            let (view, mut system_messages) = applied(added)?;
            let Some(role) = role else { return Ok(with_change_events(view, system_messages)) };
            let (view, role_messages) = applied(self.set_role(principal, id, user, role).await?)?;
            system_messages.extend(role_messages);
            return Ok(with_change_events(view, system_messages));
        }
        match put.role {
            Some(role) => {
                let (view, system_messages) =
                    applied(self.set_role(principal, id, user, role).await?)?;
                Ok(with_change_events(view, system_messages))
            }
            None => Ok(WithEvents::without_events(views::conversation(view))),
        }
    }

    async fn set_role(
        &self,
        principal: &Principal,
        id: ConversationId,
        user: UserId,
        role: wire::GroupRole,
    ) -> Result<ConversationChangeOutcome, ChatError> {
        let role = views::role_row(role);
        Ok(self.store.set_member_role(id, principal.user, user, role, self.clock.now()).await?)
    }

    /// Removes a member from a group. Members may remove themselves.
    ///
    /// # Errors
    /// [`ChatError::NotAllowed`], [`ChatError::ConversationNotFound`], or a database error.
    pub async fn remove_member(
        &self,
        principal: &Principal,
        id: ConversationId,
        user: UserId,
    ) -> Result<WithEvents<()>, ChatError> {
        let change = self.store.remove_member(id, principal.user, user, self.clock.now()).await?;
        let (view, system_messages) = applied(change)?;
        let mut recipients: Vec<_> = view.members.iter().map(|member| member.user_id).collect();
        let message_events = system_messages.into_iter().map(|row| DirectedEvent {
            to: recipients.clone(),
            event: ServerEvent::Message(views::message(row)),
        });
        let message_events: Vec<DirectedEvent> = message_events.collect();
        recipients.push(user);
        let event = ServerEvent::ConversationLeft(MemberLeft { id, left: user });
        Ok(WithEvents {
            reply: (),
            events: std::iter::once(DirectedEvent { to: recipients, event })
                .chain(message_events)
                .collect(),
        })
    }

    /// Newest positions of the user's conversations.
    ///
    /// # Errors
    /// A database error.
    pub async fn positions(&self, user: UserId) -> Result<Vec<ConversationPosition>, ChatError> {
        Ok(self.store.conversation_positions(user).await?)
    }
}

/// Adds the events that notify all members, including the caller's own devices, and the system
/// messages.
fn with_change_events(
    view: store::ConversationWithMembers,
    system_messages: Vec<store::MessageRow>,
) -> WithEvents<wire::ConversationDetail> {
    let conversation = views::conversation(view);
    let mut events = conversation_events(&conversation);
    let to: Vec<_> = conversation.members.iter().map(|member| member.user_id).collect();
    events.extend(system_messages.into_iter().map(|row| DirectedEvent {
        to: to.clone(),
        event: ServerEvent::Message(views::message(row)),
    }));
    WithEvents { reply: conversation, events }
}

fn conversation_events(conversation: &wire::ConversationDetail) -> Vec<DirectedEvent> {
    let to = conversation.members.iter().map(|member| member.user_id).collect();
    vec![DirectedEvent { to, event: ServerEvent::Conversation(conversation.clone()) }]
}

fn applied(
    change: ConversationChangeOutcome,
) -> Result<(store::ConversationWithMembers, Vec<store::MessageRow>), ChatError> {
    match change {
        ConversationChangeOutcome::Done(view, system_messages) => Ok((view, system_messages)),
        ConversationChangeOutcome::ShadowBlocked(view) => Ok((view, Vec::new())),
        ConversationChangeOutcome::NotAllowed => Err(ChatError::NotAllowed),
        ConversationChangeOutcome::NotFound => Err(ChatError::ConversationNotFound),
        ConversationChangeOutcome::UserNotFound => Err(ChatError::UserNotFound),
        ConversationChangeOutcome::NotReachable => Err(ChatError::RecipientNotReachable),
    }
}

const fn invitation_rule(config: config::ContactRequirement) -> InvitationRule {
    match config {
        config::ContactRequirement::Contacts => InvitationRule::ContactsOrSharedGroup,
        config::ContactRequirement::Anybody => InvitationRule::Anyone,
    }
}

fn parse_title(text: &str) -> Result<String, ChatError> {
    let title = text.trim();
    let valid = (1..=200).contains(&title.chars().count()) && !title.chars().any(char::is_control);
    if valid { Ok(title.to_owned()) } else { Err(ChatError::InvalidTitle) }
}
