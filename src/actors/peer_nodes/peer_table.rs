//! The state of the other nodes, as they published it.

use std::any::Any;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use base::ids::{NodeId, UserId};

use crate::limits::MAX_EARLY_DELTAS;
use crate::protocol::cluster::{
    Heartbeat, NodeLoad, NodeStateChange, NodeStateDelta, NodeStateSnapshot, RemoteCallSummary,
};

/// Kept as long as a user is connected to another node.
pub type RemotePresenceGuard = Box<dyn Any + Send + Sync>;
/// Creates the guard of a user who has connected to another node.
pub type RemotePresenceHook = Box<dyn Fn(UserId) -> RemotePresenceGuard + Send + Sync>;

#[derive(Default)]
pub(super) struct PeerTable {
    /// The hook for users who connect to other nodes.
    pub(super) presence_hook: Option<RemotePresenceHook>,
    nodes: BTreeMap<NodeId, PeerState>,
    /// The nodes to which a user is connected.
    nodes_of_user: HashMap<UserId, Vec<NodeId>>,
}

#[derive(Default)]
struct PeerState {
    /// The last known version of its state; `None` while its snapshot is not known.
    version: Option<u64>,
    /// Deltas received while the snapshot is fetched.
    early_deltas: Vec<NodeStateDelta>,
    users: HashMap<UserId, Option<RemotePresenceGuard>>,
    load: NodeLoad,
    takes_rooms: bool,
}

