//! Conversations: who may speak, what was said, in which order.

mod error;
mod messages;
mod views;

pub use error::Error;
pub use messages::{Draft, Said};

use std::sync::Arc;

use base::clock::Clock;
use base::ids::{ConversationId, UserId};
use base::page::Page;
use store::{Change, NewConversation, OpenDirect, OpenGroup, Reach, Store};

use super::accounts::Me;
use super::{Deed, News};
use crate::config;
use crate::protocol::chat as wire;
use crate::protocol::server::{MemberLeft, ServerEvent};

/// The deeds of this area; cheap to clone.
#[derive(Clone)]
pub struct Chat {
    store: Store,
    clock: Clock,
    config: Arc<config::Chat>,
}

/// A conversation that was opened, or was there.
#[derive(Debug)]
pub struct Opened {
    /// The conversation.
    pub conversation: wire::Conversation,
    /// Whether it is new.
    pub created: bool,
}

impl Chat {
    /// Puts the parts together.
    pub fn new(store: Store, clock: Clock, config: config::Chat) -> Self {
        Self { store, clock, config: Arc::new(config) }
    }

    /// Opens a conversation; a direct one that exists is given back.
    ///
    /// # Errors
    /// What is wrong with the request, [`Error::NotReachable`], or the database's.
    pub async fn open(&self, me: &Me, new: wire::NewConversation) -> Result<Deed<Opened>, Error> {
        if new.encryption == wire::Encryption::None && !self.config.plaintext {
            return Err(Error::PlaintextForbidden);
        }
        let row = NewConversation {
            id: ConversationId::new(),
            kind: views::kind_row(new.kind),
            title: new.title.as_deref().map(parse_title).transpose()?,
            encryption: views::encryption_row(new.encryption),
            created_by: me.user,
        };
        let (view, created) = match new.kind {
            wire::Kind::Direct => self.open_direct(me, row, &new.members).await?,
            wire::Kind::Group => (self.open_group(me, row, new.members).await?, true),
        };
        let conversation = views::conversation(view);
        let news = if created { changed(&conversation) } else { Vec::new() };
        Ok(Deed { answer: Opened { conversation, created }, news })
    }

    async fn open_direct(
        &self,
        me: &Me,
        row: NewConversation,
        members: &[UserId],
    ) -> Result<(store::ConversationView, bool), Error> {
        let mut others = members.iter().filter(|id| **id != me.user);
        let (Some(other), None, None) = (others.next(), others.next(), &row.title) else {
            return Err(Error::BadDirect);
        };
        let reach = reach(self.config.direct);
        match self.store.open_direct(row, *other, reach, self.clock.now()).await? {
            OpenDirect::Created(view) => Ok((view, true)),
            OpenDirect::Existing(view) => Ok((view, false)),
            OpenDirect::NotAllowed => Err(Error::NotReachable),
            OpenDirect::NoSuchUser => Err(Error::NoSuchPerson),
        }
    }

