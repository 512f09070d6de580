//! Calls: who may call whom, what a call is, and what is remembered of it.

mod call;
mod call_token;
mod error;
mod participants;
mod termination;
#[cfg(test)]
mod tests;
mod turn_credentials;
mod views;

pub use call::{Begin, Call, Callee, Change, Participant, Seat, Shape, Terms, To};
pub use call_token::parse_name;
pub use error::Error;
pub use participants::{participant_name, participant_number, view};
pub use turn_credentials::Ice;

use std::sync::Arc;

use base::clock::Clock;
use base::ids::{CallId, ConversationId, NodeId, UserId};
use base::page::Page;
use store::{CallReach, CallWritten, MemberRole, Reach, Store};

use super::accounts::{Keyring, Me};
use crate::cluster::{Cache, FencingToken, RateLimit, RateLimitError};
use crate::config;
use crate::protocol::calls::{self as wire, Reason, Role};
use crate::protocol::server::Person;
use crate::telemetry::metrics::refused;

/// The deeds of this area; cheap to clone.
#[derive(Clone)]
pub struct Calls {
    store: Store,
    clock: Clock,
    keys: Keyring,
    /// Servers that help devices to connect.
    pub ice: Ice,
    config: Arc<config::CallsConfig>,
    reach: Reach,
    node: NodeId,
    cache: Arc<dyn Cache>,
    rings_per_minute: u32,
}

/// What [`Calls`] is made of.
pub struct Parts {
    /// Where history is kept.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// What signs call tokens.
    pub keys: Keyring,
    /// Servers that help devices to connect.
    pub ice: Ice,
    /// `[calls]`.
    pub config: config::CallsConfig,
    /// Whom a person may call.
    pub reach: config::ContactRequirement,
    /// This node.
    pub node: NodeId,
    /// Where it is counted who rings whom.
    pub cache: Arc<dyn Cache>,
    /// How often somebody may ring the same person.
    pub rings_per_minute: u32,
}

/// Whom a call is to be among.
#[derive(Clone, Debug)]
pub struct Among {
    /// Two people or a group.
    pub shape: Shape,
    /// The conversation.
    pub conversation: Option<ConversationId>,
    /// Everybody but the caller.
    pub others: Vec<UserId>,
    /// The other one blocks the caller, and is not to hear of it.
    pub unheard: bool,
}

