//! What a device asks of calls, and which room answers.

use base::ids::{CallId, SessionId, UserId};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::CallService;
use super::call_index::{Key, LocatedCall};
use super::claim::OpenCallOutcome;
use super::forwarding::CallRequester;
use super::room::{self, CallRoom, RoomCommand, RoomRequest};
use crate::actors::supervision::{ActorRef, SendError};
use crate::config::SessionCreationPolicy;
use crate::domain::accounts::Principal;
use crate::domain::calls::{
    CallError, CallKind, CallTargets, Callee, Seat, StartCallParams, parse_name,
    participant_number, person,
};
use crate::protocol::calls::{CallMedia, CallRole, CallStarted, CallTopology, JoinCall, StartCall};
use crate::protocol::client::CallClientEvent;
use crate::protocol::server::EmptyReply;

/// How often a call that ends while it is looked for is looked for again.
const MAX_LOOKUP_ATTEMPTS: usize = 10;

impl CallService {
    /// Answers a device whose request has come to this node, or passes it on to the node that has
    /// the call.
    ///
    /// # Errors
    /// What is wrong with the request; [`CallError::Moved`] if it must be asked again.
    pub(super) async fn answer_here(
        &self,
        asker: CallRequester<'_>,
        event: CallClientEvent,
    ) -> Result<String, CallError> {
        let CallRequester { me, seat, .. } = asker;
        match &event {
            CallClientEvent::StartCall(start) => {
                full(me)?;
                return self.start(asker, start, &event).await;
            }
            CallClientEvent::JoinCall(join) => return self.join(asker, join, &event).await,
            CallClientEvent::InviteCall(_) => full(me)?,
            _ => {}
        }
        let (id, name) = event.call();
        let found = self.meant(me, seat.session, id, name).await?;
        if let Some(node) = found.remote_node() {
            return self.forward(node, found.id, asker, &event).await;
        }
        let what = match event {
            CallClientEvent::InviteCall(invite) => {
                return self.invite(me, seat, found, invite.user_id).await;
            }
            CallClientEvent::AcceptCall(_) => RoomCommand::Accept,
            CallClientEvent::DeclineCall(_) => RoomCommand::Decline,
            CallClientEvent::CancelCall(_) => RoomCommand::Cancel,
            CallClientEvent::UpgradeCall(_) => RoomCommand::Upgrade,
            CallClientEvent::LeaveCall(_) => RoomCommand::Leave,
            CallClientEvent::Offer(offer) => RoomCommand::Offer(offer),
            CallClientEvent::Answer(answer) => RoomCommand::Answer(answer),
            CallClientEvent::IceCandidate(ice) => RoomCommand::IceCandidate(ice),
            CallClientEvent::MuteAudio(mute) => RoomCommand::Mute(CallMedia::Audio, mute.muted),
            CallClientEvent::MuteVideo(mute) => RoomCommand::Mute(CallMedia::Video, mute.muted),
            CallClientEvent::SetLayer(layer) => RoomCommand::SetLayer(layer),
            CallClientEvent::Moderate(moderate) => RoomCommand::Moderate(moderate),
            CallClientEvent::StartCall(_) | CallClientEvent::JoinCall(_) => {
                return Err(CallError::Unavailable);
            }
        };
        ask(&found.room().await?, seat, me, what).await
    }

    /// Calls one person more: written down before anything rings, as a call is when it begins.
    async fn invite(
        &self,
        me: &Principal,
        seat: Seat,
        found: LocatedCall,
        user: UserId,
    ) -> Result<String, CallError> {
        let call = found.id;
        let unheard = !self.domain.may_invite(me, user).await?;
        let callee = || self.callee(user, unheard, Some(call));
        let room = found.room().await?;
        ask(&room, seat, me, RoomCommand::MayInvite(callee())).await?;
        self.domain.ring(me.user, &user.to_string()).await?;
        self.domain.write_invite(call, me.user, &callee()).await?;
        ask(&room, seat, me, RoomCommand::Invite(callee())).await
    }

    /// Somebody who is called; whether those who do not hear of it are busy is nobody's business.
    fn callee(&self, user: UserId, unheard: bool, call: Option<CallId>) -> Callee {
        Callee { user, busy: !unheard && self.is_busy(user, call), unheard }
    }

