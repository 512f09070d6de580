//! The messages a room handles, from sessions and from operators.

use actix::{Handler, Message, MessageResult};
use base::ids::{CallId, SessionId};
use tokio::sync::OwnedSemaphorePermit;

use super::super::reply::{empty_reply, json};
use super::CallRoom;
use crate::domain::calls::{
    CallError, Callee, EventTarget, ParticipantLocation, format_participant_id,
};
use crate::protocol::calls as wire;
use crate::protocol::server::CallServerEvent;

/// A request of a device; the result is the JSON of its reply.
#[derive(Message)]
#[rtype(result = "Result<String, CallError>")]
pub(in crate::actors::calls) struct RoomRequest {
    pub(in crate::actors::calls) location: ParticipantLocation,
    /// The display name of the user.
    pub(in crate::actors::calls) name: String,
    pub(in crate::actors::calls) command: RoomCommand,
}

/// The commands of a [`RoomRequest`].
pub(in crate::actors::calls) enum RoomCommand {
    Accept,
    Decline,
    Cancel,
    /// Checks [`RoomCommand::Invite`]: the invitation is stored between the two.
    MayInvite(Callee),
    Invite(Callee),
    Join {
        /// The role granted on joining, or `None` if only invitees may join.
        role: Option<wire::CallRole>,
        /// The participant to resume, if the device only lost its socket.
        resume: Option<u32>,
        /// The participant permit of the node.
        permit: OwnedSemaphorePermit,
    },
    Leave,
    Upgrade,
    Offer(wire::OfferRequest),
    Answer(wire::AnswerRequest),
    IceCandidate(wire::IceCandidateRequest),
    /// The participant's own microphone or camera.
    Mute(wire::CallMedia, bool),
    SetLayer(wire::SetLayer),
    Moderate(wire::ModerateRequest),
}

impl Handler<RoomRequest> for CallRoom {
    type Result = Result<String, CallError>;

    fn handle(&mut self, request: RoomRequest, ctx: &mut Self::Context) -> Self::Result {
        if self.call.ended().is_some() {
            return Err(CallError::CallNotFound);
        }
        if self.persistence.is_moving() || !self.context.owns_lease() {
            return Err(CallError::Migrating);
        }
        let reply = self.reply(request);
        self.step(ctx);
        reply
    }
}

impl CallRoom {
    fn reply(
        &mut self,
        RoomRequest { location, name, command }: RoomRequest,
    ) -> Result<String, CallError> {
        let now = self.context.domain.clock().now();
        let is_known = self.call.concerns(location.user)
            || self.call.participant_with_session(location.session).is_some();
        if !is_known && !matches!(command, RoomCommand::Join { role: Some(_), .. }) {
            return Err(CallError::CallNotFound);
        }
        match command {
            RoomCommand::Accept => self.call.accept(location.user, now)?,
            RoomCommand::Decline => self.call.decline(location.user)?,
            RoomCommand::Cancel => self.call.cancel(location.user)?,
            RoomCommand::MayInvite(callee) => self.call.may_invite(location.session, &callee)?,
            RoomCommand::Invite(callee) => {
                self.call.invite(location.session, &callee, now)?;
            }
            RoomCommand::Join { role, resume, permit } => {
                return self.join(location, &name, role, resume, permit);
            }
            RoomCommand::Leave => self.call.leave(location, now)?,
            RoomCommand::Upgrade => {
                self.call.participant_with_session(location.session).ok_or(CallError::NotInCall)?;
                self.call.upgrade();
            }
            RoomCommand::Offer(offer) => return self.offer(location, offer),
            RoomCommand::Answer(wire::AnswerRequest { to, sdp, .. }) => {
                self.relay(location.session, &to, |call_id, from| {
                    CallServerEvent::Answer(wire::RelayedDescription { call_id, from, sdp })
                })?;
            }
            RoomCommand::IceCandidate(wire::IceCandidateRequest {
                to: Some(to),
                candidate,
                ..
            }) => {
                self.relay(location.session, &to, |call_id, from| {
                    CallServerEvent::IceCandidate(wire::RelayedCandidate {
                        call_id,
                        from,
                        candidate,
                    })
                })?;
            }
            // The server learns the path to a device from its connectivity checks (RFC 8445
            // §7.3.1.3).
            RoomCommand::IceCandidate(_) => {
                self.call.participant_with_session(location.session).ok_or(CallError::NotInCall)?;
            }
            RoomCommand::Mute(media, muted) => self.call.mute(location.session, media, muted)?,
            RoomCommand::SetLayer(layer) => self.set_layer_limit(location.session, &layer)?,
            RoomCommand::Moderate(moderate) => {
                let whom = &moderate.participant_id;
                self.call.moderate(location.session, whom, moderate.action, now)?;
            }
        }
        Ok(empty_reply())
    }

