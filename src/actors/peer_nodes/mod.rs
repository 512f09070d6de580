//! The peer nodes: which users and calls they have, and messages to them.
//!
//! Each node publishes numbered changes of its own state; a peer that misses a number requests a
//! snapshot. A node whose snapshot is not known yet is sent every event.

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
use crate::telemetry::metrics::count_dropped_event;

/// The other nodes of the cluster; cheap to clone.
#[derive(Clone)]
pub struct PeerNodes(Arc<PeerNodesInner>);

struct PeerNodesInner {
    bus: Arc<dyn Bus>,
    local: Mutex<LocalState>,
    peers: Mutex<PeerTable>,
    /// Whether there are any peers: most servers run alone, and then this costs nothing.
    has_peers: AtomicBool,
    /// Notified when there are changes to publish or snapshots to fetch.
    changed: Notify,
}

impl PeerNodes {
    /// Creates the table without peers.
    pub fn new(bus: Arc<dyn Bus>) -> Self {
        Self(Arc::new(PeerNodesInner {
            bus,
            local: Mutex::default(),
            peers: Mutex::default(),
            has_peers: AtomicBool::new(false),
            changed: Notify::new(),
        }))
    }

    /// Sets the hook that is called for every user who connects to another node; its result is kept
    /// until the user disconnects there.
    pub fn set_presence_hook(&self, presence_hook: RemotePresenceHook) {
        self.peers().presence_hook = Some(presence_hook);
    }

    /// Id of this node.
    pub fn local_node(&self) -> NodeId {
        self.0.bus.me()
    }

    fn local(&self) -> MutexGuard<'_, LocalState> {
        self.0.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> MutexGuard<'_, PeerTable> {
        self.0.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no other node is known.
    pub fn is_alone(&self) -> bool {
        !self.0.has_peers.load(Ordering::Acquire)
    }

    /// Whether the bus is connected in both directions.
    pub fn is_up(&self) -> bool {
        *self.0.bus.state().borrow() == BusState::Up
    }

