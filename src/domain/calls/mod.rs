//! Calls: permissions, state machine, history.

mod call;
mod call_token;
mod error;
mod participant_id;
mod termination;
#[cfg(test)]
mod tests;
mod turn_credentials;
mod views;

use std::sync::Arc;

use base::clock::Clock;
use base::ids::{CallId, ConversationId, NodeId, UserId};
use base::page::Page;
pub use call::{
    CallChange, CallKind, CallParticipant, CallState, CallTerms, Callee, EventTarget,
    ParticipantLocation, StartCallParams, participant_view,
};
pub use call_token::parse_name;
pub use error::CallError;
pub use participant_id::{format_participant_id, parse_participant_id};
use store::{CallPermission, CallWriteOutcome, InvitationRule, MemberRole, Store};
pub use turn_credentials::TurnCredentials;

use super::accounts::TokenSigner;
use crate::cluster::{Cache, FencingToken, RateLimit, RateLimitError};
use crate::config;
use crate::domain::identity::Principal;
use crate::protocol::calls::{self as wire, CallEndReason, CallRole};
use crate::protocol::users::UserSummary;
use crate::telemetry::metrics::count_rejected;

/// Service for calls; cheap to clone.
#[derive(Clone)]
pub struct CallDomain {
    store: Store,
    clock: Clock,
    keys: TokenSigner,
    /// ICE servers and TURN credentials for devices.
    pub ice: TurnCredentials,
    config: Arc<config::CallsConfig>,
    reach: InvitationRule,
    node: NodeId,
    cache: Arc<dyn Cache>,
    rings_per_minute: u32,
}

/// Everything that [`CallDomain`] depends on.
pub struct CallDomainDeps {
    /// Database of the call history.
    pub store: Store,
    pub clock: Clock,
    /// Signer of call tokens.
    pub keys: TokenSigner,
    /// ICE servers and TURN credentials for devices.
    pub ice: TurnCredentials,
    /// Section `[calls]` of the configuration.
    pub config: config::CallsConfig,
    /// Whom a user may call.
    pub reach: config::ContactRequirement,
    /// Identifier of this node.
    pub node: NodeId,
    /// Counters of the ring rate limit.
    pub cache: Arc<dyn Cache>,
    /// How often a user may ring the same user or conversation per minute.
    pub rings_per_minute: u32,
}

/// Participants a new call is for.
#[derive(Clone, Debug)]
pub struct CallTargets {
    /// How the call is started.
    pub kind: CallKind,
    /// The conversation, for its calls.
    pub conversation: Option<ConversationId>,
    /// All invited users.
    pub others: Vec<UserId>,
    /// Shadow block: the other user blocks the caller and is not notified.
    pub shadow_blocked: bool,
}

