//! The way of a request to the node that has the call.

use std::time::Duration;

use base::ids::{CallId, NodeId, SessionId};
use serde_json::value::RawValue;

use super::CallService;
use crate::actors::peer_nodes::REQUEST_TIMEOUT;
use crate::cluster::BusError;
use crate::domain::accounts::{CallGrant, Principal};
use crate::domain::calls::{CallError, Seat};
use crate::protocol::calls::CallRole;
use crate::protocol::client::{CallClientEvent, ClientEvent};
use crate::protocol::cluster::{
    ForwardedCallGrant, ForwardedCallReply, ForwardedCallRequest, NodeRequest,
};

/// How often a call that moves is looked for again, and how long is waited before: a little over
/// the time in which a node's death is certified.
const MAX_FORWARD_ATTEMPTS: u32 = 60;
const FORWARD_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Who asks, and how far the question has come.
#[derive(Clone, Copy)]
pub(super) struct CallRequester<'a> {
    pub(super) me: &'a Principal,
    pub(super) seat: Seat,
    /// Another node passed it on: it is not passed on again.
    pub(super) passed_on: bool,
}

impl CallService {
    /// Answers a device; the JSON of what is to be replied.
    ///
    /// # Errors
    /// What is wrong with the request, or [`CallError::Unavailable`].
    pub async fn handle_request(
        &self,
        me: &Principal,
        session: SessionId,
        event: CallClientEvent,
    ) -> Result<String, CallError> {
        let asker = CallRequester { me, seat: self.seat(me, session), passed_on: false };
        for attempt in 0..MAX_FORWARD_ATTEMPTS {
            match self.answer_here(asker, event.clone()).await {
                Err(CallError::Moved) => {
                    tokio::time::sleep(FORWARD_RETRY_DELAY * attempt.min(4)).await
                }
                answer => return answer,
            }
        }
        Err(CallError::Unavailable)
    }

    /// Passes a request on to the node that has the call.
    pub(super) async fn forward(
        &self,
        node: NodeId,
        call: CallId,
        asker: CallRequester<'_>,
        event: &CallClientEvent,
    ) -> Result<String, CallError> {
        if asker.passed_on {
            return Err(CallError::Moved);
        }
        let pass = asker.me.pass.as_ref().map(|pass| ForwardedCallGrant {
            session: pass.session.clone(),
            role: if pass.moderates { CallRole::Moderator } else { CallRole::Participant },
        });
        let ask = NodeRequest::Call(Box::new(ForwardedCallRequest {
            seat: asker.seat,
            name: asker.me.name.clone(),
            pass,
            event: event.name().to_owned(),
            data: event.data(),
        }));
        match self.neighbours.ask(node, &ask, REQUEST_TIMEOUT).await {
            Ok(ForwardedCallReply::Done(reply)) => Ok(reply.get().to_owned()),
            Ok(ForwardedCallReply::Refused(error)) => Err(error),
            Ok(ForwardedCallReply::Elsewhere) => {
                self.board.over_there(node, call); // the directory knows
                Err(CallError::Moved)
            }
            Err(BusError::NoRoute) => {
                self.on_node_death(node).await;
                Err(CallError::Moved)
            }
            Err(BusError::Timeout | BusError::Disconnected | BusError::Overloaded) => {
                Err(CallError::Unavailable)
            }
        }
    }

    /// Answers what another node passed on.
    pub async fn handle_forwarded(
        &self,
        ask: ForwardedCallRequest,
    ) -> ForwardedCallReply<CallError> {
        let ForwardedCallRequest { seat, name, pass, event, data } = ask;
        let Ok(ClientEvent::Call(event)) = ClientEvent::parse(&event, data.get()) else {
            return ForwardedCallReply::Refused(CallError::Unavailable); // a newer version's
        };
        let me = Principal {
            user: seat.user,
            device: seat.device,
            name,
            phone: String::new(), // what calls do not ask for stays where it is
            role: store::Role::User,
            pass: pass.map(|pass| CallGrant {
                session: pass.session,
                moderates: pass.role == CallRole::Moderator,
            }),
        };
        let asker = CallRequester { me: &me, seat, passed_on: true };
        match self.answer_here(asker, event).await {
            Ok(reply) => match RawValue::from_string(reply) {
                Ok(reply) => ForwardedCallReply::Done(reply),
                Err(_) => ForwardedCallReply::Refused(CallError::Unavailable),
            },
            Err(CallError::Moved) => ForwardedCallReply::Elsewhere,
            Err(error) => ForwardedCallReply::Refused(error.travelling()),
        }
    }
}
