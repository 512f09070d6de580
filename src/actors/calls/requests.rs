//! Call requests of devices, and the rooms that answer them.

use base::ids::{CallId, SessionId, UserId};
use tokio::sync::OwnedSemaphorePermit;

use super::CallService;
use super::call_index::{Key, LocatedCall};
use super::claim::OpenCallOutcome;
use super::forwarding::CallRequester;
use super::reply::json;
use super::room::{self, CallRoom, RoomCommand, RoomHandle, RoomRequest};
use crate::actors::supervision::{ActorRef, SendError};
use crate::config::SessionCreationPolicy;
use crate::domain::calls::{
    CallError, CallKind, CallTargets, Callee, ParticipantLocation, StartCallParams, caller_summary,
    parse_name, parse_participant_id,
};
use crate::domain::identity::Principal;
use crate::limits::MAX_LOOKUP_ATTEMPTS;
use crate::protocol::calls::{CallMedia, CallRole, CallStarted, CallTopology, JoinCall, StartCall};
use crate::protocol::client::CallClientEvent;

impl CallService {
    /// Answers a request on this node, or forwards it to the node that owns the call.
    ///
    /// # Errors
    /// The error of the request; [`CallError::Migrating`] if it must be retried.
    pub(super) async fn handle_request_local(
        &self,
        requester: CallRequester<'_>,
        event: CallClientEvent,
    ) -> Result<String, CallError> {
        let CallRequester { principal, location, .. } = requester;
        match &event {
            CallClientEvent::StartCall(start) => {
                require_account(principal)?;
                return self.start(requester, start, &event).await;
            }
            CallClientEvent::JoinCall(join) => return self.join(requester, join, &event).await,
            CallClientEvent::InviteCall(_) => require_account(principal)?,
            _ => {}
        }
        let (id, name) = event.call();
        let found = self.resolve_call(principal, location.session, id, name).await?;
        if let Some(node) = found.remote_node() {
            return self.forward(node, found.id, requester, &event).await;
        }
        let command = match event {
            CallClientEvent::InviteCall(invite) => {
                return self.invite(principal, location, found, invite.user_id).await;
            }
            CallClientEvent::AcceptCall(_) => RoomCommand::Accept,
            CallClientEvent::DeclineCall(_) => RoomCommand::Decline,
            CallClientEvent::CancelCall(_) => RoomCommand::Cancel,
            CallClientEvent::UpgradeCall(_) => RoomCommand::Upgrade,
            CallClientEvent::LeaveCall(_) => RoomCommand::Leave,
            CallClientEvent::Offer(offer) => RoomCommand::Offer(offer),
            CallClientEvent::Answer(reply) => RoomCommand::Answer(reply),
            CallClientEvent::IceCandidate(ice) => RoomCommand::IceCandidate(ice),
            CallClientEvent::MuteAudio(mute) => RoomCommand::Mute(CallMedia::Audio, mute.muted),
            CallClientEvent::MuteVideo(mute) => RoomCommand::Mute(CallMedia::Video, mute.muted),
            CallClientEvent::SetLayer(layer) => RoomCommand::SetLayer(layer),
            CallClientEvent::Moderate(moderate) => RoomCommand::Moderate(moderate),
            CallClientEvent::StartCall(_) | CallClientEvent::JoinCall(_) => {
                return Err(CallError::Unavailable);
            }
        };
        send_to_room(&found.room().await?, location, principal, command).await
    }

    /// Invites one more user. The invitation is stored before anything rings, as a call is when it
    /// starts.
    async fn invite(
        &self,
        principal: &Principal,
        location: ParticipantLocation,
        found: LocatedCall<RoomHandle>,
        user: UserId,
    ) -> Result<String, CallError> {
        let call = found.id;
        let unheard = !self.domain.may_invite(principal, user).await?;
        let callee = || self.callee(user, unheard, Some(call));
        let room = found.room().await?;
        send_to_room(&room, location, principal, RoomCommand::MayInvite(callee())).await?;
        self.domain.take_ring_attempt(principal.user, &user.to_string()).await?;
        self.domain.write_invite(call, principal.user, &callee()).await?;
        send_to_room(&room, location, principal, RoomCommand::Invite(callee())).await
    }

    /// The callee; a shadow-blocked caller is not told whether the callee is busy.
    fn callee(&self, user: UserId, unheard: bool, call: Option<CallId>) -> Callee {
        Callee { user, busy: !unheard && self.is_busy(user, call), shadow_blocked: unheard }
    }

