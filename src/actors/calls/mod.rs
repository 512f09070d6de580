//! Calls: the way to every room, here or at another node, and rooms themselves.

mod call_index;
mod claim;
mod forwarding;
mod migration;
mod requests;
mod room;
#[cfg(test)]
mod tests;

pub use room::CallRoom;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use base::ids::{CallId, NodeId, SessionId, UserId};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use self::call_index::{CallIndex, LocatedCall};
use self::room::{EndCall, SessionLost};
use super::peer_nodes::{PeerNodes, REQUEST_TIMEOUT};
use super::sessions::EventRouter;
use super::supervision::{ActorRef, DynamicSupervisor};
use crate::cluster::OwnershipDirectory;
use crate::domain::accounts::Principal;
use crate::domain::calls::{CallDomain as Deeds, Seat};
use crate::protocol::calls::{self as wire, IncomingCall};
use crate::protocol::cluster::{
    NodeEvent, NodeLoad, NodeRequest, NodeStateChange, RemoteCallSummary,
};

/// Finds, begins and asks calls; cheap to clone.
#[derive(Clone)]
pub struct CallService {
    nursery: DynamicSupervisor<CallRoom>,
    board: CallIndex,
    /// Places for devices in all calls.
    places: Arc<Semaphore>,
    switchboard: EventRouter,
    neighbours: PeerNodes,
    directory: Arc<dyn OwnershipDirectory>,
    /// The deeds of calls.
    pub domain: Deeds,
    media: super::media::MediaServiceConfig,
    next_thread: Arc<AtomicUsize>,
}

/// What [`CallService`] is made of.
pub struct CallServiceDeps {
    /// Where rooms live.
    pub rooms: DynamicSupervisor<CallRoom>,
    /// The way to people.
    pub event_router: EventRouter,
    /// The other nodes.
    pub peer_nodes: PeerNodes,
    /// Which node has which call.
    pub directory: Arc<dyn OwnershipDirectory>,
    /// The deeds of calls.
    pub domain: Deeds,
    /// What rooms share.
    pub media: super::media::MediaServiceConfig,
}

impl CallService {
    /// Puts the parts together.
    pub fn new(parts: CallServiceDeps) -> Self {
        let CallServiceDeps {
            rooms,
            event_router: switchboard,
            peer_nodes: neighbours,
            directory,
            domain,
            media,
        } = parts;
        Self {
            nursery: rooms,
            board: CallIndex::new(neighbours.clone()),
            places: Arc::new(Semaphore::new(domain.config().max_participants_per_node)),
            switchboard,
            neighbours,
            directory,
            domain,
            media,
            next_thread: Arc::default(),
        }
    }

    /// Whether this person is in another call, with a device that is there.
    fn is_busy(&self, user: UserId, but: Option<CallId>) -> bool {
        let mut seats = self.board.seats_of(user, but).into_iter();
        seats.any(|seat| {
            if seat.node == self.neighbours.local_node() {
                self.switchboard.is_attached(seat.user, seat.session)
            } else {
                self.neighbours.is_live(seat.node)
            }
        })
    }

    /// What a device is told that comes while it rings.
    pub fn ringing(&self, user: UserId) -> Vec<IncomingCall> {
        self.board.ringing(user)
    }

    /// A session of this node is no more: it leaves its calls, wherever they go on.
    pub fn on_session_lost(&self, session: SessionId) {
        if self.switchboard.is_draining() && !self.neighbours.is_alone() {
            return; // its device joins again at another node, as the participant it is
        }
        for found in self.board.of_session(session) {
            if let Some(node) = found.remote_node() {
                self.neighbours.tell(node, &NodeEvent::Lost(session));
            }
        }
        self.on_session_lost_local(session);
    }

    /// The same, in calls that go on here.
    pub fn on_session_lost_local(&self, session: SessionId) {
        for (_, room) in self.rooms_of(session) {
            let _ = room.tell_control(SessionLost(session)); // a room that is gone has nobody in it
        }
    }

    /// Ends all calls, and lets none begin: whoever is in them hears it, and it is in history when
    /// this returns, unless that takes longer than `deadline`. Gives how many are not over then.
    pub async fn end_all_calls(&self, deadline: Duration) -> usize {
        self.board.close();
        let finish = |call: LocatedCall| async move {
            if let Ok(room) = call.room().await {
                let _ = room.tell_control(EndCall); // gone: it is over
            }
        };
        let over = async {
            join_all(self.board.all().into_iter().map(finish)).await;
            while !self.nursery.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(deadline, over).await; // what is left is counted
        self.nursery.len()
    }

    fn rooms_of(&self, session: SessionId) -> Vec<(CallId, ActorRef<CallRoom>)> {
        let ids: Vec<_> =
            self.board.of_session(session).into_iter().map(|found| found.id).collect();
        self.board.rooms().into_iter().filter(|(id, _)| ids.contains(id)).collect()
    }

    /// What goes on: all of it, or what one person is in.
    pub fn stats(&self, of: Option<UserId>) -> wire::CallStats {
        let (active_calls, total_active_calls) = self.board.active(of);
        let connected_users = self.switchboard.connected_users();
        wire::CallStats { active_calls, total_active_calls, connected_users }
    }

    /// All calls of all nodes, as operators see them.
    pub async fn views(&self) -> Vec<wire::CallView> {
        let mut views = self.local_views().await;
        for node in self.neighbours.nodes() {
            match self.neighbours.ask(node, &NodeRequest::Calls, REQUEST_TIMEOUT).await {
                Ok(more) => views.extend::<Vec<_>>(more),
                Err(error) => tracing::warn!(%error, %node, "call list request to peer failed"),
            }
        }
        views.sort_by_key(|view| view.call_id);
        views
    }

    /// How many rooms of this node were handed over and still play.
    pub fn lingering_rooms(&self) -> usize {
        self.nursery.len().saturating_sub(self.board.ids(false).len())
    }

    /// The calls of this node.
    pub async fn local_views(&self) -> Vec<wire::CallView> {
        let mut views = Vec::new();
        for (_, room) in self.board.rooms() {
            if let Ok(view) = room.ask(room::GetView).await {
                views.push(view);
            }
        }
        views
    }

    /// The ids of all calls that go on, here and at other nodes.
    pub fn ids(&self) -> Vec<CallId> {
        self.board.ids(true)
    }

    /// What this node carries.
    pub fn load(&self) -> NodeLoad {
        let (calls, participants) = self.board.load();
        let people = self.switchboard.local_connected_users() as u64;
        NodeLoad { calls: calls as u64, participants: participants as u64, people }
    }

    /// Something about a call is different at another node.
    pub fn on_remote_change(&self, node: NodeId, change: NodeStateChange) {
        match change {
            NodeStateChange::Call(standing) => self.board.stands_there(node, *standing),
            NodeStateChange::CallOver(id) => self.board.over_there(node, id),
            NodeStateChange::Came(_) | NodeStateChange::Went(_) => {} // the neighbours keep that
        }
    }

    /// All calls of another node.
    pub fn set_remote_calls(&self, node: NodeId, calls: Vec<RemoteCallSummary>) {
        self.board.all_there(node, calls);
    }

    fn found(&self, id: CallId) -> Result<LocatedCall, crate::domain::calls::CallError> {
        self.board.by_id(id).ok_or(crate::domain::calls::CallError::NoSuchCall)
    }

    fn seat(&self, me: &Principal, session: SessionId) -> Seat {
        let (user, device, guest) = (me.user, me.device, me.pass.is_some());
        Seat { user, device, session, node: self.neighbours.local_node(), guest }
    }
}
