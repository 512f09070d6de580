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

pub use call::{
    CallChange, CallKind, CallParticipant, CallState, CallTerms, Callee, EventTarget, Seat,
    StartCallParams,
};
pub use call_token::parse_name;
pub use error::CallError;
pub use participants::{participant_name, participant_number, view};
pub use turn_credentials::TurnCredentials;

use std::sync::Arc;

use base::clock::Clock;
use base::ids::{CallId, ConversationId, NodeId, UserId};
use base::page::Page;
use store::{CallPermission, CallWriteOutcome, InvitationRule, MemberRole, Store};

use super::accounts::{Principal, TokenSigner};
use crate::cluster::{Cache, FencingToken, RateLimit, RateLimitError};
use crate::config;
use crate::protocol::calls::{self as wire, CallEndReason, CallRole};
use crate::protocol::server::UserSummary;
use crate::telemetry::metrics::count_rejected;

/// The deeds of this area; cheap to clone.
#[derive(Clone)]
pub struct CallDomain {
    store: Store,
    clock: Clock,
    keys: TokenSigner,
    /// Servers that help devices to connect.
    pub ice: TurnCredentials,
    config: Arc<config::CallsConfig>,
    reach: InvitationRule,
    node: NodeId,
    cache: Arc<dyn Cache>,
    rings_per_minute: u32,
}

