//! The way of a request to the node that has the call.

use std::time::Duration;

use base::ids::{CallId, NodeId, SessionId};
use serde_json::value::RawValue;

use super::Calls;
use crate::actors::peer_nodes::PATIENCE;
use crate::cluster::BusError;
use crate::domain::accounts::{CallGrant, Principal};
use crate::domain::calls::{CallError, Seat};
use crate::protocol::calls::Role;
use crate::protocol::client::{CallEvent, ClientEvent};
use crate::protocol::cluster::{CallAsk, CallPass, CallReply, NodeRequest};

/// How often a call that moves is looked for again, and how long is waited before: a little over
/// the time in which a node's death is certified.
const TRIES: u32 = 60;
const PAUSE: Duration = Duration::from_millis(50);

/// Who asks, and how far the question has come.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) me: &'a Principal,
    pub(super) seat: Seat,
    /// Another node passed it on: it is not passed on again.
    pub(super) passed_on: bool,
}

impl Calls {
    /// Answers a device; the JSON of what is to be replied.
    ///
    /// # Errors
    /// What is wrong with the request, or [`CallError::Unavailable`].
    pub async fn answer(
        &self,
        me: &Principal,
        session: SessionId,
        event: CallEvent,
    ) -> Result<String, CallError> {
        let asker = Asker { me, seat: self.seat(me, session), passed_on: false };
        for attempt in 0..TRIES {
            match self.answer_here(asker, event.clone()).await {
                Err(CallError::Moved) => tokio::time::sleep(PAUSE * attempt.min(4)).await,
                answer => return answer,
            }
        }
        Err(CallError::Unavailable)
    }

    /// Passes a request on to the node that has the call.
    pub(super) async fn pass_on(
        &self,
        node: NodeId,
        call: CallId,
        asker: Asker<'_>,
        event: &CallEvent,
    ) -> Result<String, CallError> {
        if asker.passed_on {
            return Err(CallError::Moved);
        }
        let pass = asker.me.pass.as_ref().map(|pass| CallPass {
            session: pass.session.clone(),
            role: if pass.moderates { Role::Moderator } else { Role::Participant },
        });
        let ask = NodeRequest::Call(Box::new(CallAsk {
            seat: asker.seat,
            name: asker.me.name.clone(),
            pass,
            event: event.name().to_owned(),
            data: event.data(),
        }));
        match self.neighbours.ask(node, &ask, PATIENCE).await {
            Ok(CallReply::Done(reply)) => Ok(reply.get().to_owned()),
            Ok(CallReply::Refused(error)) => Err(error),
            Ok(CallReply::Elsewhere) => {
                self.board.over_there(node, call); // the directory knows
                Err(CallError::Moved)
            }
            Err(BusError::NoRoute) => {
                self.gone(node).await;
                Err(CallError::Moved)
            }
            Err(BusError::Timeout | BusError::Disconnected | BusError::Overloaded) => {
                Err(CallError::Unavailable)
            }
        }
    }

    /// Answers what another node passed on.
    pub async fn answer_for(&self, ask: CallAsk) -> CallReply<CallError> {
        let CallAsk { seat, name, pass, event, data } = ask;
        let Ok(ClientEvent::Call(event)) = ClientEvent::parse(&event, data.get()) else {
            return CallReply::Refused(CallError::Unavailable); // a newer version's
        };
        let me = Principal {
            user: seat.user,
            device: seat.device,
            name,
            phone: String::new(), // what calls do not ask for stays where it is
            role: store::Role::User,
            pass: pass.map(|pass| CallGrant {
                session: pass.session,
                moderates: pass.role == Role::Moderator,
            }),
        };
        let asker = Asker { me: &me, seat, passed_on: true };
        match self.answer_here(asker, event).await {
            Ok(reply) => match RawValue::from_string(reply) {
                Ok(reply) => CallReply::Done(reply),
                Err(_) => CallReply::Refused(CallError::Unavailable),
            },
            Err(CallError::Moved) => CallReply::Elsewhere,
            Err(error) => CallReply::Refused(error.travelling()),
        }
    }
}
