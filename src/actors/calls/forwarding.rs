//! Forwarding of a request to the node that owns the call.

use std::time::Duration;

use base::ids::{CallId, NodeId, SessionId};
use serde_json::value::RawValue;

use super::CallService;
use crate::actors::peer_nodes::REQUEST_TIMEOUT;
use crate::cluster::BusError;
use crate::domain::calls::{CallError, ParticipantLocation};
use crate::domain::identity::{CallGrant, Principal};
use crate::limits::MAX_FORWARD_ATTEMPTS;
use crate::protocol::calls::CallRole;
use crate::protocol::client::{CallClientEvent, ClientEvent};
use crate::protocol::cluster::{
    ForwardedCallGrant, ForwardedCallReply, ForwardedCallRequest, NodeRequest,
};

const FORWARD_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Who sent a request, and whether it was forwarded.
#[derive(Clone, Copy)]
pub(super) struct CallRequester<'a> {
    pub(super) principal: &'a Principal,
    pub(super) location: ParticipantLocation,
    /// Another node forwarded it: it is not forwarded again.
    pub(super) is_forwarded: bool,
}

impl CallService {
    /// Handles a request of a device and returns the JSON of the reply.
    ///
    /// # Errors
    /// The error of the request, or [`CallError::Unavailable`].
    pub async fn handle_request(
        &self,
        principal: &Principal,
        session: SessionId,
        event: CallClientEvent,
    ) -> Result<String, CallError> {
        let requester = CallRequester {
            principal,
            location: self.location_of(principal, session),
            is_forwarded: false,
        };
        for attempt in 0..MAX_FORWARD_ATTEMPTS {
            match self.handle_request_local(requester, event.clone()).await {
                Err(CallError::Migrating) => {
                    tokio::time::sleep(FORWARD_RETRY_DELAY * attempt.min(4)).await
                }
                result => return result,
            }
        }
        Err(CallError::Unavailable)
    }

    /// Forwards a request to the node that owns the call.
    pub(super) async fn forward(
        &self,
        node: NodeId,
        call: CallId,
        requester: CallRequester<'_>,
        event: &CallClientEvent,
    ) -> Result<String, CallError> {
        if requester.is_forwarded {
            return Err(CallError::Migrating);
        }
        let pass = requester.principal.call_grant.as_ref().map(|pass| ForwardedCallGrant {
            session: pass.session.clone(),
            role: if pass.is_moderator { CallRole::Moderator } else { CallRole::Participant },
        });
        let request = NodeRequest::Call(Box::new(ForwardedCallRequest {
            participant: requester.location,
            name: requester.principal.name.clone(),
            grant: pass,
            event: event.name().to_owned(),
            data: event.data(),
        }));
        match self.peer_nodes.ask(node, &request, REQUEST_TIMEOUT).await {
            Ok(ForwardedCallReply::Done(reply)) => Ok(reply.get().to_owned()),
            Ok(ForwardedCallReply::Rejected(error)) => Err(error),
            Ok(ForwardedCallReply::CallNotHere) => {
                self.call_index.remove_remote(node, call); // the directory has the current owner
                Err(CallError::Migrating)
            }
            Err(BusError::NodeUnreachable) => {
                self.on_node_death(node).await;
                Err(CallError::Migrating)
            }
            Err(BusError::Timeout | BusError::Disconnected | BusError::Overloaded) => {
                Err(CallError::Unavailable)
            }
        }
    }

    /// Answers a request forwarded by another node.
    pub async fn handle_forwarded(
        &self,
        request: ForwardedCallRequest,
    ) -> ForwardedCallReply<CallError> {
        let ForwardedCallRequest { participant: location, name, grant, event, data } = request;
        let Ok(ClientEvent::Call(event)) = ClientEvent::parse(&event, data.get()) else {
            return ForwardedCallReply::Rejected(CallError::Unavailable); // sent by a newer version
        };
        let principal = Principal {
            user: location.user,
            device: location.device,
            name,
            phone: String::new(), // calls do not need it, so it is not sent to other nodes
            role: store::Role::User,
            call_grant: grant.map(|grant| CallGrant {
                session: grant.session,
                is_moderator: grant.role == CallRole::Moderator,
            }),
        };
        let requester = CallRequester { principal: &principal, location, is_forwarded: true };
        match self.handle_request_local(requester, event).await {
            Ok(reply) => match RawValue::from_string(reply) {
                Ok(reply) => ForwardedCallReply::Done(reply),
                Err(_) => ForwardedCallReply::Rejected(CallError::Unavailable),
            },
            Err(CallError::Migrating) => ForwardedCallReply::CallNotHere,
            Err(error) => ForwardedCallReply::Rejected(error.without_internals()),
        }
    }
}
