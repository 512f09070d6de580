//! Conversations: who may speak, what was said, in which order.

mod changes;
mod error;
mod invites;
mod messages;
mod search;
mod views;

pub use changes::{ChangeMessageOutcome, ChangeMessageRequest, MessageChange};
pub use error::ChatError;
pub use messages::{MessageDraft, SendMessageOutcome};
pub(super) use views::message as said;

use std::sync::Arc;
use std::time::Duration;

use base::clock::Clock;
use base::ids::{ConversationId, UserId};
use base::page::Page;
use base::random::RandomSource;
use store::{
    ConversationChangeOutcome, ConversationPosition, GroupSettingsPatch, InvitationRule,
    MemberSettingsPatch, NewConversationRow, OpenDirect, OpenGroup, Store,
};

use super::accounts::Principal;
use super::{DirectedEvent, WithEvents};
use crate::config;
use crate::protocol::chat as wire;
use crate::protocol::server::{MemberLeft, ServerEvent};

/// The deeds of this area; cheap to clone.
#[derive(Clone)]
pub struct ChatService {
    store: Store,
    clock: Clock,
    entropy: RandomSource,
    config: Arc<config::ChatConfig>,
}

/// A conversation that was opened, or was there.
#[derive(Debug)]
pub struct OpenConversationOutcome {
    /// The conversation.
    pub conversation: wire::ConversationDetail,
    /// Whether it is new.
    pub created: bool,
}

impl ChatService {
    /// Puts the parts together.
    pub fn new(
        store: Store,
        clock: Clock,
        entropy: RandomSource,
        config: config::ChatConfig,
    ) -> Self {
        Self { store, clock, entropy, config: Arc::new(config) }
    }

