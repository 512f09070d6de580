//! Calls that change their node: because it died, because it leaves, because it is not sure of itself.

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
use crate::protocol::cluster::NodeRequest;

/// How long one room may take to be handed over.
const HAND_OFF_TIMEOUT: Duration = Duration::from_secs(5);
/// How many calls change their node at the same time.
const MAX_CONCURRENT_HAND_OFFS: usize = 16;

impl CallService {
    /// Nobody listens at that node: if it is dead, its calls are looked after.
    pub(super) async fn on_node_death(&self, node: NodeId) {
        match self.directory.is_dead(node).await {
            Ok(true) => self.node_died(node).await,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, %node, "node liveness check failed"),
        }
    }

    /// A node is dead: its calls in which devices of this node take part, or for which they ring,
    /// go on here unless another node is faster. Nobody looks after the others until somebody asks.
    pub async fn node_died(&self, node: NodeId) {
        let me = self.neighbours.local_node();
        let calls = stream::iter(self.board.at(node));
        let look_after = |(id, key): (CallId, Key)| async move {
            let standing = self.board.standing(id).unwrap_or_default();
            self.board.over_there(node, id);
            let concerned = standing.seats.iter().any(|seat| seat.node == me)
                || standing
                    .ringing
                    .iter()
                    .any(|(user, _)| self.switchboard.is_connected_local(*user));
            if concerned && let Err(error) = self.take_over(&key, id).await {
                tracing::warn!(%error, call.id = %id, "call take-over failed");
            }
        };
        calls.for_each_concurrent(MAX_CONCURRENT_HAND_OFFS, look_after).await;
    }

    /// This node is not sure any more that its calls are its own: it lets go of them without a
    /// word. Whoever claims them tells their devices.
    pub fn relinquish_all(&self) {
        for (_, room) in self.board.rooms() {
            let _ = room.tell_control(RelinquishRoom); // gone already is as good
        }
    }

    /// Hands every room over to the node that carries least. Those that nobody takes stay.
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
        stream::iter(self.board.rooms())
            .for_each_concurrent(MAX_CONCURRENT_HAND_OFFS, hand_over)
            .await;
    }

    /// The other node that carries least of those that take rooms.
    pub(super) fn least_loaded_node(&self) -> Option<NodeId> {
        let loads = self.neighbours.loads().into_iter().filter(|(_, (_, takes))| *takes);
        loads.min_by_key(|(node, (load, _))| (load.participants, load.calls, *node)).map(|(n, _)| n)
    }

    /// The node where a new room belongs, if that is not this one: another carries much less.
    pub(super) fn better(&self) -> Option<NodeId> {
        let to = self.least_loaded_node()?;
        let (load, _) = self.neighbours.loads().remove(&to)?;
        let own = self.load().participants;
        (own > LOCAL_PLACEMENT_THRESHOLD && load.participants < own / 2).then_some(to)
    }

    /// Sessions of other nodes that are in calls of this one, by node.
    fn far_seats(&self) -> BTreeMap<NodeId, Vec<(UserId, SessionId)>> {
        let mut by_node: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for id in self.board.ids(false) {
            for seat in self.board.standing(id).unwrap_or_default().seats {
                if seat.node != self.neighbours.local_node() {
                    by_node.entry(seat.node).or_default().push((seat.user, seat.session));
                }
            }
        }
        by_node
    }

    /// Asks the other nodes which sessions in calls of this one are no more, since a word of it may
    /// be lost; gives those whose node is dead.
    pub async fn reconcile_remote_participants(&self) -> Vec<SessionId> {
        let mut adrift = Vec::new();
        for (node, seats) in self.far_seats() {
            if !self.neighbours.is_live(node) {
                adrift.extend(seats.into_iter().map(|(_, session)| session));
                continue;
            }
            let asked = NodeRequest::Gone(seats);
            let gone = self.neighbours.ask(node, &asked, super::REQUEST_TIMEOUT).await;
            for session in gone.unwrap_or_else(|_| Vec::<SessionId>::new()) {
                self.on_session_lost_local(session);
            }
        }
        adrift
    }

    /// The ids of all calls that go on anywhere; `None` while not every node's are known.
    pub fn cluster_call_ids(&self) -> Option<Vec<CallId>> {
        self.neighbours.nodes_without_snapshot().is_empty().then(|| self.board.ids(true))
    }

    /// Closes a call in history that goes on nowhere, and frees its key.
    ///
    /// # Errors
    /// The database's.
    pub async fn close_orphan(&self, id: CallId) -> Result<(), CallError> {
        let lease = self.directory.find_value(&id.to_string()).await?;
        if let Some((key, held)) = lease {
            if held.owner != self.neighbours.local_node() && self.neighbours.is_live(held.owner) {
                return Ok(()); // it has just begun there
            }
            match self.directory.claim(&key, "").await? {
                ClaimOutcome::Mine { epoch, .. } => self.directory.release(&key, epoch).await?,
                ClaimOutcome::Held(held) if self.directory.owns(&held) => {
                    self.directory.release(&key, held.epoch).await?;
                }
                ClaimOutcome::Held(_) => return Ok(()), // somebody goes on with it
            }
        }
        self.domain.write_lost(vec![id]).await?;
        Ok(())
    }

    /// Which of these sessions are not here. Those of a node that leaves are not gone: their devices
    /// join again at another node, as the participants they are.
    pub fn missing_sessions(&self, sessions: Vec<(UserId, SessionId)>) -> Vec<SessionId> {
        if self.switchboard.is_draining() {
            return Vec::new();
        }
        let gone = |(user, session): &(UserId, SessionId)| {
            !self.switchboard.has_local_session(*user, *session)
        };
        sessions.into_iter().filter(gone).map(|(_, session)| session).collect()
    }
}

/// Below this many devices in calls a node keeps what begins at it.
const LOCAL_PLACEMENT_THRESHOLD: u64 = 20;