impl CallDomain {
    /// Creates the service from its dependencies.
    pub fn new(deps: CallDomainDeps) -> Self {
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
        } = deps;
        let reach = match reach {
            config::ContactRequirement::Contacts => InvitationRule::ContactsOrSharedGroup,
            config::ContactRequirement::Anybody => InvitationRule::Anyone,
        };
        let config = Arc::new(config);
        Self { store, clock, keys, ice, config, reach, node, cache, rings_per_minute }
    }

    /// Clock of the service.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Section `[calls]` of the configuration.
    pub fn config(&self) -> &config::CallsConfig {
        &self.config
    }

    /// Limits of calls from the configuration.
    pub fn terms(&self) -> CallTerms {
        let config = &self.config;
        CallTerms {
            ring_timeout: config.ring_timeout(),
            max_duration: config.max_duration(),
            max_participants: config.max_participants,
        }
    }

    /// Resolves and authorizes the targets of a new call.
    ///
    /// # Errors
    /// Validation errors, [`CallError::CalleeNotReachable`], or a database error.
    pub async fn resolve_targets(
        &self,
        principal: &Principal,
        start: &wire::StartCall,
    ) -> Result<CallTargets, CallError> {
        match (start.user_id, start.conversation_id) {
            (Some(other), None) => {
                let shadow_blocked = !self.reach(principal.user, other, self.reach).await?;
                let others = vec![other];
                Ok(CallTargets {
                    kind: CallKind::Direct,
                    conversation: None,
                    others,
                    shadow_blocked,
                })
            }
            (None, Some(id)) => {
                let found = self.store.conversation(id, principal.user).await?;
                let view = found.ok_or(CallError::ConversationNotFound)?;
                let others = view.members.iter().map(|member| member.user_id);
                let others: Vec<_> = others.filter(|user| *user != principal.user).collect();
                let direct = view.conversation.kind == store::Kind::Direct;
                let shadow_blocked = match (direct, &others[..]) {
                    (true, [other]) => {
                        !self.reach(principal.user, *other, InvitationRule::Anyone).await?
                    }
                    _ => false, // blocks do not apply within groups
                };
                let shape = if direct { CallKind::Direct } else { CallKind::Group };
                Ok(CallTargets { kind: shape, conversation: Some(id), others, shadow_blocked })
            }
            _ => Err(CallError::AmbiguousTarget),
        }
    }

    /// Checks whether a user may be invited; `false` if they are not to be notified (shadow block).
    ///
    /// # Errors
    /// [`CallError::CalleeNotReachable`], [`CallError::UserNotFound`], or a database error.
    pub async fn may_invite(
        &self,
        principal: &Principal,
        other: UserId,
    ) -> Result<bool, CallError> {
        self.reach(principal.user, other, self.reach).await
    }

    /// Counts a ring against the rate limit. `whom` is the id of a user or conversation. If the
    /// cache fails, calls are allowed.
    ///
    /// # Errors
    /// [`CallError::RateLimited`].
    pub async fn take_ring_attempt(&self, caller: UserId, target: &str) -> Result<(), CallError> {
        let limit = RateLimit::per_minute("ring", self.rings_per_minute);
        match self.cache.take(limit, &format!("{caller}:{target}")).await {
            Err(limited @ RateLimitError::RateLimited(_)) => {
                count_rejected("rings");
                Err(limited.into())
            }
            Ok(()) | Err(RateLimitError::Cache(_)) => Ok(()),
        }
    }

    /// Whether the other user may be called (`Ok`) and is notified (`true`).
    async fn reach(
        &self,
        caller: UserId,
        other: UserId,
        rule: InvitationRule,
    ) -> Result<bool, CallError> {
        match self.store.call_permission(caller, other, rule).await? {
            CallPermission::Allowed => Ok(true),
            CallPermission::ShadowBlocked => Ok(false),
            CallPermission::NotAllowed => Err(CallError::CalleeNotReachable),
            CallPermission::UserNotFound => Err(CallError::UserNotFound),
        }
    }

    /// Call role of a conversation member; `None` for non-members.
    ///
    /// # Errors
    /// A database error.
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

    /// Writes a new call and enqueues notifications for callees' sleeping devices.
    ///
    /// # Errors
    /// [`CallError::Migrating`] if this node no longer owns the call, as in all writes, or a
    /// database error.
    pub async fn write_begin(
        &self,
        begin: &StartCallParams,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
        let now = self.clock.now();
        let not_busy = begin.callees.iter().filter(|callee| !callee.busy);
        let (shadow_blocked, callees): (Vec<_>, Vec<_>) =
            not_busy.partition(|callee| callee.shadow_blocked);
        let users = |callees: Vec<&Callee>| callees.into_iter().map(|callee| callee.user).collect();
        let new = store::NewCall {
            id: begin.id,
            conversation_id: begin.conversation,
            session: begin.name.clone(),
            created_by: begin.by.user_id,
            media: views::media_row(begin.media),
            node: self.node,
            callees: users(callees),
            shadow_blocked: users(shadow_blocked),
            rings_until: now + self.config.ring_timeout(),
        };
        check_fence(self.store.create_call(new, fence.map(Into::into), now).await?)
    }

    /// Writes that another user is invited.
    ///
    /// # Errors
    /// [`CallError::CallNotFound`] if the call has ended, or a database error.
    pub async fn write_invite(
        &self,
        id: CallId,
        from: UserId,
        callee: &Callee,
    ) -> Result<(), CallError> {
        let now = self.clock.now();
        let to = (callee.user, !callee.shadow_blocked);
        let open =
            self.store.add_callee(id, from, to, now + self.config.ring_timeout(), now).await?;
        if open { Ok(()) } else { Err(CallError::CallNotFound) }
    }

    /// Writes that a call was answered.
    ///
    /// # Errors
    /// A database error.
    pub async fn write_answered(
        &self,
        id: CallId,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
        let fence = fence.map(Into::into);
        check_fence(self.store.answer_call(id, fence, self.clock.now()).await?)
    }

    /// Stores the call's state, so that another room can continue it.
    ///
    /// # Errors
    /// As [`CallDomain::write_begin`].
    pub async fn save_state(
        &self,
        call: &CallState,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
        let state = serde_json::to_value(call).map_err(|e| CallError::Internal(e.to_string()))?;
        check_fence(self.store.save_call_state(call.id(), state, fence.map(Into::into)).await?)
    }

    /// Loads the stored state of a call that has not ended.
    ///
    /// # Errors
    /// A database error.
    pub async fn load_state(&self, id: CallId) -> Result<Option<CallState>, CallError> {
        let state = self.store.call_state(id).await?;
        let call = state.map(serde_json::from_value).transpose();
        call.map_err(|e| CallError::Internal(e.to_string()))
    }

    /// Ends calls that no node continues.
    ///
    /// # Errors
    /// A database error.
    pub async fn write_orphaned(&self, ids: Vec<CallId>) -> Result<usize, CallError> {
        Ok(self.store.close_calls(ids, self.clock.now()).await?)
    }

    /// Writes the end of a call into the history, once.
    ///
    /// # Errors
    /// A database error.
    pub async fn write_end(
        &self,
        end: store::EndedCall,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
        check_fence(self.store.end_call(end, fence.map(Into::into), self.clock.now()).await?)
    }

    /// Ends a call whose room never started.
    ///
    /// # Errors
    /// A database error.
    pub async fn write_failed(
        &self,
        id: CallId,
        fence: Option<FencingToken>,
    ) -> Result<(), CallError> {
        let reason = views::reason_row(CallEndReason::Failed);
        let end = store::EndedCall { id, reason, answered_at: None, participants: Vec::new() };
        self.write_end(end, fence).await
    }

    /// The caller's calls, newest first.
    ///
    /// # Errors
    /// A database error.
    pub async fn history(
        &self,
        principal: &Principal,
        after: Option<CallId>,
        limit: usize,
    ) -> Result<Page<wire::PastCall>, CallError> {
        let rows = self.store.call_history(principal.user, after, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.call.id.to_string()).map(views::past))
    }
}

fn check_fence(outcome: CallWriteOutcome) -> Result<(), CallError> {
    match outcome {
        CallWriteOutcome::Done | CallWriteOutcome::AlreadyDone => Ok(()),
        CallWriteOutcome::Fenced => Err(CallError::Migrating),
    }
}

/// Summary of the caller, as shown to others.
pub fn caller_summary(principal: &Principal) -> UserSummary {
    UserSummary { user_id: principal.user, name: principal.name.clone() }
}