impl Calls {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, keys, ice, config, reach, node, cache, rings_per_minute } = parts;
        let reach = match reach {
            config::ContactRequirement::Contacts => Reach::ContactsOrSharedGroup,
            config::ContactRequirement::Anybody => Reach::Anybody,
        };
        let config = Arc::new(config);
        Self { store, clock, keys, ice, config, reach, node, cache, rings_per_minute }
    }

    /// The time.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// `[calls]`.
    pub fn config(&self) -> &config::CallsConfig {
        &self.config
    }

    /// How long things may take, and how many may come.
    pub fn terms(&self) -> Terms {
        let config = &self.config;
        Terms { ring: config.ring(), longest: config.longest(), most: config.max_participants }
    }

    /// Whom a new call is among, if the rules allow it.
    ///
    /// # Errors
    /// What is wrong with the request, [`Error::NotReachable`], or the database's.
    pub async fn among(&self, me: &Me, start: &wire::StartCall) -> Result<Among, Error> {
        match (start.user_id, start.conversation_id) {
            (Some(other), None) => {
                let unheard = !self.reach(me.user, other, self.reach).await?;
                let others = vec![other];
                Ok(Among { shape: Shape::Direct, conversation: None, others, unheard })
            }
            (None, Some(id)) => {
                let found = self.store.conversation(id, me.user).await?;
                let view = found.ok_or(Error::NoSuchConversation)?;
                let others = view.members.iter().map(|member| member.user_id);
                let others: Vec<_> = others.filter(|user| *user != me.user).collect();
                let direct = view.conversation.kind == store::Kind::Direct;
                let unheard = match (direct, &others[..]) {
                    (true, [other]) => !self.reach(me.user, *other, Reach::Anybody).await?,
                    _ => false, // in groups members hear each other
                };
                let shape = if direct { Shape::Direct } else { Shape::Group };
                Ok(Among { shape, conversation: Some(id), others, unheard })
            }
            _ => Err(Error::OneOf),
        }
    }

    /// Somebody is to be called into a call: whether they hear of it.
    ///
    /// # Errors
    /// [`Error::NotReachable`], [`Error::NoSuchPerson`], or the database's.
    pub async fn may_invite(&self, me: &Me, other: UserId) -> Result<bool, Error> {
        self.reach(me.user, other, self.reach).await
    }

    /// Counts that somebody rings a person, or all members of a conversation, whose id is `whom`.
    /// Without a cache nobody is kept from calling.
    ///
    /// # Errors
    /// [`Error::TooOften`].
    pub async fn ring(&self, me: UserId, whom: &str) -> Result<(), Error> {
        let limit = RateLimit::per_minute("ring", self.rings_per_minute);
        match self.cache.take(limit, &format!("{me}:{whom}")).await {
            Err(often @ RateLimitError::TooMany(_)) => {
                refused("rings");
                Err(often.into())
            }
            Ok(()) | Err(RateLimitError::Cache(_)) => Ok(()),
        }
    }

    /// Whether somebody who may be called hears of it.
    async fn reach(&self, me: UserId, other: UserId, reach: Reach) -> Result<bool, Error> {
        match self.store.call_reach(me, other, reach).await? {
            CallReach::Allowed => Ok(true),
            CallReach::Unheard => Ok(false),
            CallReach::NotAllowed => Err(Error::NotReachable),
            CallReach::NoSuchUser => Err(Error::NoSuchPerson),
        }
    }

    /// What a member of a conversation may do in its calls; `None` to those who are not in it.
    ///
    /// # Errors
    /// The database's.
    pub async fn role_in(
        &self,
        conversation: ConversationId,
        user: UserId,
    ) -> Result<Option<Role>, Error> {
        let view = self.store.conversation(conversation, user).await?;
        let member =
            view.and_then(|view| view.members.into_iter().find(|member| member.user_id == user));
        Ok(member.map(|member| match member.role {
            MemberRole::Member => Role::Participant,
            MemberRole::Admin | MemberRole::Owner => Role::Moderator,
        }))
    }

    /// Writes that a call begins, and whose sleeping devices are to be woken.
    ///
    /// # Errors
    /// [`Error::Moved`], as all writes of an owner that is none any more, or the database's.
    pub async fn write_begin(
        &self,
        begin: &Begin,
        fence: Option<FencingToken>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let called = begin.callees.iter().filter(|callee| !callee.busy);
        let (unheard, callees): (Vec<_>, Vec<_>) = called.partition(|callee| callee.unheard);
        let users = |of: Vec<&Callee>| of.into_iter().map(|callee| callee.user).collect();
        let new = store::NewCall {
            id: begin.id,
            conversation_id: begin.conversation,
            session: begin.name.clone(),
            created_by: begin.by.user_id,
            media: views::media_row(begin.media),
            node: self.node,
            callees: users(callees),
            unheard: users(unheard),
            rings_until: now + self.config.ring(),
        };
        written(self.store.begin_call(new, fence.map(Into::into), now).await?)
    }

    /// Writes that one person more is called.
    ///
    /// # Errors
    /// [`Error::NoSuchCall`] if it is over, or the database's.
    pub async fn write_invite(
        &self,
        id: CallId,
        from: UserId,
        callee: &Callee,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let to = (callee.user, !callee.unheard);
        let open = self.store.ring_call(id, from, to, now + self.config.ring(), now).await?;
        if open { Ok(()) } else { Err(Error::NoSuchCall) }
    }

    /// Writes that a call was answered.
    ///
    /// # Errors
    /// The database's.
    pub async fn write_answered(
        &self,
        id: CallId,
        fence: Option<FencingToken>,
    ) -> Result<(), Error> {
        let fence = fence.map(Into::into);
        written(self.store.answer_call(id, fence, self.clock.now()).await?)
    }

    /// Keeps a call as its room remembers it, for another room to go on with.
    ///
    /// # Errors
    /// As [`Calls::write_begin`].
    pub async fn keep(&self, call: &Call, fence: Option<FencingToken>) -> Result<(), Error> {
        let state = serde_json::to_value(call).map_err(|e| Error::Internal(e.to_string()))?;
        written(self.store.keep_call(call.id(), state, fence.map(Into::into)).await?)
    }

    /// What was kept of a call that is not over.
    ///
    /// # Errors
    /// The database's.
    pub async fn kept(&self, id: CallId) -> Result<Option<Call>, Error> {
        let state = self.store.kept_call(id).await?;
        let call = state.map(serde_json::from_value).transpose();
        call.map_err(|e| Error::Internal(e.to_string()))
    }

    /// Closes calls that nobody goes on with.
    ///
    /// # Errors
    /// The database's.
    pub async fn write_lost(&self, ids: Vec<CallId>) -> Result<usize, Error> {
        Ok(self.store.close_calls(ids, self.clock.now()).await?)
    }

    /// Closes a call in history, once.
    ///
    /// # Errors
    /// The database's.
    pub async fn write_end(
        &self,
        end: store::EndedCall,
        fence: Option<FencingToken>,
    ) -> Result<(), Error> {
        written(self.store.end_call(end, fence.map(Into::into), self.clock.now()).await?)
    }

    /// Closes a call that never lived.
    ///
    /// # Errors
    /// The database's.
    pub async fn write_failed(&self, id: CallId, fence: Option<FencingToken>) -> Result<(), Error> {
        let reason = views::reason_row(Reason::Failed);
        let end = store::EndedCall { id, reason, answered_at: None, people: Vec::new() };
        self.write_end(end, fence).await
    }

    /// The person's calls, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn history(
        &self,
        me: &Me,
        after: Option<CallId>,
        limit: usize,
    ) -> Result<Page<wire::PastCall>, Error> {
        let rows = self.store.calls_of(me.user, after, limit + 1).await?;
        Ok(Page::cut(rows, limit, |row| row.call.id.to_string()).map(views::past))
    }
}

fn written(written: CallWritten) -> Result<(), Error> {
    match written {
        CallWritten::Done | CallWritten::Already => Ok(()),
        CallWritten::Fenced => Err(Error::Moved),
    }
}

/// Somebody, as they are named to others.
pub fn person(me: &Me) -> Person {
    Person { user_id: me.user, name: me.name.clone() }
}
