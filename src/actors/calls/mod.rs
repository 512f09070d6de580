//! Calls: rooms of this node, and the forwarding of requests to the nodes of other rooms.

mod call_index;
mod claim;
mod forwarding;
mod migration;
mod reply;
mod requests;
mod room;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use base::ids::{CallId, NodeId, SessionId, UserId};
use futures_util::future::join_all;
pub use room::CallRoom;
use room::RoomHandle;
use tokio::sync::Semaphore;

use self::call_index::{CallIndex, LocatedCall};
use self::room::{EndCall, SessionLost};
use super::delivery::EventRouter;
use super::peer_nodes::{PeerNodes, REQUEST_TIMEOUT};
use super::supervision::{ActorRef, DynamicSupervisor};
use crate::cluster::OwnershipDirectory;
use crate::domain::calls::{CallDomain, ParticipantLocation};
use crate::domain::identity::Principal;
use crate::protocol::calls::{self as wire, IncomingCall};
use crate::protocol::cluster::{
    NodeEvent, NodeLoad, NodeRequest, NodeStateChange, RemoteCallSummary,
};

/// Starts and finds calls and passes requests to their rooms; cheap to clone.
#[derive(Clone)]
pub struct CallService {
    room_supervisor: DynamicSupervisor<CallRoom>,
    call_index: CallIndex<RoomHandle>,
    /// One permit per participant on this node, over all calls.
    participant_permits: Arc<Semaphore>,
    event_router: EventRouter,
    peer_nodes: PeerNodes,
    directory: Arc<dyn OwnershipDirectory>,
    /// The call domain: rules and database access.
    pub domain: CallDomain,
    media: super::media::MediaServiceConfig,
    next_thread: Arc<AtomicUsize>,
}

/// The dependencies of a [`CallService`].
pub struct CallServiceDeps {
    /// The supervisor of the rooms.
    pub rooms: DynamicSupervisor<CallRoom>,
    /// Routes events to sessions.
    pub event_router: EventRouter,
    /// The other nodes.
    pub peer_nodes: PeerNodes,
    /// Which node owns which call.
    pub directory: Arc<dyn OwnershipDirectory>,
    /// The call domain.
    pub domain: CallDomain,
    /// What the SFU rooms share.
    pub media: super::media::MediaServiceConfig,
}

impl CallService {
    /// Creates the service without calls.
    pub fn new(deps: CallServiceDeps) -> Self {
        let CallServiceDeps { rooms, event_router, peer_nodes, directory, domain, media } = deps;
        Self {
            room_supervisor: rooms,
            call_index: CallIndex::new(peer_nodes.clone()),
            participant_permits: Arc::new(Semaphore::new(
                domain.config().max_participants_per_node,
            )),
            event_router,
            peer_nodes,
            directory,
            domain,
            media,
            next_thread: Arc::default(),
        }
    }

    /// Whether the user is in another call with a device that is connected.
    fn is_busy(&self, user: UserId, but: Option<CallId>) -> bool {
        let mut participations = self.call_index.participations_of(user, but).into_iter();
        participations.any(|location| {
            if location.node == self.peer_nodes.local_node() {
                self.event_router.is_attached(location.user, location.session)
            } else {
                self.peer_nodes.is_live(location.node)
            }
        })
    }

    /// The calls that ring for a user, sent to a device that connects meanwhile.
    pub fn ringing(&self, user: UserId) -> Vec<IncomingCall> {
        self.call_index.ringing(user)
    }

    /// A session of this node has ended: it leaves its calls, on whichever node they are.
    pub fn on_session_lost(&self, session: SessionId) {
        if self.event_router.is_draining() && !self.peer_nodes.is_alone() {
            return; // its device rejoins through another node as the same participant
        }
        for located in self.call_index.of_session(session) {
            if let Some(node) = located.remote_node() {
                self.peer_nodes.tell(node, &NodeEvent::SessionEnded(session));
            }
        }
        self.on_session_lost_local(session);
    }

    /// As [`CallService::on_session_lost`], for the calls of this node only.
    pub fn on_session_lost_local(&self, session: SessionId) {
        for (_, room) in self.rooms_of(session) {
            // a room that is gone has no participants
            let _ = room.tell_control(SessionLost(session));
        }
    }

