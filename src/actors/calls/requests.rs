//! What a device asks of calls, and which room answers.

use base::ids::{CallId, SessionId, UserId};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::board::{Found, Key};
use super::room::What;
use super::{Calls, ask, seat};
use crate::config::Openers;
use crate::domain::accounts::Me;
use crate::domain::calls::{Callee, Error, Seat, parse_name};
use crate::protocol::calls::{CallRef, Media, Role};
use crate::protocol::client::CallEvent;
use crate::protocol::server::Done;

/// How often a call that ends while it is looked for is looked for again.
pub(super) const TRIES: usize = 10;

impl Calls {
    /// Answers a device; the JSON of what is to be replied.
    ///
    /// # Errors
    /// What is wrong with the request, or [`Error::Unavailable`].
    pub async fn answer(
        &self,
        me: &Me,
        session: SessionId,
        event: CallEvent,
    ) -> Result<String, Error> {
        let seat = seat(me, session);
        let what = match event {
            CallEvent::StartCall(start) => {
                full(me)?;
                return Ok(json(&self.start(me, &start).await?));
            }
            CallEvent::InviteCall(invite) => {
                full(me)?;
                return self.invite(me, seat, invite.call_id, invite.user_id).await;
            }
            CallEvent::JoinCall(call) => return self.join(me, seat, &call).await,
            CallEvent::AcceptCall(call) => (self.meant(me, session, &call)?, What::Accept),
            CallEvent::DeclineCall(call) => (self.meant(me, session, &call)?, What::Decline),
            CallEvent::CancelCall(call) => (self.meant(me, session, &call)?, What::Cancel),
            CallEvent::UpgradeCall(call) => (self.meant(me, session, &call)?, What::Upgrade),
            CallEvent::LeaveCall(call) => (self.meant(me, session, &call)?, What::Leave),
            CallEvent::Offer(offer) => {
                let found = self.meant_by(me, session, offer.call_id, offer.session.as_deref())?;
                (found, What::Offer(offer))
            }
            CallEvent::Answer(answer) => {
                let name = answer.session.as_deref();
                (self.meant_by(me, session, answer.call_id, name)?, What::Answer(answer))
            }
            CallEvent::IceCandidate(ice) => {
                let found = self.meant_by(me, session, ice.call_id, ice.session.as_deref())?;
                (found, What::IceCandidate(ice))
            }
            CallEvent::MuteAudio(mute) => {
                let found = self.meant_by(me, session, mute.call_id, mute.session.as_deref())?;
                (found, What::Mute(Media::Audio, mute.muted))
            }
            CallEvent::MuteVideo(mute) => {
                let found = self.meant_by(me, session, mute.call_id, mute.session.as_deref())?;
                (found, What::Mute(Media::Video, mute.muted))
            }
            CallEvent::SetLayer(layer) => {
                (self.meant_by(me, session, layer.call_id, None)?, What::SetLayer(layer))
            }
            CallEvent::Moderate(moderate) => {
                (self.meant_by(me, session, moderate.call_id, None)?, What::Moderate(moderate))
            }
        };
        let (found, what) = what;
        ask(&found.room().await?, seat, me, what).await
    }

    /// Calls one person more: written down before anything rings, as a call is when it begins.
    async fn invite(
        &self,
        me: &Me,
        seat: Seat,
        call: CallId,
        user: UserId,
    ) -> Result<String, Error> {
        self.deeds.may_invite(me, user).await?;
        let callee = || Callee { user, busy: self.is_busy(user, Some(call)) };
        let room = self.found(call)?.room().await?;
        ask(&room, seat, me, What::MayInvite(callee())).await?;
        self.deeds.ring(me.user, &user.to_string()).await?;
        self.deeds.write_invite(call, me.user, user).await?;
        ask(&room, seat, me, What::Invite(callee())).await
    }

    /// Takes part in a call: by its id, or in a session by its name.
    async fn join(&self, me: &Me, seat: Seat, call: &CallRef) -> Result<String, Error> {
        if let Some(id) = call.call_id {
            let found = self.found(id)?;
            let role = self.role(me, &found).await?;
            let room = found.room().await?;
            return ask(&room, seat, me, What::Join(role, self.place()?)).await;
        }
        let own = || me.pass.as_ref().map(|pass| pass.session.as_str());
        let name = call.session.as_deref().or_else(own).ok_or(Error::NoSuchCall)?;
        let role = Some(self.may_enter(me, parse_name(name)?)?);
        for _ in 0..TRIES {
            let room = self.session_room(me, name).await?;
            match ask(&room, seat, me, What::Join(role, self.place()?)).await {
                Err(Error::NoSuchCall) => {} // the last one has just left: another begins
                answer => return answer,
            }
        }
        Err(Error::Unavailable)
    }

    /// A place among all devices in calls.
    fn place(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.places.clone().try_acquire_owned().map_err(|_| Error::TooManyCalls)
    }

    /// What somebody may do in a call that they name by its id; `None`: only if they were called.
    async fn role(&self, me: &Me, found: &Found) -> Result<Option<Role>, Error> {
        match (&found.name, found.conversation) {
            (Some(name), _) => self.may_enter(me, name).map(Some),
            (None, _) if me.pass.is_some() => Err(Error::CallOnly),
            (None, Some(conversation)) => {
                let role = self.deeds.role_in(conversation, me.user).await?;
                role.map(Some).ok_or(Error::NoSuchCall)
            }
            (None, None) => Ok(None),
        }
    }

    /// What somebody may do in the session of this name.
    fn may_enter(&self, me: &Me, name: &str) -> Result<Role, Error> {
        match &me.pass {
            Some(pass) if pass.session == name && pass.moderates => Ok(Role::Moderator),
            Some(pass) if pass.session == name => Ok(Role::Participant),
            Some(_) => Err(Error::CallOnly),
            None if self.deeds.config().sessions == Openers::Anybody => Ok(Role::Participant),
            None => Err(Error::NotAllowed),
        }
    }

    fn meant(&self, me: &Me, session: SessionId, call: &CallRef) -> Result<Found, Error> {
        self.meant_by(me, session, call.call_id, call.session.as_deref())
    }

    /// The call that is named; the only one in which the session is if none is.
    fn meant_by(
        &self,
        me: &Me,
        session: SessionId,
        id: Option<CallId>,
        name: Option<&str>,
    ) -> Result<Found, Error> {
        let found = match (id, name) {
            (Some(id), _) => self.board.by_id(id),
            (None, Some(name)) => self.board.by_key(&Key::Name(name.to_owned())),
            (None, None) => return self.board.only_of(session).ok_or(Error::NotInCall),
        };
        let found = found.ok_or(Error::NoSuchCall)?;
        match &me.pass {
            Some(pass) if found.name.as_deref() != Some(&pass.session) => Err(Error::CallOnly),
            _ => Ok(found),
        }
    }
}

/// A call token opens one call and begins none.
const fn full(me: &Me) -> Result<(), Error> {
    if me.pass.is_some() { Err(Error::CallOnly) } else { Ok(()) }
}

/// The JSON of a reply.
pub(super) fn json<T: Serialize>(reply: &T) -> String {
    #[expect(clippy::expect_used, reason = "the shapes of protocol/ have text keys only")]
    serde_json::to_string(reply).expect("a protocol shape serialises")
}

/// The reply of a request that has no other.
pub(super) fn done() -> String {
    json(&Done {})
}

/// The word that serde has for a plain variant, for the label of a metric.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    json(value).trim_matches('"').to_owned()
}
