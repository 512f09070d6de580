//! The other nodes: who is where, which calls go on where, and the way there.
//!
//! Each node writes what is its own and tells the others what changed, counted; whoever misses a
//! number asks for the whole. Until the whole of a node is known it is told everything.

mod local_state;
mod peer_table;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ids::{CallId, NodeId, SessionId, UserId};
use tokio::sync::Notify;

use self::local_state::LocalState;
use self::peer_table::PeerTable;
pub use self::peer_table::{RemotePresenceGuard, RemotePresenceHook};
use crate::cluster::{Bus, BusError, BusState};
use crate::protocol::cluster::{
    ConversationHead, DeliverToSession, DeliverToUsers, Heartbeat, NodeEvent, NodeLoad,
    NodeRequest, NodeStateChange, NodeStateDelta, NodeStateSnapshot, Priority, RawEvent,
    RemoteCallSummary, SequencePosition,
};
use crate::telemetry::metrics::dropped;

/// The other nodes; cheap to clone.
#[derive(Clone)]
pub struct PeerNodes(Arc<PeerNodesInner>);

struct PeerNodesInner {
    bus: Arc<dyn Bus>,
    own: Mutex<LocalState>,
    others: Mutex<PeerTable>,
    /// Whether there are any: most servers are alone, and then nothing here costs anything.
    any: AtomicBool,
    /// There is something to tell the others, or to ask them.
    stirred: Notify,
}

impl PeerNodes {
    /// Nobody is known yet.
    pub fn new(bus: Arc<dyn Bus>) -> Self {
        Self(Arc::new(PeerNodesInner {
            bus,
            own: Mutex::default(),
            others: Mutex::default(),
            any: AtomicBool::new(false),
            stirred: Notify::new(),
        }))
    }

    /// Who wants to know of everybody who is at another node: what `greeting` makes of them is kept
    /// until they are gone.
    pub fn set_presence_hook(&self, greeting: RemotePresenceHook) {
        self.others().greeting = Some(greeting);
    }

    /// This node.
    pub fn local_node(&self) -> NodeId {
        self.0.bus.me()
    }