    /// Waits until there are changes to publish or snapshots to fetch.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn record(&self, change: NodeStateChange) {
        let has_peers = !self.is_alone();
        self.local().record(change, has_peers);
        if has_peers {
            self.0.changed.notify_one();
        }
    }

    /// The first device of a user has connected to this node, or the last one has disconnected.
    pub fn set_connected(&self, user: UserId, is_connected: bool) {
        self.record(if is_connected {
            NodeStateChange::UserConnected(user)
        } else {
            NodeStateChange::UserDisconnected(user)
        });
    }

    /// Publishes the state of a call of this node.
    pub fn publish_call(&self, standing: RemoteCallSummary) {
        self.record(NodeStateChange::Call(Box::new(standing)));
    }

    /// Publishes that a call no longer runs on this node.
    pub fn remove_call(&self, id: CallId) {
        self.record(NodeStateChange::CallRemoved(id));
    }

    /// The complete state of this node for its peers.
    pub fn snapshot(&self) -> NodeStateSnapshot {
        self.local().snapshot()
    }

    /// Publishes the changes since the last call.
    pub fn publish_changes(&self) {
        let mut local = self.local(); // held, so that versions are published in order
        if let Some(changes) = local.take_changes() {
            self.publish(&NodeEvent::StateChanged(changes));
        }
    }

    /// Sends a heartbeat to every other node.
    pub fn send_heartbeat(&self, load: NodeLoad, takes_rooms: bool) {
        let version = self.local().version();
        let beat = NodeEvent::Heartbeat(Heartbeat { version, load, takes_rooms });
        for node in self.nodes() {
            self.tell(node, &beat);
        }
    }

    /// Applies the heartbeat of another node.
    pub fn on_heartbeat(&self, from: NodeId, beat: &Heartbeat) {
        if self.peers().on_heartbeat(from, beat) {
            self.0.changed.notify_one();
        }
    }

    /// Applies changes of another node and returns those that concern calls.
    pub fn on_state_delta(&self, from: NodeId, changes: NodeStateDelta) -> Vec<NodeStateChange> {
        let Some(changes) = self.peers().apply(from, changes) else {
            self.0.changed.notify_one(); // a version is missing
            return Vec::new();
        };
        changes
    }

    /// Sets the live nodes and returns the known ones that are not among them; the caller removes
    /// those.
    pub fn set_members(&self, live_nodes: &HashSet<NodeId>) -> Vec<NodeId> {
        let mut peers = self.peers();
        let removed = peers.set_members(self.local_node(), live_nodes);
        self.0.has_peers.store(!peers.is_empty(), Ordering::Release);
        if peers.without_snapshot().next().is_some() {
            self.0.changed.notify_one();
        }
        removed
    }

    /// Removes a dead node; false if it was removed before.
    pub fn remove(&self, node: NodeId) -> bool {
        let mut peers = self.peers();
        let known = peers.remove(node);
        self.0.has_peers.store(!peers.is_empty(), Ordering::Release);
        known
    }

    /// Whether this node is known to be alive.
    pub fn is_live(&self, node: NodeId) -> bool {
        node == self.local_node() || self.peers().is_known(node)
    }

    /// All other nodes.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.peers().nodes().collect()
    }

    /// The nodes whose snapshot is not known.
    pub fn nodes_without_snapshot(&self) -> Vec<NodeId> {
        self.peers().without_snapshot().collect()
    }

    /// Fetches and applies the snapshot of a node; returns the calls of that node and their changes
    /// since.
    ///
    /// # Errors
    /// The error of the bus.
    pub async fn fetch_snapshot(
        &self,
        node: NodeId,
    ) -> Result<(Vec<RemoteCallSummary>, Vec<NodeStateChange>), BusError> {
        let snapshot: NodeStateSnapshot =
            self.ask(node, &NodeRequest::Snapshot, REQUEST_TIMEOUT).await?;
        Ok(self.peers().replace(node, snapshot))
    }

    /// The load of the other nodes, and whether each accepts new rooms.
    pub fn loads(&self) -> HashMap<NodeId, (NodeLoad, bool)> {
        self.peers().loads()
    }

    /// Number of users who are connected to another node but not to this one.
    pub fn remote_users(&self, is_local: impl Fn(UserId) -> bool) -> usize {
        self.peers().users().filter(|user| !is_local(**user)).count()
    }

    /// Sends an event to the sessions of these users on other nodes.
    pub fn deliver(&self, people: &[UserId], priority: Priority, event: impl Fn() -> RawEvent) {
        if self.is_alone() {
            return;
        }
        let users_by_node = self.peers().group_by_node(people);
        for (node, to) in users_by_node {
            self.tell(node, &NodeEvent::Deliver(DeliverToUsers { to, event: event(), priority }));
        }
    }

    /// Announces to the sessions of these users on other nodes how far a conversation is.
    pub fn publish_head(&self, people: &[UserId], position: SequencePosition, is_skipped: bool) {
        if self.is_alone() {
            return;
        }
        let users_by_node = self.peers().group_by_node(people);
        for (node, to) in users_by_node {
            self.tell(
                node,
                &NodeEvent::ConversationAdvanced(ConversationHead {
                    to,
                    position,
                    skipped: is_skipped,
                }),
            );
        }
    }

    /// Sends an event to one session of another node.
    pub fn deliver_to_session(
        &self,
        node: NodeId,
        user: UserId,
        session: SessionId,
        event: RawEvent,
    ) {
        self.tell(node, &NodeEvent::DeliverToSession(DeliverToSession { user, session, event }));
    }

    /// Sends an event to one node. A failure is counted; the bus makes the other node resync.
    pub fn tell(&self, node: NodeId, event: &NodeEvent) {
        if self.0.bus.send(node, event).is_err() {
            count_dropped_event("bus");
        }
    }

    /// Sends an event to all other nodes, as [`PeerNodes::tell`] does.
    pub fn publish(&self, event: &NodeEvent) {
        if self.is_alone() {
            return;
        }
        if self.0.bus.publish(event).is_err() {
            count_dropped_event("bus");
        }
    }

    /// Sends a request to a node; the reply has the type that the request defines.
    ///
    /// # Errors
    /// The error of the bus; a reply of another type counts as a timeout.
    pub async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        node: NodeId,
        request: &NodeRequest,
        timeout: Duration,
    ) -> Result<T, BusError> {
        let reply = self.0.bus.request(node, request, timeout).await?;
        serde_json::from_str(&reply).map_err(|error| {
            tracing::warn!(%error, "invalid reply from peer node");
            BusError::Timeout
        })
    }
}

/// How long another node may take to reply.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