    fn join(
        &mut self,
        location: ParticipantLocation,
        name: &str,
        role: Option<wire::CallRole>,
        resume: Option<u32>,
        permit: OwnedSemaphorePermit,
    ) -> Result<String, CallError> {
        let now = self.context.domain.clock().now();
        let number = match resume.filter(|number| self.call.resume(location, *number)) {
            Some(number) => number,
            None => self.call.join(location, name, role.unwrap_or_default(), now)?,
        };
        self.context.keep_permit(number, permit);
        let mut joined = self.call.joined_reply(number);
        joined.tracks = self.tracks();
        joined.ice_servers = self.context.domain.ice.servers(location.user);
        let reply = json(&joined);
        self.context
            .publish(&EventTarget::Participant(location), CallServerEvent::CallJoined(joined));
        Ok(reply)
    }

    fn offer(
        &mut self,
        location: ParticipantLocation,
        offer: wire::OfferRequest,
    ) -> Result<String, CallError> {
        if let Some(to) = &offer.to {
            let sdp = offer.sdp;
            self.relay(location.session, to, |call_id, from| {
                CallServerEvent::Offer(wire::RelayedDescription { call_id, from, sdp })
            })?;
        } else {
            let number =
                self.call.participant_with_session(location.session).ok_or(CallError::NotInCall)?;
            self.answer_offer(number, location, offer)?;
        }
        Ok(empty_reply())
    }

    /// Relays a description or candidate to another participant.
    fn relay(
        &self,
        from: SessionId,
        to: &str,
        event: impl FnOnce(CallId, String) -> CallServerEvent,
    ) -> Result<(), CallError> {
        let (from, to) = self.call.signalling_route(from, to)?;
        self.context.publish(
            &EventTarget::Participant(to),
            event(self.call.id(), format_participant_id(from)),
        );
        Ok(())
    }
}

/// A session has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::calls) struct SessionLost(pub(in crate::actors::calls) SessionId);

impl Handler<SessionLost> for CallRoom {
    type Result = ();

    fn handle(&mut self, SessionLost(session): SessionLost, ctx: &mut Self::Context) {
        if self.call.ended().is_none() {
            self.call.session_lost(session, self.context.domain.clock().now());
            self.step(ctx);
        }
    }
}

/// The node shuts down: the call ends.
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

/// Asks for the topology: p2p or SFU.
#[derive(Message)]
#[rtype(result = "wire::CallTopology")]
pub(in crate::actors::calls) struct GetMode;

impl Handler<GetMode> for CallRoom {
    type Result = MessageResult<GetMode>;

    fn handle(&mut self, _: GetMode, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.call.mode())
    }
}

/// Asks for the operators' view of the call.
#[derive(Message)]
#[rtype(result = "wire::CallView")]
pub(in crate::actors::calls) struct GetView;

impl Handler<GetView> for CallRoom {
    type Result = MessageResult<GetView>;

    fn handle(&mut self, _: GetView, ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.view(ctx.path()))
    }
}
