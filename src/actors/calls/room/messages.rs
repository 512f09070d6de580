//! What a room may be asked: by sessions and by operators.

use actix::{Handler, Message, MessageResult};
use base::ids::{CallId, SessionId};
use tokio::sync::OwnedSemaphorePermit;

use super::CallRoom;
use crate::actors::calls::requests::{done, json};
use crate::domain::calls::{CallError, Callee, EventTarget, Seat, format_participant_id};
use crate::protocol::calls as wire;
use crate::protocol::server::CallServerEvent;

/// A device asks something; the answer is the JSON of its reply.
#[derive(Message)]
#[rtype(result = "Result<String, CallError>")]
pub(in crate::actors::calls) struct RoomRequest {
    pub(in crate::actors::calls) seat: Seat,
    /// How the person calls themselves.
    pub(in crate::actors::calls) name: String,
    pub(in crate::actors::calls) what: RoomCommand,
}

/// What it asks.
pub(in crate::actors::calls) enum RoomCommand {
    Accept,
    Decline,
    Cancel,
    /// Whether [`RoomCommand::Invite`] would be done: it is written down in between.
    MayInvite(Callee),
    Invite(Callee),
    Join {
        /// What the door gave, or `None` for those who were called.
        role: Option<wire::CallRole>,
        /// The participant that the device was, if it only lost its socket.
        resume: Option<u32>,
        /// Its place among all devices in calls.
        permit: OwnedSemaphorePermit,
    },
    Leave,
    Upgrade,
    Offer(wire::OfferRequest),
    Answer(wire::AnswerRequest),
    IceCandidate(wire::IceCandidateRequest),
    /// The own microphone or camera.
    Mute(wire::CallMedia, bool),
    SetLayer(wire::SetLayer),
    Moderate(wire::ModerateRequest),
}

impl Handler<RoomRequest> for CallRoom {
    type Result = Result<String, CallError>;

    fn handle(&mut self, ask: RoomRequest, ctx: &mut Self::Context) -> Self::Result {
        if self.call.ended().is_some() {
            return Err(CallError::CallNotFound);
        }
        if self.keep.is_moving() || !self.seed.owns_lease() {
            return Err(CallError::Migrating);
        }
        let answer = self.answer(ask);
        self.step(ctx);
        answer
    }
}

impl CallRoom {
    fn answer(
        &mut self,
        RoomRequest { seat, name, what }: RoomRequest,
    ) -> Result<String, CallError> {
        let now = self.seed.deeds.clock().now();
        let known = self.call.concerns(seat.user)
            || self.call.participant_with_session(seat.session).is_some();
        if !known && !matches!(what, RoomCommand::Join { role: Some(_), .. }) {
            return Err(CallError::CallNotFound);
        }
        match what {
            RoomCommand::Accept => self.call.accept(seat.user, now)?,
            RoomCommand::Decline => self.call.decline(seat.user)?,
            RoomCommand::Cancel => self.call.cancel(seat.user)?,
            RoomCommand::MayInvite(callee) => self.call.may_invite(seat.session, &callee)?,
            RoomCommand::Invite(callee) => {
                self.call.invite(seat.session, &callee, now)?;
            }
            RoomCommand::Join { role, resume, permit } => {
                return self.join(seat, &name, role, resume, permit);
            }
            RoomCommand::Leave => self.call.leave(seat, now)?,
            RoomCommand::Upgrade => {
                self.call.participant_with_session(seat.session).ok_or(CallError::NotInCall)?;
                self.call.upgrade();
            }
            RoomCommand::Offer(offer) => return self.offer(seat, offer),
            RoomCommand::Answer(wire::AnswerRequest { to, sdp, .. }) => {
                self.relay(seat.session, &to, |call_id, from| {
                    CallServerEvent::Answer(wire::RelayedDescription { call_id, from, sdp })
                })?;
            }
            RoomCommand::IceCandidate(wire::IceCandidateRequest {
                to: Some(to),
                candidate,
                ..
            }) => {
                self.relay(seat.session, &to, |call_id, from| {
                    CallServerEvent::IceCandidate(wire::RelayedCandidate {
                        call_id,
                        from,
                        candidate,
                    })
                })?;
            }
            // The server finds the way to a device by its checks (RFC 8445 §7.3.1.3).
            RoomCommand::IceCandidate(_) => {
                self.call.participant_with_session(seat.session).ok_or(CallError::NotInCall)?;
            }
            RoomCommand::Mute(media, muted) => self.call.mute(seat.session, media, muted)?,
            RoomCommand::SetLayer(layer) => self.limit(seat.session, &layer)?,
            RoomCommand::Moderate(moderate) => {
                let whom = &moderate.participant_id;
                self.call.moderate(seat.session, whom, moderate.action, now)?;
            }
        }
        Ok(done())
    }