    /// Opens a conversation; a direct one that exists is given back.
    ///
    /// # Errors
    /// What is wrong with the request, [`ChatError::NotReachable`], or the database's.
    pub async fn open(
        &self,
        me: &Principal,
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
            created_by: me.user,
        };
        if new.kind == wire::ConversationKind::Direct {
            return self.open_direct(me, row, &new.members).await;
        }
        let conversation = views::conversation(self.open_group(me, row, new.members).await?);
        let news = changed(&conversation);
        Ok(WithEvents { answer: OpenConversationOutcome { conversation, created: true }, news })
    }

    async fn open_direct(
        &self,
        me: &Principal,
        row: NewConversationRow,
        members: &[UserId],
    ) -> Result<WithEvents<OpenConversationOutcome>, ChatError> {
        let mut others = members.iter().filter(|id| **id != me.user);
        let (Some(other), None, None) = (others.next(), others.next(), &row.title) else {
            return Err(ChatError::BadDirect);
        };
        let reach = reach(self.config.direct_conversations_from);
        let (view, hear) =
            match self.store.open_direct(row, *other, reach, self.clock.now()).await? {
                OpenDirect::Created(view) => (view, vec![me.user, *other]),
                OpenDirect::ShadowBlocked(view) => (view, vec![me.user]),
                OpenDirect::Existing(view) => (view, Vec::new()),
                OpenDirect::NotAllowed => return Err(ChatError::NotReachable),
                OpenDirect::UserNotFound => return Err(ChatError::NoSuchPerson),
            };
        let (conversation, created) = (views::conversation(view), !hear.is_empty());
        let event = ServerEvent::Conversation(conversation.clone());
        let news = if created { vec![DirectedEvent { to: hear, event }] } else { Vec::new() };
        Ok(WithEvents { answer: OpenConversationOutcome { conversation, created }, news })
    }

    async fn open_group(
        &self,
        me: &Principal,
        row: NewConversationRow,
        mut members: Vec<UserId>,
    ) -> Result<store::ConversationWithMembers, ChatError> {
        members.retain(|id| *id != me.user);
        members.sort_unstable();
        members.dedup();
        if members.len() >= self.config.max_members {
            return Err(ChatError::TooManyMembers(self.config.max_members));
        }
        let reach = reach(self.config.group_adds_from);
        match self.store.open_group(row, members, reach, self.clock.now()).await? {
            OpenGroup::Created(view) => Ok(view),
            OpenGroup::NotAllowed => Err(ChatError::NotReachable),
            OpenGroup::UserNotFound => Err(ChatError::NoSuchPerson),
        }
    }

    /// A page of the person's conversations.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(
        &self,
        me: UserId,
        after: Option<ConversationId>,
        limit: usize,
    ) -> Result<Page<wire::ConversationSummary>, ChatError> {
        let rows = self.store.user_conversations(me, after, limit + 1, self.clock.now()).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.conversation.id.to_string())
            .map(views::summary))
    }

    /// One conversation, to its members.
    ///
    /// # Errors
    /// [`ChatError::NoSuchConversation`], or the database's.
    pub async fn get(
        &self,
        me: &Principal,
        id: ConversationId,
    ) -> Result<wire::ConversationDetail, ChatError> {
        let found = self.store.conversation(id, me.user).await?;
        found.map(views::conversation).ok_or(ChatError::NoSuchConversation)
    }

    /// Changes a group's title and other settings.
    ///
    /// # Errors
    /// What is wrong with the change, [`ChatError::NotAllowed`], or the database's.
    pub async fn change(
        &self,
        me: &Principal,
        id: ConversationId,
        change: wire::PatchConversation,
    ) -> Result<WithEvents<wire::ConversationDetail>, ChatError> {
        let expires_in = match change.expires_in {
            None => None,
            Some(0) => Some(None),
            Some(seconds) if (1..=messages::MAX_EXPIRY_SECONDS).contains(&seconds) => {
                Some(Some(seconds))
            }
            Some(_) => return Err(ChatError::BadExpiry),
        };
        let settings = GroupSettingsPatch {
            title: change.title.as_deref().map(parse_title).transpose()?,
            expires_in,
            history: change.history.map(views::history_row),
            who_writes: change.who_writes.map(views::circle_row),
            who_adds: change.who_adds.map(views::circle_row),
        };
        if settings == GroupSettingsPatch::default() {
            return Err(ChatError::NothingToChange);
        }
        let now = self.clock.now();
        match self.store.update_conversation(id, me.user, settings, now).await? {
            ConversationChangeOutcome::ShadowBlocked(view) => {
                Ok(WithEvents::without_events(views::conversation(view)))
            }
            change => done(change).map(|(view, said)| told(view, said)),
        }
    }

    /// Mutes or archives a conversation, for oneself.
    ///
    /// # Errors
    /// [`ChatError::BadKeeping`], [`ChatError::NoSuchConversation`], or the database's.
    pub async fn update_member_settings(
        &self,
        me: UserId,
        id: ConversationId,
        keep: wire::PatchMemberSettings,
    ) -> Result<WithEvents<wire::MemberSettings>, ChatError> {
        let now = self.clock.now();
        let muted_until = match keep.mute_seconds {
            None => None,
            Some(0) => Some(None),
            Some(seconds @ 1..=315_360_000) => {
                Some(Some(now + Duration::from_secs(seconds.unsigned_abs())))
            }
            Some(_) => return Err(ChatError::BadKeeping),
        };
        if muted_until.is_none() && keep.archived.is_none() {
            return Err(ChatError::NothingToChange);
        }
        let keeping = MemberSettingsPatch { muted_until, archived: keep.archived };
        let kept = self.store.update_member_settings(id, me, keeping, now).await?;
        let kept = kept.ok_or(ChatError::NoSuchConversation)?;
        let kept = wire::MemberSettings {
            id,
            muted_until: kept.muted_until,
            archived_at: kept.archived_at,
        };
        Ok(WithEvents::with_event(kept, vec![me], ServerEvent::ConversationKept(kept)))
    }

    /// Puts somebody into a group, or gives a member another role.
    ///
    /// # Errors
    /// [`ChatError::NotAllowed`], [`ChatError::NotReachable`], or the database's.
    pub async fn put_member(
        &self,
        me: &Principal,
        id: ConversationId,
        user: UserId,
        put: wire::PutMember,
    ) -> Result<WithEvents<wire::ConversationDetail>, ChatError> {
        let now = self.clock.now();
        let view =
            self.store.conversation(id, me.user).await?.ok_or(ChatError::NoSuchConversation)?;
        let is_member = view.members.iter().any(|member| member.user_id == user);
        if !is_member {
            if view.members.len() >= self.config.max_members {
                return Err(ChatError::TooManyMembers(self.config.max_members));
            }
            // Only the owner gives roles; said before anybody is let in.
            let mine = view.members.iter().find(|member| member.user_id == me.user);
            let owner = mine.is_some_and(|member| member.role == store::MemberRole::Owner);
            let role = put.role.filter(|role| *role != wire::GroupRole::Member);
            if role.is_some() && !owner {
                return Err(ChatError::NotAllowed);
            }
            let reach = reach(self.config.group_adds_from);
            let added = self.store.add_member(id, me.user, user, reach, now).await?;
            let (view, mut said) = done(added)?;
            let Some(role) = role else { return Ok(told(view, said)) };
            let (view, more) = done(self.set_role(me, id, user, role).await?)?;
            said.extend(more);
            return Ok(told(view, said));
        }
        match put.role {
            Some(role) => {
                let (view, said) = done(self.set_role(me, id, user, role).await?)?;
                Ok(told(view, said))
            }
            None => Ok(WithEvents::without_events(views::conversation(view))),
        }
    }

    async fn set_role(
        &self,
        me: &Principal,
        id: ConversationId,
        user: UserId,
        role: wire::GroupRole,
    ) -> Result<ConversationChangeOutcome, ChatError> {
        let role = views::role_row(role);
        Ok(self.store.set_member_role(id, me.user, user, role, self.clock.now()).await?)
    }

    /// Removes somebody from a group; oneself leaves it.
    ///
    /// # Errors
    /// [`ChatError::NotAllowed`], [`ChatError::NoSuchConversation`], or the database's.
    pub async fn remove_member(
        &self,
        me: &Principal,
        id: ConversationId,
        user: UserId,
    ) -> Result<WithEvents<()>, ChatError> {
        let change = self.store.remove_member(id, me.user, user, self.clock.now()).await?;
        let (view, said) = done(change)?;
        let mut to: Vec<_> = view.members.iter().map(|member| member.user_id).collect();
        let said = said.into_iter().map(|row| DirectedEvent {
            to: to.clone(),
            event: ServerEvent::Message(views::message(row)),
        });
        let said: Vec<DirectedEvent> = said.collect();
        to.push(user);
        let event = ServerEvent::ConversationLeft(MemberLeft { id, left: user });
        Ok(WithEvents {
            answer: (),
            news: std::iter::once(DirectedEvent { to, event }).chain(said).collect(),
        })
    }

    /// How far the person's conversations have come.
    ///
    /// # Errors
    /// The database's.
    pub async fn positions(&self, user: UserId) -> Result<Vec<ConversationPosition>, ChatError> {
        Ok(self.store.conversation_positions(user).await?)
    }
}