    async fn open_group(
        &self,
        me: &Me,
        row: NewConversation,
        mut members: Vec<UserId>,
    ) -> Result<store::ConversationView, Error> {
        members.retain(|id| *id != me.user);
        members.sort_unstable();
        members.dedup();
        if members.len() >= self.config.max_members {
            return Err(Error::TooManyMembers(self.config.max_members));
        }
        let reach = reach(self.config.groups);
        match self.store.open_group(row, members, reach, self.clock.now()).await? {
            OpenGroup::Created(view) => Ok(view),
            OpenGroup::NotAllowed => Err(Error::NotReachable),
            OpenGroup::NoSuchUser => Err(Error::NoSuchPerson),
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
    ) -> Result<Page<wire::Summary>, Error> {
        let rows = self.store.conversations_of(me, after, limit + 1).await?;
        Ok(Page::cut(rows, limit, |row| row.conversation.id.to_string()).map(views::summary))
    }

    /// One conversation, to its members.
    ///
    /// # Errors
    /// [`Error::NoSuchConversation`], or the database's.
    pub async fn get(&self, me: &Me, id: ConversationId) -> Result<wire::Conversation, Error> {
        let found = self.store.conversation(id, me.user).await?;
        found.map(views::conversation).ok_or(Error::NoSuchConversation)
    }

    /// Renames a group.
    ///
    /// # Errors
    /// [`Error::BadTitle`], [`Error::NotAllowed`], or the database's.
    pub async fn rename(
        &self,
        me: &Me,
        id: ConversationId,
        change: wire::PatchConversation,
    ) -> Result<Deed<wire::Conversation>, Error> {
        let title = parse_title(&change.title)?;
        let change =
            self.store.rename_conversation(id, me.user, Some(title), self.clock.now()).await?;
        told(change)
    }

    /// Puts somebody into a group, or gives a member another role.
    ///
    /// # Errors
    /// [`Error::NotAllowed`], [`Error::NotReachable`], or the database's.
    pub async fn put_member(
        &self,
        me: &Me,
        id: ConversationId,
        user: UserId,
        put: wire::PutMember,
    ) -> Result<Deed<wire::Conversation>, Error> {
        let now = self.clock.now();
        let view = self.store.conversation(id, me.user).await?.ok_or(Error::NoSuchConversation)?;
        let is_member = view.members.iter().any(|member| member.user_id == user);
        if !is_member {
            if view.members.len() >= self.config.max_members {
                return Err(Error::TooManyMembers(self.config.max_members));
            }
            // Only the owner gives roles; said before anybody is let in.
            let mine = view.members.iter().find(|member| member.user_id == me.user);
            let owner = mine.is_some_and(|member| member.role == store::MemberRole::Owner);
            let role = put.role.filter(|role| *role != wire::MemberRole::Member);
            if role.is_some() && !owner {
                return Err(Error::NotAllowed);
            }
            let reach = reach(self.config.groups);
            let added = self.store.add_member(id, me.user, user, reach, now).await?;
            let added = told(added)?;
            return match role {
                Some(role) => told(self.set_role(me, id, user, role).await?),
                None => Ok(added),
            };
        }
        match put.role {
            Some(role) => told(self.set_role(me, id, user, role).await?),
            None => Ok(Deed::quiet(views::conversation(view))),
        }
    }

    async fn set_role(
        &self,
        me: &Me,
        id: ConversationId,
        user: UserId,
        role: wire::MemberRole,
    ) -> Result<Change, Error> {
        let role = views::role_row(role);
        Ok(self.store.set_member_role(id, me.user, user, role, self.clock.now()).await?)
    }

    /// Removes somebody from a group; oneself leaves it.
    ///
    /// # Errors
    /// [`Error::NotAllowed`], [`Error::NoSuchConversation`], or the database's.
    pub async fn remove_member(
        &self,
        me: &Me,
        id: ConversationId,
        user: UserId,
    ) -> Result<Deed<()>, Error> {
        let change = self.store.remove_member(id, me.user, user, self.clock.now()).await?;
        let view = views::conversation(done(change)?);
        let mut to: Vec<_> = view.members.iter().map(|member| member.user_id).collect();
        to.push(user);
        let left = ServerEvent::ConversationLeft(MemberLeft { id, left: user });
        Ok(Deed::told((), to, left))
    }

    /// The person's conversations with their newest and first visible `seq`.
    ///
    /// # Errors
    /// The database's.
    pub async fn positions(&self, user: UserId) -> Result<Vec<(ConversationId, i64, i64)>, Error> {
        Ok(self.store.positions(user).await?)
    }
}

/// Everybody hears of it, the person's own other devices too.
fn told(change: Change) -> Result<Deed<wire::Conversation>, Error> {
    let conversation = views::conversation(done(change)?);
    let news = changed(&conversation);
    Ok(Deed { answer: conversation, news })
}

fn changed(conversation: &wire::Conversation) -> Vec<News> {
    let to = conversation.members.iter().map(|member| member.user_id).collect();
    vec![News { to, event: ServerEvent::Conversation(conversation.clone()) }]
}

fn done(change: Change) -> Result<store::ConversationView, Error> {
    match change {
        Change::Done(view) => Ok(view),
        Change::NotAllowed => Err(Error::NotAllowed),
        Change::NotFound => Err(Error::NoSuchConversation),
        Change::NoSuchUser => Err(Error::NoSuchPerson),
        Change::NotReachable => Err(Error::NotReachable),
    }
}

const fn reach(config: config::Reach) -> Reach {
    match config {
        config::Reach::Contacts => Reach::ContactsOrSharedGroup,
        config::Reach::Anybody => Reach::Anybody,
    }
}

fn parse_title(text: &str) -> Result<String, Error> {
    let title = text.trim();
    let fits = (1..=200).contains(&title.chars().count()) && !title.chars().any(char::is_control);
    if fits { Ok(title.to_owned()) } else { Err(Error::BadTitle) }
}