    fn join(
        &mut self,
        seat: Seat,
        name: &str,
        role: Option<wire::CallRole>,
        resume: Option<u32>,
        permit: OwnedSemaphorePermit,
    ) -> Result<String, CallError> {
        let now = self.seed.deeds.clock().now();
        let number = match resume.filter(|number| self.call.resume(seat, *number)) {
            Some(number) => number,
            None => self.call.join(seat, name, role.unwrap_or_default(), now)?,
        };
        self.seed.keep(number, permit);
        let mut joined = self.call.joined_reply(number);
        joined.tracks = self.tracks();
        joined.ice_servers = self.seed.deeds.ice.servers(seat.user);
        let reply = json(&joined);
        self.seed.tell(&EventTarget::Participant(seat), CallServerEvent::CallJoined(joined));
        Ok(reply)
    }

    fn offer(&mut self, seat: Seat, offer: wire::OfferRequest) -> Result<String, CallError> {
        if let Some(to) = &offer.to {
            let sdp = offer.sdp;
            self.relay(seat.session, to, |call_id, from| {
                CallServerEvent::Offer(wire::RelayedDescription { call_id, from, sdp })
            })?;
        } else {
            let number =
                self.call.participant_with_session(seat.session).ok_or(CallError::NotInCall)?;
            self.answer_offer(number, seat, offer)?;
        }
        Ok(done())
    }

    /// Passes something on to another participant.
    fn relay(
        &self,
        from: SessionId,
        to: &str,
        news: impl FnOnce(CallId, String) -> CallServerEvent,
    ) -> Result<(), CallError> {
        let (from, to) = self.call.signalling_route(from, to)?;
        self.seed
            .tell(&EventTarget::Participant(to), news(self.call.id(), format_participant_id(from)));
        Ok(())
    }
}

/// A session is no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::calls) struct SessionLost(pub(in crate::actors::calls) SessionId);

impl Handler<SessionLost> for CallRoom {
    type Result = ();

    fn handle(&mut self, SessionLost(session): SessionLost, ctx: &mut Self::Context) {
        if self.call.ended().is_none() {
            self.call.session_lost(session, self.seed.deeds.clock().now());
            self.step(ctx);
        }
    }
}

/// The node stops: the call ends.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::calls) struct EndCall;

impl Handler<EndCall> for CallRoom {
    type Result = ();

    fn handle(&mut self, _: EndCall, ctx: &mut Self::Context) {
        if self.call.ended().is_none() {
            self.call.end(wire::CallEndReason::Failed);
            self.step(ctx);
        }
    }
}

/// How media travels.
#[derive(Message)]
#[rtype(result = "wire::CallTopology")]
pub(in crate::actors::calls) struct GetMode;

impl Handler<GetMode> for CallRoom {
    type Result = MessageResult<GetMode>;

    fn handle(&mut self, _: GetMode, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.call.mode())
    }
}

/// How operators see it.
#[derive(Message)]
#[rtype(result = "wire::CallView")]
pub(in crate::actors::calls) struct GetView;

impl Handler<GetView> for CallRoom {
    type Result = MessageResult<GetView>;

    fn handle(&mut self, _: GetView, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.view(ctx.path()))
    }
}
