//! What a room may be asked: by sessions and by operators.

use actix::{Handler, Message, MessageResult};
use base::ids::{CallId, SessionId};
use tokio::sync::OwnedSemaphorePermit;

use super::Room;
use crate::actors::calls::requests::{done, json};
use crate::domain::calls::{CallError, Callee, EventTarget, Seat, participant_name};
use crate::protocol::calls as wire;
use crate::protocol::server::CallServerEvent;

/// A device asks something; the answer is the JSON of its reply.
#[derive(Message)]
#[rtype(result = "Result<String, CallError>")]
pub(in crate::actors::calls) struct Ask {
    pub(in crate::actors::calls) seat: Seat,
    /// How the person calls themselves.
    pub(in crate::actors::calls) name: String,
    pub(in crate::actors::calls) what: What,
}

/// What it asks.
pub(in crate::actors::calls) enum What {
    Accept,
    Decline,
    Cancel,
    /// Whether [`What::Invite`] would be done: it is written down in between.
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

impl Handler<Ask> for Room {
    type Result = Result<String, CallError>;

    fn handle(&mut self, ask: Ask, ctx: &mut Self::Context) -> Self::Result {
        if self.call.ended().is_some() {
            return Err(CallError::NoSuchCall);
        }
        if self.keep.is_moving() || !self.seed.is_sure() {
            return Err(CallError::Moved);
        }
        let answer = self.answer(ask);
        self.step(ctx);
        answer
    }
}

impl Room {
    fn answer(&mut self, Ask { seat, name, what }: Ask) -> Result<String, CallError> {
        let now = self.seed.deeds.clock().now();
        let known = self.call.concerns(seat.user) || self.call.who(seat.session).is_some();
        if !known && !matches!(what, What::Join { role: Some(_), .. }) {
            return Err(CallError::NoSuchCall);
        }
        match what {
            What::Accept => self.call.accept(seat.user, now)?,
            What::Decline => self.call.decline(seat.user)?,
            What::Cancel => self.call.cancel(seat.user)?,
            What::MayInvite(callee) => self.call.may_invite(seat.session, &callee)?,
            What::Invite(callee) => {
                self.call.invite(seat.session, &callee, now)?;
            }
            What::Join { role, resume, permit } => {
                return self.join(seat, &name, role, resume, permit);
            }
            What::Leave => self.call.leave(seat, now)?,
            What::Upgrade => {
                self.call.who(seat.session).ok_or(CallError::NotInCall)?;
                self.call.upgrade();
            }
            What::Offer(offer) => return self.offer(seat, offer),
            What::Answer(wire::AnswerRequest { to, sdp, .. }) => {
                self.relay(seat.session, &to, |call_id, from| {
                    CallServerEvent::Answer(wire::RelayedDescription { call_id, from, sdp })
                })?;
            }
            What::IceCandidate(wire::IceCandidateRequest { to: Some(to), candidate, .. }) => {
                self.relay(seat.session, &to, |call_id, from| {
                    CallServerEvent::IceCandidate(wire::RelayedCandidate {
                        call_id,
                        from,
                        candidate,
                    })
                })?;
            }
            // The server finds the way to a device by its checks (RFC 8445 §7.3.1.3).
            What::IceCandidate(_) => {
                self.call.who(seat.session).ok_or(CallError::NotInCall)?;
            }
            What::Mute(media, muted) => self.call.mute(seat.session, media, muted)?,
            What::SetLayer(layer) => self.limit(seat.session, &layer)?,
            What::Moderate(moderate) => {
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
        let mut joined = self.call.joined(number);
        joined.tracks = self.tracks();
        joined.ice_servers = self.seed.deeds.ice.servers(seat.user);
        let reply = json(&joined);
        self.seed.tell(&EventTarget::Seat(seat), CallServerEvent::CallJoined(joined));
        Ok(reply)
    }

    fn offer(&mut self, seat: Seat, offer: wire::OfferRequest) -> Result<String, CallError> {
        if let Some(to) = &offer.to {
            let sdp = offer.sdp;
            self.relay(seat.session, to, |call_id, from| {
                CallServerEvent::Offer(wire::RelayedDescription { call_id, from, sdp })
            })?;
        } else {
            let number = self.call.who(seat.session).ok_or(CallError::NotInCall)?;
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
        let (from, to) = self.call.passage(from, to)?;
        self.seed.tell(&EventTarget::Seat(to), news(self.call.id(), participant_name(from)));
        Ok(())
    }
}

/// A session is no more.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::calls) struct Lost(pub(in crate::actors::calls) SessionId);

impl Handler<Lost> for Room {
    type Result = ();

    fn handle(&mut self, Lost(session): Lost, ctx: &mut Self::Context) {
        if self.call.ended().is_none() {
            self.call.lost(session, self.seed.deeds.clock().now());
            self.step(ctx);
        }
    }
}

/// The node stops: the call ends.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::calls) struct Finish;

impl Handler<Finish> for Room {
    type Result = ();

    fn handle(&mut self, _: Finish, ctx: &mut Self::Context) {
        if self.call.ended().is_none() {
            self.call.end(wire::CallEndReason::Failed);
            self.step(ctx);
        }
    }
}

/// How media travels.
#[derive(Message)]
#[rtype(result = "wire::CallTopology")]
pub(in crate::actors::calls) struct Mode;

impl Handler<Mode> for Room {
    type Result = MessageResult<Mode>;

    fn handle(&mut self, _: Mode, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.call.mode())
    }
}

/// How operators see it.
#[derive(Message)]
#[rtype(result = "wire::CallView")]
pub(in crate::actors::calls) struct View;

impl Handler<View> for Room {
    type Result = MessageResult<View>;

    fn handle(&mut self, _: View, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.view(ctx.path()))
    }
}