    /// Begins a call, or finds the one that goes on between the same people: whoever is called
    /// there says yes by calling.
    async fn start(
        &self,
        asker: CallRequester<'_>,
        start: &StartCall,
        event: &CallClientEvent,
    ) -> Result<String, CallError> {
        let me = asker.me;
        let CallTargets { shape, conversation, others, unheard } =
            self.domain.among(me, start).await?;
        let (key, whom) = match (shape, conversation, &others[..]) {
            (CallKind::Direct, _, [other]) => {
                (Key::Pair(me.user.min(*other), me.user.max(*other)), other.to_string())
            }
            (_, Some(id), _) => (Key::Conversation(id), id.to_string()),
            _ => return Err(CallError::OneOf),
        };
        let ring_timeout = self.domain.config().ring_timeout_seconds;
        for _ in 0..MAX_LOOKUP_ATTEMPTS {
            let callee = |user: &UserId| self.callee(*user, unheard, None);
            let begin = StartCallParams {
                id: CallId::new(),
                shape,
                conversation,
                name: None,
                by: person(me),
                media: start.media,
                callees: others.iter().map(callee).collect(),
            };
            let (call_id, mode) = (
                begin.id,
                if shape == CallKind::Direct { CallTopology::P2p } else { CallTopology::Sfu },
            );
            let found = match self.goes_or_begins(&key, begin, Some(&whom), asker).await? {
                OpenCallOutcome::Begun(_) => {
                    return Ok(json(&CallStarted { call_id, mode, ring_timeout }));
                }
                OpenCallOutcome::Found(found) => found,
            };
            if let Some(node) = found.remote_node() {
                return self.forward(node, found.id, asker, event).await;
            }
            let call_id = found.id;
            let room = found.room().await?;
            let seat = Seat { session: SessionId::new(), ..asker.seat };
            match ask(&room, seat, me, RoomCommand::Accept).await {
                // It has just ended: another begins.
                Err(CallError::NoSuchCall) if self.board.by_id(call_id).is_none() => {}
                // It rings for them, or they may join: a member who came later was not called.
                Ok(_) | Err(CallError::NotRinging | CallError::NoSuchCall) => {
                    let mode = room.ask(room::GetMode).await.map_err(|_| CallError::Unavailable)?;
                    return Ok(json(&CallStarted { call_id, mode, ring_timeout }));
                }
                Err(error) => return Err(error),
            }
        }
        Err(CallError::Unavailable)
    }

    /// The call of this key; a new one if there is none, at the node where it belongs.
    async fn goes_or_begins(
        &self,
        key: &Key,
        begin: StartCallParams,
        whom: Option<&str>,
        asker: CallRequester<'_>,
    ) -> Result<OpenCallOutcome, CallError> {
        if let Some(found) = self.board.by_key(key) {
            return Ok(OpenCallOutcome::Found(found));
        }
        if !asker.passed_on
            && let Some(node) = self.better()
        {
            self.board.is_there(node, begin.id, key.clone());
            return self.found(begin.id).map(OpenCallOutcome::Found);
        }
        self.open(key, begin, whom).await
    }

    /// Takes part in a call: by its id, or in a session by its name.
    async fn join(
        &self,
        asker: CallRequester<'_>,
        join: &JoinCall,
        event: &CallClientEvent,
    ) -> Result<String, CallError> {
        let CallRequester { me, seat, .. } = asker;
        let resume = join.participant_id.as_deref().and_then(participant_number);
        if let Some(id) = join.call_id {
            let found = self.find(id).await?;
            if let Some(node) = found.remote_node() {
                return self.forward(node, id, asker, event).await;
            }
            let role = self.role(me, &found).await?;
            return self.enter(&found.room().await?, seat, me, role, resume).await;
        }
        let own = || me.pass.as_ref().map(|pass| pass.session.as_str());
        let name = join.session.as_deref().or_else(own).ok_or(CallError::NoSuchCall)?;
        let role = Some(self.may_enter(me, parse_name(name)?)?);
        for _ in 0..MAX_LOOKUP_ATTEMPTS {
            let begin = StartCallParams {
                id: CallId::new(),
                shape: CallKind::Session,
                conversation: None,
                name: Some(name.to_owned()),
                by: person(me),
                media: CallMedia::Video,
                callees: Vec::new(),
            };
            let room =
                match self.goes_or_begins(&Key::Name(name.to_owned()), begin, None, asker).await? {
                    OpenCallOutcome::Begun(room) => room,
                    OpenCallOutcome::Found(found) => {
                        if let Some(node) = found.remote_node() {
                            return self.forward(node, found.id, asker, event).await;
                        }
                        found.room().await?
                    }
                };
            match self.enter(&room, seat, me, role, resume).await {
                Err(CallError::NoSuchCall) => {} // the last one has just left: another begins
                answer => return answer,
            }
        }
        Err(CallError::Unavailable)
    }