    fn own(&self) -> MutexGuard<'_, LocalState> {
        self.0.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self) -> MutexGuard<'_, PeerTable> {
        self.0.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no other node is known.
    pub fn is_alone(&self) -> bool {
        !self.0.any.load(Ordering::Acquire)
    }

    /// Whether the way to the others is open, both ways.
    pub fn is_up(&self) -> bool {
        *self.0.bus.state().borrow() == BusState::Up
    }

    /// Waits until there is something to tell or to ask.
    pub async fn changed(&self) {
        self.0.stirred.notified().await;
    }

    fn note(&self, change: NodeStateChange) {
        let listeners = !self.is_alone();
        self.own().note(change, listeners);
        if listeners {
            self.0.stirred.notify_one();
        }
    }

    /// The first device of somebody is here, or the last one is gone.
    pub fn set_connected(&self, user: UserId, here: bool) {
        self.note(if here { NodeStateChange::Came(user) } else { NodeStateChange::Went(user) });
    }

    /// How a call that goes on here stands.
    pub fn publish_call(&self, standing: RemoteCallSummary) {
        self.note(NodeStateChange::Call(Box::new(standing)));
    }

    /// A call does not go on here any more.
    pub fn remove_call(&self, id: CallId) {
        self.note(NodeStateChange::CallOver(id));
    }

    /// All that the others are to know of this node.
    pub fn snapshot(&self) -> NodeStateSnapshot {
        self.own().snapshot()
    }

    /// Tells the others what changed since the last time.
    pub fn publish_changes(&self) {
        let mut own = self.own(); // held, so that numbers go out in order
        if let Some(changes) = own.changes() {
            self.publish(&NodeEvent::Changes(changes));
        }
    }

    /// Gives every other node a sign of life.
    pub fn send_heartbeat(&self, load: NodeLoad, takes_rooms: bool) {
        let version = self.own().version();
        let beat = NodeEvent::Heartbeat(Heartbeat { version, load, takes_rooms });
        for node in self.nodes() {
            self.tell(node, &beat);
        }
    }

    /// What another node carries, from its last sign of life.
    pub fn on_heartbeat(&self, from: NodeId, beat: &Heartbeat) {
        if self.others().beat(from, beat) {
            self.0.stirred.notify_one();
        }
    }

    /// What changed at another node; the part that concerns calls.
    pub fn on_state_delta(&self, from: NodeId, changes: NodeStateDelta) -> Vec<NodeStateChange> {
        let Some(changes) = self.others().apply(from, changes) else {
            self.0.stirred.notify_one(); // a number is missing
            return Vec::new();
        };
        changes
    }

    /// Takes the nodes that live, and gives those that do not any more; they are to be forgotten.
    pub fn set_members(&self, living: &HashSet<NodeId>) -> Vec<NodeId> {
        let mut others = self.others();
        let gone = others.roster(self.local_node(), living);
        self.0.any.store(!others.is_empty(), Ordering::Release);
        if others.lacking().next().is_some() {
            self.0.stirred.notify_one();
        }
        gone
    }

    /// A node is dead; false if that was known.
    pub fn remove(&self, node: NodeId) -> bool {
        let mut others = self.others();
        let known = others.forget(node);
        self.0.any.store(!others.is_empty(), Ordering::Release);
        known
    }

    /// Whether this node is known to live.
    pub fn is_live(&self, node: NodeId) -> bool {
        node == self.local_node() || self.others().knows(node)
    }

    /// All other nodes.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.others().nodes().collect()
    }

    /// The nodes of which not everything is known.
    pub fn nodes_without_snapshot(&self) -> Vec<NodeId> {
        self.others().lacking().collect()
    }

    /// Asks a node for the whole; the calls that go on there, and what became of them since.
    ///
    /// # Errors
    /// The bus's.
    pub async fn fetch_snapshot(
        &self,
        node: NodeId,
    ) -> Result<(Vec<RemoteCallSummary>, Vec<NodeStateChange>), BusError> {
        let whole: NodeStateSnapshot =
            self.ask(node, &NodeRequest::Snapshot, REQUEST_TIMEOUT).await?;
        Ok(self.others().replace(node, whole))
    }

    /// What the nodes carry, and which take new rooms: the others.
    pub fn loads(&self) -> HashMap<NodeId, (NodeLoad, bool)> {
        self.others().loads()
    }

    /// People who are connected elsewhere and not here.
    pub fn remote_users(&self, is_here: impl Fn(UserId) -> bool) -> usize {
        self.others().people().filter(|user| !is_here(**user)).count()
    }

    /// Tells the sessions of these people on other nodes.
    pub fn deliver(&self, people: &[UserId], urgency: Priority, event: impl Fn() -> RawEvent) {
        if self.is_alone() {
            return;
        }
        let by_node = self.others().split(people);
        for (node, to) in by_node {
            self.tell(node, &NodeEvent::Deliver(DeliverToUsers { to, event: event(), urgency }));
        }
    }

    /// Tells the sessions of these people on other nodes how far a conversation is.
    pub fn publish_head(&self, people: &[UserId], place: SequencePosition, passed: bool) {
        if self.is_alone() {
            return;
        }
        let by_node = self.others().split(people);
        for (node, to) in by_node {
            self.tell(node, &NodeEvent::Known(ConversationHead { to, place, passed }));
        }
    }

    /// Tells one session on another node.
    pub fn deliver_to_session(
        &self,
        node: NodeId,
        user: UserId,
        session: SessionId,
        event: RawEvent,
    ) {
        self.tell(node, &NodeEvent::DeliverTo(DeliverToSession { user, session, event }));
    }

    /// Tells one node. What cannot be told is counted; the bus makes the other look for it.
    pub fn tell(&self, node: NodeId, event: &NodeEvent) {
        if self.0.bus.tell(node, event).is_err() {
            dropped("bus");
        }
    }

    /// Tells all other nodes, as [`PeerNodes::tell`].
    pub fn publish(&self, event: &NodeEvent) {
        if self.is_alone() {
            return;
        }
        if self.0.bus.publish(event).is_err() {
            dropped("bus");
        }
    }

    /// Asks a node; the answer has the shape that the request names.
    ///
    /// # Errors
    /// The bus's; an answer of another shape counts as none.
    pub async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        node: NodeId,
        request: &NodeRequest,
        patience: Duration,
    ) -> Result<T, BusError> {
        let answer = self.0.bus.ask(node, request, patience).await?;
        serde_json::from_str(&answer).map_err(|error| {
            tracing::warn!(%error, "invalid reply from peer node");
            BusError::Timeout
        })
    }
}

/// How long another node may take to answer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