/// Everybody hears of it, the person's own other devices too, and what was said of it.
fn told(
    view: store::ConversationWithMembers,
    said: Vec<store::MessageRow>,
) -> WithEvents<wire::ConversationDetail> {
    let conversation = views::conversation(view);
    let mut news = changed(&conversation);
    let to: Vec<_> = conversation.members.iter().map(|member| member.user_id).collect();
    news.extend(said.into_iter().map(|row| DirectedEvent {
        to: to.clone(),
        event: ServerEvent::Message(views::message(row)),
    }));
    WithEvents { answer: conversation, news }
}

fn changed(conversation: &wire::ConversationDetail) -> Vec<DirectedEvent> {
    let to = conversation.members.iter().map(|member| member.user_id).collect();
    vec![DirectedEvent { to, event: ServerEvent::Conversation(conversation.clone()) }]
}

fn done(
    change: ConversationChangeOutcome,
) -> Result<(store::ConversationWithMembers, Vec<store::MessageRow>), ChatError> {
    match change {
        ConversationChangeOutcome::Done(view, said) => Ok((view, said)),
        ConversationChangeOutcome::ShadowBlocked(view) => Ok((view, Vec::new())),
        ConversationChangeOutcome::NotAllowed => Err(ChatError::NotAllowed),
        ConversationChangeOutcome::NotFound => Err(ChatError::NoSuchConversation),
        ConversationChangeOutcome::UserNotFound => Err(ChatError::NoSuchPerson),
        ConversationChangeOutcome::NotReachable => Err(ChatError::NotReachable),
    }
}

const fn reach(config: config::ContactRequirement) -> InvitationRule {
    match config {
        config::ContactRequirement::Contacts => InvitationRule::ContactsOrSharedGroup,
        config::ContactRequirement::Anybody => InvitationRule::Anyone,
    }
}

fn parse_title(text: &str) -> Result<String, ChatError> {
    let title = text.trim();
    let fits = (1..=200).contains(&title.chars().count()) && !title.chars().any(char::is_control);
    if fits { Ok(title.to_owned()) } else { Err(ChatError::BadTitle) }
}