    /// Starts a call, or joins the one that is active between the same users: a caller who is being
    /// called accepts by calling.
    async fn start(
        &self,
        requester: CallRequester<'_>,
        start: &StartCall,
        event: &CallClientEvent,
    ) -> Result<String, CallError> {
        let principal = requester.principal;
        let CallTargets { kind: shape, conversation, others, shadow_blocked: unheard } =
            self.domain.resolve_targets(principal, start).await?;
        let (key, ring_limit_key) = match (shape, conversation, &others[..]) {
            (CallKind::Direct, _, [other]) => (
                Key::Pair(principal.user.min(*other), principal.user.max(*other)),
                other.to_string(),
            ),
            (_, Some(id), _) => (Key::Conversation(id), id.to_string()),
            _ => return Err(CallError::AmbiguousTarget),
        };
        let ring_timeout = self.domain.config().ring_timeout_seconds;
        for _ in 0..MAX_LOOKUP_ATTEMPTS {
            let callee = |user: &UserId| self.callee(*user, unheard, None);
            let params = StartCallParams {
                id: CallId::new(),
                kind: shape,
                conversation,
                name: None,
                by: caller_summary(principal),
                media: start.media,
                callees: others.iter().map(callee).collect(),
            };
            let (call_id, mode) = (
                params.id,
                if shape == CallKind::Direct { CallTopology::P2p } else { CallTopology::Sfu },
            );
            let found =
                match self.find_or_open(&key, params, Some(&ring_limit_key), requester).await? {
                    OpenCallOutcome::Begun(_) => {
                        return Ok(json(&CallStarted { call_id, mode, ring_timeout }));
                    }
                    OpenCallOutcome::Found(found) => found,
                };
            if let Some(node) = found.remote_node() {
                return self.forward(node, found.id, requester, event).await;
            }
            let call_id = found.id;
            let room = found.room().await?;
            let location = ParticipantLocation { session: SessionId::new(), ..requester.location };
            match send_to_room(&room, location, principal, RoomCommand::Accept).await {
                // It has just ended: start another one.
                Err(CallError::CallNotFound) if self.call_index.by_id(call_id).is_none() => {}
                // It rings for them, or they may join: a member who was added later was not
                // invited.
                Ok(_) | Err(CallError::NotRinging | CallError::CallNotFound) => {
                    let mode = room.ask(room::GetMode).await.map_err(|_| CallError::Unavailable)?;
                    return Ok(json(&CallStarted { call_id, mode, ring_timeout }));
                }
                Err(error) => return Err(error),
            }
        }
        Err(CallError::Unavailable)
    }

    /// The call with this key, or a new one on the node that should run it.
    async fn find_or_open(
        &self,
        key: &Key,
        params: StartCallParams,
        ring_limit_key: Option<&str>,
        requester: CallRequester<'_>,
    ) -> Result<OpenCallOutcome, CallError> {
        if let Some(found) = self.call_index.by_key(key) {
            return Ok(OpenCallOutcome::Found(found));
        }
        if !requester.is_forwarded
            && let Some(node) = self.better_placed_node()
        {
            self.call_index.add_remote(node, params.id, key.clone());
            return self.located(params.id).map(OpenCallOutcome::Found);
        }
        self.open(key, params, ring_limit_key).await
    }

    /// Joins a call, by its id or by the name of a session.
    async fn join(
        &self,
        requester: CallRequester<'_>,
        join: &JoinCall,
        event: &CallClientEvent,
    ) -> Result<String, CallError> {
        let CallRequester { principal, location, .. } = requester;
        let resume = join.participant_id.as_deref().and_then(parse_participant_id);
        if let Some(id) = join.call_id {
            let found = self.find(id).await?;
            if let Some(node) = found.remote_node() {
                return self.forward(node, id, requester, event).await;
            }
            let role = self.role(principal, &found).await?;
            return self.join_room(&found.room().await?, location, principal, role, resume).await;
        }
        let own_session = || principal.call_grant.as_ref().map(|pass| pass.session.as_str());
        let name = join.session.as_deref().or_else(own_session).ok_or(CallError::CallNotFound)?;
        let role = Some(self.session_role(principal, parse_name(name)?)?);
        for _ in 0..MAX_LOOKUP_ATTEMPTS {
            let params = StartCallParams {
                id: CallId::new(),
                kind: CallKind::Session,
                conversation: None,
                name: Some(name.to_owned()),
                by: caller_summary(principal),
                media: CallMedia::Video,
                callees: Vec::new(),
            };
            let room = match self
                .find_or_open(&Key::Name(name.to_owned()), params, None, requester)
                .await?
            {
                OpenCallOutcome::Begun(room) => room,
                OpenCallOutcome::Found(found) => {
                    if let Some(node) = found.remote_node() {
                        return self.forward(node, found.id, requester, event).await;
                    }
                    found.room().await?
                }
            };
            match self.join_room(&room, location, principal, role, resume).await {
                // the last participant has just left: start another one
                Err(CallError::CallNotFound) => {}
                reply => return reply,
            }
        }
        Err(CallError::Unavailable)
    }

