//! Calls that change nodes: after a node death, on a planned hand-off, or when this node doubts its
//! ownership.

use std::collections::BTreeMap;
use std::time::Duration;

use base::ids::{CallId, NodeId, SessionId, UserId};
use futures_util::{StreamExt, stream};

use super::CallService;
use super::call_index::Key;
use super::room::{CallRoom, HandOffRoom, RelinquishRoom};
use crate::actors::supervision::ActorRef;
use crate::cluster::ClaimOutcome;
use crate::domain::calls::CallError;
use crate::limits::MAX_CONCURRENT_HAND_OFFS;
use crate::protocol::cluster::NodeRequest;

/// How long the hand-off of one room may take.
const HAND_OFF_TIMEOUT: Duration = Duration::from_secs(5);

impl CallService {
    /// A node cannot be reached: if the directory confirms that it is dead, its calls are taken
    /// over.
    pub(super) async fn on_node_death(&self, node: NodeId) {
        match self.directory.is_dead(node).await {
            Ok(true) => self.node_died(node).await,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, %node, "node liveness check failed"),
        }
    }

    /// Takes over the calls of a dead node in which devices of this node take part, or that ring
    /// for them, unless another node is faster. Other calls are taken over when somebody asks for
    /// them.
    pub async fn node_died(&self, node: NodeId) {
        let local_node = self.peer_nodes.local_node();
        let calls = stream::iter(self.call_index.calls_of_node(node));
        let take_over_call = |(id, key): (CallId, Key)| async move {
            let summary = self.call_index.summary(id).unwrap_or_default();
            self.call_index.remove_remote(node, id);
            let is_affected =
                summary.participants.iter().any(|location| location.node == local_node)
                    || summary
                        .ringing
                        .iter()
                        .any(|(user, _)| self.event_router.is_connected_local(*user));
            if is_affected && let Err(error) = self.take_over(&key, id).await {
                tracing::warn!(%error, call.id = %id, "call take-over failed");
            }
        };
        calls.for_each_concurrent(MAX_CONCURRENT_HAND_OFFS, take_over_call).await;
    }

    /// Gives up all calls without notice, as this node is no longer sure to own them. The node that
    /// claims them notifies their devices.
    pub fn relinquish_all(&self) {
        for (_, room) in self.call_index.rooms() {
            let _ = room.tell_control(RelinquishRoom); // fails only if the room has ended
        }
    }

    /// Hands every room off to the least loaded node. Rooms that no node accepts stay.
    pub async fn hand_off_all(&self) {
        let hand_over = |(id, room): (CallId, ActorRef<CallRoom>)| async move {
            let Some(to) = self.least_loaded_node() else {
                tracing::warn!(call.id = %id, "no node accepts hand-off, ending call");
                return;
            };
            let handed = tokio::time::timeout(HAND_OFF_TIMEOUT, room.ask(HandOffRoom { to })).await;
            if !matches!(handed, Ok(Ok(true))) {
                tracing::warn!(call.id = %id, node = %to, "call hand-off failed");
            }
        };
        stream::iter(self.call_index.rooms())
            .for_each_concurrent(MAX_CONCURRENT_HAND_OFFS, hand_over)
            .await;
    }

    /// The least loaded other node that accepts rooms.
    pub(super) fn least_loaded_node(&self) -> Option<NodeId> {
        let loads =
            self.peer_nodes.loads().into_iter().filter(|(_, (_, takes_rooms))| *takes_rooms);
        loads.min_by_key(|(node, (load, _))| (load.participants, load.calls, *node)).map(|(n, _)| n)
    }

    /// The node where a new room should run, if another node carries much less than this one.
    pub(super) fn better_placed_node(&self) -> Option<NodeId> {
        let to = self.least_loaded_node()?;
        let (load, _) = self.peer_nodes.loads().remove(&to)?;
        let local_participants = self.load().participants;
        (local_participants > LOCAL_PLACEMENT_THRESHOLD
            && load.participants < local_participants / 2)
            .then_some(to)
    }

    /// Sessions of other nodes that take part in calls of this node, by node.
    fn remote_participants(&self) -> BTreeMap<NodeId, Vec<(UserId, SessionId)>> {
        let mut by_node: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for id in self.call_index.ids(false) {
            for location in self.call_index.summary(id).unwrap_or_default().participants {
                if location.node != self.peer_nodes.local_node() {
                    by_node
                        .entry(location.node)
                        .or_default()
                        .push((location.user, location.session));
                }
            }
        }
        by_node
    }

    /// Asks the other nodes which of their sessions in calls of this node have ended, as a
    /// notification may be lost; returns the sessions whose node is dead.
    pub async fn reconcile_remote_participants(&self) -> Vec<SessionId> {
        let mut unreachable = Vec::new();
        for (node, locations) in self.remote_participants() {
            if !self.peer_nodes.is_live(node) {
                unreachable.extend(locations.into_iter().map(|(_, session)| session));
                continue;
            }
            let request = NodeRequest::FindEndedSessions(locations);
            let missing = self.peer_nodes.ask(node, &request, super::REQUEST_TIMEOUT).await;
            for session in missing.unwrap_or_else(|_| Vec::<SessionId>::new()) {
                self.on_session_lost_local(session);
            }
        }
        unreachable
    }

    /// The ids of all calls of the cluster; `None` while a peer node has not sent a snapshot.
    pub fn cluster_call_ids(&self) -> Option<Vec<CallId>> {
        self.peer_nodes.nodes_without_snapshot().is_empty().then(|| self.call_index.ids(true))
    }

    /// Closes a call in the history that runs on no node, and frees its key.
    ///
    /// # Errors
    /// The error of the database.
    pub async fn close_orphan(&self, id: CallId) -> Result<(), CallError> {
        let lease = self.directory.find_by_value(&id.to_string()).await?;
        if let Some((key, held)) = lease {
            if held.owner != self.peer_nodes.local_node() && self.peer_nodes.is_live(held.owner) {
                return Ok(()); // it has just started there
            }
            match self.directory.claim(&key, "").await? {
                ClaimOutcome::Owned { epoch, .. } => self.directory.release(&key, epoch).await?,
                ClaimOutcome::Held(held) if self.directory.owns(&held) => {
                    self.directory.release(&key, held.epoch).await?;
                }
                ClaimOutcome::Held(_) => return Ok(()), // another node continues it
            }
        }
        self.domain.write_orphaned(vec![id]).await?;
        Ok(())
    }

    /// Which of these sessions do not exist on this node. While it drains, none is reported: their
    /// devices rejoin through another node as the same participants.
    pub fn missing_sessions(&self, sessions: Vec<(UserId, SessionId)>) -> Vec<SessionId> {
        if self.event_router.is_draining() {
            return Vec::new();
        }
        let missing = |(user, session): &(UserId, SessionId)| {
            !self.event_router.has_local_session(*user, *session)
        };
        sessions.into_iter().filter(missing).map(|(_, session)| session).collect()
    }
}

/// With fewer participants than this, a node runs the calls that start on it.
const LOCAL_PLACEMENT_THRESHOLD: u64 = 20;