impl PeerTable {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn is_known(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    /// The nodes whose snapshot is not known.
    pub(super) fn without_snapshot(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter(|(_, peer)| peer.version.is_none()).map(|(node, _)| *node)
    }

    /// Applies a heartbeat and returns whether part of the node's state is not known. Nodes that
    /// the directory does not list are ignored: other clusters may share the broker.
    pub(super) fn on_heartbeat(&mut self, from: NodeId, heartbeat: &Heartbeat) -> bool {
        let Some(peer) = self.nodes.get_mut(&from) else { return false };
        peer.load = heartbeat.load;
        peer.takes_rooms = heartbeat.takes_rooms;
        if peer.version != Some(heartbeat.version) {
            peer.version = None;
        }
        peer.version.is_none()
    }

    /// Applies the next delta of a node and returns the changes of calls; `None` if a version is
    /// missing.
    pub(super) fn apply(
        &mut self,
        from: NodeId,
        delta: NodeStateDelta,
    ) -> Option<Vec<NodeStateChange>> {
        let Some(peer) = self.nodes.get_mut(&from) else { return Some(Vec::new()) };
        match peer.version {
            Some(version) if delta.version == version + 1 => peer.version = Some(delta.version),
            Some(version) if delta.version <= version => return Some(Vec::new()),
            _ => {
                peer.version = None;
                if peer.early_deltas.len() < MAX_EARLY_DELTAS {
                    peer.early_deltas.push(delta);
                }
                return None;
            }
        }
        let mut calls = Vec::new();
        for change in delta.changes {
            match change {
                NodeStateChange::UserConnected(user) => self.user_connected(from, user),
                NodeStateChange::UserDisconnected(user) => self.user_disconnected(from, user),
                NodeStateChange::Call(_) | NodeStateChange::CallRemoved(_) => calls.push(change),
            }
        }
        Some(calls)
    }

    /// Applies a snapshot and the deltas received since; returns the calls of the node and their
    /// changes.
    pub(super) fn replace(
        &mut self,
        node: NodeId,
        snapshot: NodeStateSnapshot,
    ) -> (Vec<RemoteCallSummary>, Vec<NodeStateChange>) {
        let calls = self.apply_snapshot(node, snapshot);
        let peer = self.nodes.get_mut(&node);
        let early_deltas =
            peer.map(|peer| std::mem::take(&mut peer.early_deltas)).unwrap_or_default();
        let later_changes = early_deltas.into_iter().filter_map(|delta| self.apply(node, delta));
        (calls, later_changes.collect::<Vec<_>>().into_iter().flatten().collect())
    }

    fn apply_snapshot(
        &mut self,
        node: NodeId,
        snapshot: NodeStateSnapshot,
    ) -> Vec<RemoteCallSummary> {
        let users: HashSet<_> = snapshot.people.into_iter().collect();
        let Some(peer) = self.nodes.get_mut(&node) else { return Vec::new() };
        peer.version = Some(snapshot.version);
        let removed: Vec<_> =
            peer.users.keys().filter(|user| !users.contains(user)).copied().collect();
        for user in removed {
            self.user_disconnected(node, user);
        }
        for user in users {
            self.user_connected(node, user);
        }
        snapshot.calls
    }

    fn user_connected(&mut self, node: NodeId, user: UserId) {
        let Some(peer) = self.nodes.get_mut(&node) else { return };
        if let Entry::Vacant(vacant) = peer.users.entry(user) {
            vacant.insert(self.presence_hook.as_ref().map(|create_guard| create_guard(user)));
            self.nodes_of_user.entry(user).or_default().push(node);
        }
    }

    fn user_disconnected(&mut self, node: NodeId, user: UserId) {
        if let Some(peer) = self.nodes.get_mut(&node) {
            peer.users.remove(&user);
        }
        if let Entry::Occupied(mut nodes) = self.nodes_of_user.entry(user) {
            nodes.get_mut().retain(|other| *other != node);
            if nodes.get().is_empty() {
                nodes.remove();
            }
        }
    }

    /// Removes a node; false if it was not known.
    pub(super) fn remove(&mut self, node: NodeId) -> bool {
        let users: Option<Vec<_>> =
            self.nodes.get(&node).map(|peer| peer.users.keys().copied().collect());
        for user in users.unwrap_or_default() {
            self.user_disconnected(node, user);
        }
        self.nodes.remove(&node).is_some()
    }

    /// Sets the live nodes and returns the known ones that are not among them; the caller removes
    /// those.
    pub(super) fn set_members(
        &mut self,
        local_node: NodeId,
        live_nodes: &HashSet<NodeId>,
    ) -> Vec<NodeId> {
        let removed = self.nodes().filter(|node| !live_nodes.contains(node)).collect();
        for node in live_nodes.iter().filter(|node| **node != local_node) {
            self.nodes.entry(*node).or_default();
        }
        removed
    }

    pub(super) fn loads(&self) -> HashMap<NodeId, (NodeLoad, bool)> {
        let load_of = |(node, peer): (&NodeId, &PeerState)| (*node, (peer.load, peer.takes_rooms));
        self.nodes.iter().map(load_of).collect()
    }

    /// All users who are connected to another node.
    pub(super) fn users(&self) -> impl Iterator<Item = &UserId> {
        self.nodes_of_user.keys()
    }

    /// Groups these users by the nodes they are connected to. A node whose snapshot is not known
    /// may have any of them.
    pub(super) fn group_by_node(&self, users: &[UserId]) -> BTreeMap<NodeId, Vec<UserId>> {
        let mut by_node: BTreeMap<NodeId, Vec<UserId>> = BTreeMap::new();
        let without_snapshot: HashSet<_> = self.without_snapshot().collect();
        for user in users {
            for node in self.nodes_of_user.get(user).into_iter().flatten() {
                if !without_snapshot.contains(node) {
                    by_node.entry(*node).or_default().push(*user);
                }
            }
        }
        by_node.extend(without_snapshot.into_iter().map(|node| (node, users.to_vec())));
        by_node
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::local_state::LocalState;
    use super::*;

    proptest! {
        /// Whatever is lost in transit, the table is correct once a snapshot was fetched.
        #[test]
        fn peer_node_presence_converges_after_lost_updates(
            steps in prop::collection::vec((0u8..6, any::<bool>(), any::<bool>()), 1..80),
        ) {
            let users: Vec<_> = (0..6).map(|_| UserId::new()).collect();
            let node = NodeId::new();
            let (mut local, mut peers) = (LocalState::default(), PeerTable::default());
            peers.set_members(NodeId::new(), &HashSet::from([node]));
            peers.replace(node, local.snapshot());
            let mut connected = HashSet::new();
            for (who, connects, lost) in steps {
                let user = users[usize::from(who)];
                if connects { connected.insert(user); } else { connected.remove(&user); }
                local.record(if connects { NodeStateChange::UserConnected(user) } else { NodeStateChange::UserDisconnected(user) }, true);
                let delta = local.take_changes().unwrap();
                if !lost && peers.apply(node, delta).is_none() {
                    let recipients = peers.group_by_node(&users);
                    prop_assert_eq!(recipients[&node].len(), users.len(), "without a snapshot the node gets every event");
                    // The snapshot is taken now and arrives after later changes.
                    let snapshot = local.snapshot();
                    local.record(NodeStateChange::UserConnected(user), true);
                    connected.insert(user);
                    peers.apply(node, local.take_changes().unwrap());
                    peers.replace(node, snapshot);
                    let recipients = peers.group_by_node(&users).remove(&node).unwrap_or_default();
                    prop_assert!(recipients.contains(&user), "the user is still a recipient");
                }
            }
            let heartbeat = Heartbeat { version: local.version(), load: NodeLoad::default(), takes_rooms: true };
            if peers.on_heartbeat(node, &heartbeat) {
                peers.replace(node, local.snapshot());
            }

            let recipients: HashSet<_> =
                peers.group_by_node(&users).remove(&node).unwrap_or_default().into_iter().collect();
            prop_assert_eq!(recipients, connected);
            peers.remove(node);
            prop_assert!(peers.group_by_node(&users).is_empty() && peers.users().next().is_none());
        }
    }
}