    /// Joins a room; replies once another node could take the room over with this participant.
    async fn join_room(
        &self,
        room: &ActorRef<CallRoom>,
        location: ParticipantLocation,
        principal: &Principal,
        role: Option<CallRole>,
        resume: Option<u32>,
    ) -> Result<String, CallError> {
        let command = RoomCommand::Join { role, resume, permit: self.participant_permit()? };
        let reply = send_to_room(room, location, principal, command).await?;
        room::wait_persisted(room).await?;
        Ok(reply)
    }

    /// A participant permit of this node.
    fn participant_permit(&self) -> Result<OwnedSemaphorePermit, CallError> {
        self.participant_permits
            .clone()
            .try_acquire_owned()
            .map_err(|_| CallError::NodeCapacityReached)
    }

    /// The role of a user in a call joined by id; `None` means only if they were invited.
    async fn role(
        &self,
        principal: &Principal,
        found: &LocatedCall<RoomHandle>,
    ) -> Result<Option<CallRole>, CallError> {
        match (&found.name, found.conversation) {
            (Some(name), _) => self.session_role(principal, name).map(Some),
            (None, _) if principal.call_grant.is_some() => Err(CallError::TokenLimitedToCall),
            (None, Some(conversation)) => {
                let role = self.domain.role_in(conversation, principal.user).await?;
                role.map(Some).ok_or(CallError::CallNotFound)
            }
            (None, None) => Ok(None),
        }
    }

    /// The role of a user in the named session.
    fn session_role(&self, principal: &Principal, name: &str) -> Result<CallRole, CallError> {
        match &principal.call_grant {
            Some(pass) if pass.session == name && pass.is_moderator => Ok(CallRole::Moderator),
            Some(pass) if pass.session == name => Ok(CallRole::Participant),
            Some(_) => Err(CallError::TokenLimitedToCall),
            None if self.domain.config().session_creation == SessionCreationPolicy::Anybody => {
                Ok(CallRole::Participant)
            }
            None => Err(CallError::NotAllowed),
        }
    }

    /// The call that a request names; if it names none, the only call of the session.
    async fn resolve_call(
        &self,
        principal: &Principal,
        session: SessionId,
        id: Option<CallId>,
        name: Option<&str>,
    ) -> Result<LocatedCall<RoomHandle>, CallError> {
        let found = match (id, name) {
            (Some(id), _) => self.find(id).await?,
            (None, Some(name)) => {
                let found = self.call_index.by_key(&Key::Name(name.to_owned()));
                found.ok_or(CallError::CallNotFound)?
            }
            (None, None) => return self.call_index.only_of(session).ok_or(CallError::NotInCall),
        };
        match &principal.call_grant {
            Some(pass) if found.name.as_deref() != Some(&pass.session) => {
                Err(CallError::TokenLimitedToCall)
            }
            _ => Ok(found),
        }
    }
}

async fn send_to_room(
    room: &ActorRef<CallRoom>,
    location: ParticipantLocation,
    principal: &Principal,
    command: RoomCommand,
) -> Result<String, CallError> {
    let name = principal.name.clone();
    match room.ask(RoomRequest { location, name, command }).await {
        Ok(reply) => reply,
        // The room ended or moved before it read the request: a retry finds the current state.
        Err(SendError::Gone) => Err(CallError::Migrating),
        Err(SendError::Full | SendError::Failed) => Err(CallError::Unavailable),
    }
}

/// A call token admits to one call and may not start or invite.
const fn require_account(principal: &Principal) -> Result<(), CallError> {
    if principal.call_grant.is_some() { Err(CallError::TokenLimitedToCall) } else { Ok(()) }
}