    /// Ends all calls and refuses new ones. When this returns, participants were notified and the
    /// ends are in the call history, unless that takes longer than `deadline`. Returns the number
    /// of rooms that are still running then.
    pub async fn end_all_calls(&self, deadline: Duration) -> usize {
        self.call_index.close();
        let end_call = |call: LocatedCall<RoomHandle>| async move {
            if let Ok(room) = call.room().await {
                let _ = room.tell_control(EndCall); // fails only if the room has ended
            }
        };
        let all_ended = async {
            join_all(self.call_index.all().into_iter().map(end_call)).await;
            while !self.room_supervisor.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(deadline, all_ended).await; // what is left is counted below
        self.room_supervisor.len()
    }

    fn rooms_of(&self, session: SessionId) -> Vec<(CallId, ActorRef<CallRoom>)> {
        let ids: Vec<_> =
            self.call_index.of_session(session).into_iter().map(|located| located.id).collect();
        self.call_index.rooms().into_iter().filter(|(id, _)| ids.contains(id)).collect()
    }

    /// The active calls: all of them, or those of one user.
    pub fn stats(&self, of: Option<UserId>) -> wire::CallStats {
        let (active_calls, total_active_calls) = self.call_index.active(of);
        let connected_users = self.event_router.connected_users();
        wire::CallStats { active_calls, total_active_calls, connected_users }
    }

    /// All calls of all nodes, for operators.
    pub async fn views(&self) -> Vec<wire::CallView> {
        let mut views = self.local_views().await;
        for node in self.peer_nodes.nodes() {
            match self.peer_nodes.ask(node, &NodeRequest::Calls, REQUEST_TIMEOUT).await {
                Ok(more) => views.extend::<Vec<_>>(more),
                Err(error) => tracing::warn!(%error, %node, "call list request to peer failed"),
            }
        }
        views.sort_by_key(|view| view.call_id);
        views
    }

    /// Number of rooms that were handed off and still forward media.
    pub fn lingering_rooms(&self) -> usize {
        self.room_supervisor.len().saturating_sub(self.call_index.ids(false).len())
    }

    /// The calls of this node, for operators.
    pub async fn local_views(&self) -> Vec<wire::CallView> {
        let mut views = Vec::new();
        for (_, room) in self.call_index.rooms() {
            if let Ok(view) = room.ask(room::GetView).await {
                views.push(view);
            }
        }
        views
    }

    /// The ids of all calls of all nodes.
    pub fn ids(&self) -> Vec<CallId> {
        self.call_index.ids(true)
    }

    /// The load of this node.
    pub fn load(&self) -> NodeLoad {
        let (calls, participants) = self.call_index.load();
        let people = self.event_router.local_connected_users() as u64;
        NodeLoad { calls: calls as u64, participants: participants as u64, people }
    }

    /// Applies a change of a call on another node.
    pub fn on_remote_change(&self, node: NodeId, change: NodeStateChange) {
        match change {
            NodeStateChange::Call(summary) => self.call_index.update_remote(node, *summary),
            NodeStateChange::CallRemoved(id) => self.call_index.remove_remote(node, id),
            // presence is handled by `PeerNodes`
            NodeStateChange::UserConnected(_) | NodeStateChange::UserDisconnected(_) => {}
        }
    }

    /// Replaces the known calls of another node.
    pub fn set_remote_calls(&self, node: NodeId, calls: Vec<RemoteCallSummary>) {
        self.call_index.replace_remote(node, calls);
    }

    fn located(
        &self,
        id: CallId,
    ) -> Result<LocatedCall<RoomHandle>, crate::domain::calls::CallError> {
        self.call_index.by_id(id).ok_or(crate::domain::calls::CallError::CallNotFound)
    }

    fn location_of(&self, principal: &Principal, session: SessionId) -> ParticipantLocation {
        let (user, device, guest) =
            (principal.user, principal.device, principal.call_grant.is_some());
        ParticipantLocation { user, device, session, node: self.peer_nodes.local_node(), guest }
    }
}