    /// Comes into a room; answered once another node could go on with it.
    async fn enter(
        &self,
        room: &ActorRef<CallRoom>,
        seat: Seat,
        me: &Principal,
        role: Option<CallRole>,
        resume: Option<u32>,
    ) -> Result<String, CallError> {
        let what = RoomCommand::Join { role, resume, permit: self.place()? };
        let reply = ask(room, seat, me, what).await?;
        room::kept(room).await?;
        Ok(reply)
    }

    /// A place among all devices in calls.
    fn place(&self) -> Result<OwnedSemaphorePermit, CallError> {
        self.places.clone().try_acquire_owned().map_err(|_| CallError::TooManyCalls)
    }

    /// What somebody may do in a call that they name by its id; `None`: only if they were called.
    async fn role(
        &self,
        me: &Principal,
        found: &LocatedCall,
    ) -> Result<Option<CallRole>, CallError> {
        match (&found.name, found.conversation) {
            (Some(name), _) => self.may_enter(me, name).map(Some),
            (None, _) if me.pass.is_some() => Err(CallError::CallOnly),
            (None, Some(conversation)) => {
                let role = self.domain.role_in(conversation, me.user).await?;
                role.map(Some).ok_or(CallError::NoSuchCall)
            }
            (None, None) => Ok(None),
        }
    }

    /// What somebody may do in the session of this name.
    fn may_enter(&self, me: &Principal, name: &str) -> Result<CallRole, CallError> {
        match &me.pass {
            Some(pass) if pass.session == name && pass.moderates => Ok(CallRole::Moderator),
            Some(pass) if pass.session == name => Ok(CallRole::Participant),
            Some(_) => Err(CallError::CallOnly),
            None if self.domain.config().session_creation == SessionCreationPolicy::Anybody => {
                Ok(CallRole::Participant)
            }
            None => Err(CallError::NotAllowed),
        }
    }

    /// The call that is named; the only one in which the session is if none is.
    async fn meant(
        &self,
        me: &Principal,
        session: SessionId,
        id: Option<CallId>,
        name: Option<&str>,
    ) -> Result<LocatedCall, CallError> {
        let found = match (id, name) {
            (Some(id), _) => self.find(id).await?,
            (None, Some(name)) => {
                let found = self.board.by_key(&Key::Name(name.to_owned()));
                found.ok_or(CallError::NoSuchCall)?
            }
            (None, None) => return self.board.only_of(session).ok_or(CallError::NotInCall),
        };
        match &me.pass {
            Some(pass) if found.name.as_deref() != Some(&pass.session) => Err(CallError::CallOnly),
            _ => Ok(found),
        }
    }
}

async fn ask(
    room: &ActorRef<CallRoom>,
    seat: Seat,
    me: &Principal,
    what: RoomCommand,
) -> Result<String, CallError> {
    let name = me.name.clone();
    match room.ask(RoomRequest { seat, name, what }).await {
        Ok(answer) => answer,
        // It ended or left before it read the question: whoever asks again hears what is so now.
        Err(SendError::Gone) => Err(CallError::Moved),
        Err(SendError::Full | SendError::Failed) => Err(CallError::Unavailable),
    }
}

/// A call token opens one call and begins none.
const fn full(me: &Principal) -> Result<(), CallError> {
    if me.pass.is_some() { Err(CallError::CallOnly) } else { Ok(()) }
}

/// The JSON of a reply.
pub(super) fn json<T: Serialize>(reply: &T) -> String {
    #[expect(clippy::expect_used, reason = "the shapes of protocol/ have text keys only")]
    serde_json::to_string(reply).expect("a protocol shape serialises")
}

/// The reply of a request that has no other.
pub(super) fn done() -> String {
    json(&EmptyReply {})
}

/// The word that serde has for a plain variant, for the label of a metric.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    json(value).trim_matches('"').to_owned()
}