/// What [`CallDomain`] is made of.
pub struct CallDomainDeps {
    /// Where history is kept.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// What signs call tokens.
    pub keys: TokenSigner,
    /// Servers that help devices to connect.
    pub ice: TurnCredentials,
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
pub struct CallTargets {
    /// Two people or a group.
    pub shape: CallKind,
    /// The conversation.
    pub conversation: Option<ConversationId>,
    /// Everybody but the caller.
    pub others: Vec<UserId>,
    /// The other one blocks the caller, and is not to hear of it.
    pub unheard: bool,
}

impl CallDomain {
    /// Puts the parts together.
    pub fn new(parts: CallDomainDeps) -> Self {
        let CallDomainDeps {
            store,
            clock,
            keys,
            ice,
            config,
            reach,
            node,
            cache,
            rings_per_minute,
        } = parts;
        let reach = match reach {
            config::ContactRequirement::Contacts => InvitationRule::ContactsOrSharedGroup,
            config::ContactRequirement::Anybody => InvitationRule::Anyone,
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
    pub fn terms(&self) -> CallTerms {
        let config = &self.config;
        CallTerms {
            ring_timeout: config.ring_timeout(),
            max_duration: config.max_duration(),
            max_participants: config.max_participants,
        }
    }

    /// Whom a new call is among, if the rules allow it.
    ///
    /// # Errors
    /// What is wrong with the request, [`CallError::NotReachable`], or the database's.
    pub async fn among(
        &self,
        me: &Principal,
        start: &wire::StartCall,
    ) -> Result<CallTargets, CallError> {
        match (start.user_id, start.conversation_id) {
            (Some(other), None) => {
                let unheard = !self.reach(me.user, other, self.reach).await?;
                let others = vec![other];
                Ok(CallTargets { shape: CallKind::Direct, conversation: None, others, unheard })
            }
            (None, Some(id)) => {
                let found = self.store.conversation(id, me.user).await?;
                let view = found.ok_or(CallError::NoSuchConversation)?;
                let others = view.members.iter().map(|member| member.user_id);
                let others: Vec<_> = others.filter(|user| *user != me.user).collect();
                let direct = view.conversation.kind == store::Kind::Direct;
                let unheard = match (direct, &others[..]) {
                    (true, [other]) => !self.reach(me.user, *other, InvitationRule::Anyone).await?,
                    _ => false, // in groups members hear each other
                };
                let shape = if direct { CallKind::Direct } else { CallKind::Group };
                Ok(CallTargets { shape, conversation: Some(id), others, unheard })
            }
            _ => Err(CallError::OneOf),
        }
    }

    /// Somebody is to be called into a call: whether they hear of it.
    ///
    /// # Errors
    /// [`CallError::NotReachable`], [`CallError::NoSuchPerson`], or the database's.
    pub async fn may_invite(&self, me: &Principal, other: UserId) -> Result<bool, CallError> {
        self.reach(me.user, other, self.reach).await
    }

    /// Counts that somebody rings a person, or all members of a conversation, whose id is `whom`.
    /// Without a cache nobody is kept from calling.
    ///
    /// # Errors
    /// [`CallError::TooOften`].
    pub async fn ring(&self, me: UserId, whom: &str) -> Result<(), CallError> {
        let limit = RateLimit::per_minute("ring", self.rings_per_minute);
        match self.cache.take(limit, &format!("{me}:{whom}")).await {
            Err(often @ RateLimitError::RateLimited(_)) => {
                count_rejected("rings");
                Err(often.into())
            }
            Ok(()) | Err(RateLimitError::Cache(_)) => Ok(()),
        }
    }

    /// Whether somebody who may be called hears of it.
    async fn reach(
        &self,
        me: UserId,
        other: UserId,
        reach: InvitationRule,
    ) -> Result<bool, CallError> {
        match self.store.call_permission(me, other, reach).await? {
            CallPermission::Allowed => Ok(true),
            CallPermission::ShadowBlocked => Ok(false),
            CallPermission::NotAllowed => Err(CallError::NotReachable),
            CallPermission::UserNotFound => Err(CallError::NoSuchPerson),
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
    ) -> Result<Option<CallRole>, CallError> {
        let view = self.store.conversation(conversation, user).await?;
        let member =
            view.and_then(|view| view.members.into_iter().find(|member| member.user_id == user));
        Ok(member.map(|member| match member.role {
            MemberRole::Member => CallRole::Participant,
            MemberRole::Admin | MemberRole::Owner => CallRole::Moderator,
        }))
    }

    /// Writes that a call begins, and whose sleeping devices are to be woken.
    ///
    /// # Errors
    /// [`CallError::Moved`], as all writes of an owner that is none any more, or the database's.
    pub async fn write_begin(
        &self,
        begin: &StartCallParams,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
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
            shadow_blocked: users(unheard),
            rings_until: now + self.config.ring_timeout(),
        };
        written(self.store.create_call(new, fence.map(Into::into), now).await?)
    }

    /// Writes that one person more is called.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`] if it is over, or the database's.
    pub async fn write_invite(
        &self,
        id: CallId,
        from: UserId,
        callee: &Callee,
    ) -> Result<(), CallError> {
        let now = self.clock.now();
        let to = (callee.user, !callee.unheard);
        let open =
            self.store.add_callee(id, from, to, now + self.config.ring_timeout(), now).await?;
        if open { Ok(()) } else { Err(CallError::NoSuchCall) }
    }

    /// Writes that a call was answered.
    ///
    /// # Errors
    /// The database's.
    pub async fn write_answered(
        &self,
        id: CallId,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
        let fence = fence.map(Into::into);
        written(self.store.answer_call(id, fence, self.clock.now()).await?)
    }

    /// Keeps a call as its room remembers it, for another room to go on with.
    ///
    /// # Errors
    /// As [`CallDomain::write_begin`].
    pub async fn keep(
        &self,
        call: &CallState,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
        let state = serde_json::to_value(call).map_err(|e| CallError::Internal(e.to_string()))?;
        written(self.store.save_call_state(call.id(), state, fence.map(Into::into)).await?)
    }

    /// What was kept of a call that is not over.
    ///
    /// # Errors
    /// The database's.
    pub async fn kept(&self, id: CallId) -> Result<Option<CallState>, CallError> {
        let state = self.store.call_state(id).await?;
        let call = state.map(serde_json::from_value).transpose();
        call.map_err(|e| CallError::Internal(e.to_string()))
    }

    /// Closes calls that nobody goes on with.
    ///
    /// # Errors
    /// The database's.
    pub async fn write_lost(&self, ids: Vec<CallId>) -> Result<usize, CallError> {
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
    ) -> Result<(), CallError> {
        written(self.store.end_call(end, fence.map(Into::into), self.clock.now()).await?)
    }

    /// Closes a call that never lived.
    ///
    /// # Errors
    /// The database's.
    pub async fn write_failed(
        &self,
        id: CallId,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
        let reason = views::reason_row(CallEndReason::Failed);
        let end = store::EndedCall { id, reason, answered_at: None, participants: Vec::new() };
        self.write_end(end, fence).await
    }

    /// The person's calls, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn history(
        &self,
        me: &Principal,
        after: Option<CallId>,
        limit: usize,
    ) -> Result<Page<wire::PastCall>, CallError> {
        let rows = self.store.call_history(me.user, after, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.call.id.to_string()).map(views::past))
    }
}

fn written(written: CallWriteOutcome) -> Result<(), CallError> {
    match written {
        CallWriteOutcome::Done | CallWriteOutcome::AlreadyDone => Ok(()),
        CallWriteOutcome::Fenced => Err(CallError::Moved),
    }
}

/// Somebody, as they are named to others.
pub fn person(me: &Principal) -> UserSummary {
    UserSummary { user_id: me.user, name: me.name.clone() }
}
