//! What the others have told of themselves.

use std::any::Any;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use base::ids::{NodeId, UserId};

use crate::protocol::cluster::{
    Heartbeat, NodeLoad, NodeStateChange, NodeStateDelta, NodeStateSnapshot, RemoteCallSummary,
};

/// How many messages of changes are kept while the whole is asked for; more are asked for again.
const MAX_EARLY_DELTAS: usize = 1000;

/// Kept as long as somebody is at another node.
pub type RemotePresenceGuard = Box<dyn Any + Send + Sync>;
/// Makes a guest of somebody who has come to another node.
pub type RemotePresenceHook = Box<dyn Fn(UserId) -> RemotePresenceGuard + Send + Sync>;

#[derive(Default)]
pub(super) struct PeerTable {
    /// Who wants to know of everybody who comes and goes.
    pub(super) greeting: Option<RemotePresenceHook>,
    nodes: BTreeMap<NodeId, PeerState>,
    /// At which of them somebody is.
    places: HashMap<UserId, Vec<NodeId>>,
}

#[derive(Default)]
struct PeerState {
    /// The last of its changes that is known; `None` while the whole is not.
    version: Option<u64>,
    /// Changes that came while the whole was asked for.
    early: Vec<NodeStateDelta>,
    people: HashMap<UserId, Option<RemotePresenceGuard>>,
    load: NodeLoad,
    takes_rooms: bool,
}

impl PeerTable {
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn knows(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.keys().copied()
    }

    /// The nodes of which not everything is known.
    pub(super) fn lacking(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter(|(_, other)| other.version.is_none()).map(|(node, _)| *node)
    }

    /// A sign of life; whether something of that node is not known. Nodes of which the directory has
    /// not told are left alone: others may share the broker.
    pub(super) fn beat(&mut self, from: NodeId, beat: &Heartbeat) -> bool {
        let Some(other) = self.nodes.get_mut(&from) else { return false };
        other.load = beat.load;
        other.takes_rooms = beat.takes_rooms;
        if other.version != Some(beat.version) {
            other.version = None;
        }
        other.version.is_none()
    }

    /// Takes the next changes of a node; `None` if a number is missing. Gives those about calls.
    pub(super) fn apply(
        &mut self,
        from: NodeId,
        changes: NodeStateDelta,
    ) -> Option<Vec<NodeStateChange>> {
        let Some(other) = self.nodes.get_mut(&from) else { return Some(Vec::new()) };
        match other.version {
            Some(known) if changes.version == known + 1 => other.version = Some(changes.version),
            Some(known) if changes.version <= known => return Some(Vec::new()),
            _ => {
                other.version = None;
                if other.early.len() < MAX_EARLY_DELTAS {
                    other.early.push(changes);
                }
                return None;
            }
        }
        let mut calls = Vec::new();
        for change in changes.changes {
            match change {
                NodeStateChange::UserConnected(user) => self.came(from, user),
                NodeStateChange::UserDisconnected(user) => self.went(from, user),
                NodeStateChange::Call(_) | NodeStateChange::CallRemoved(_) => calls.push(change),
            }
        }
        Some(calls)
    }

    /// Takes the whole of a node and what it told since; gives its calls, and what became of them.
    pub(super) fn replace(
        &mut self,
        node: NodeId,
        whole: NodeStateSnapshot,
    ) -> (Vec<RemoteCallSummary>, Vec<NodeStateChange>) {
        let calls = self.take(node, whole);
        let other = self.nodes.get_mut(&node);
        let early = other.map(|other| std::mem::take(&mut other.early)).unwrap_or_default();
        let since = early.into_iter().filter_map(|changes| self.apply(node, changes));
        (calls, since.collect::<Vec<_>>().into_iter().flatten().collect())
    }

    fn take(&mut self, node: NodeId, whole: NodeStateSnapshot) -> Vec<RemoteCallSummary> {
        let people: HashSet<_> = whole.people.into_iter().collect();
        let Some(other) = self.nodes.get_mut(&node) else { return Vec::new() };
        other.version = Some(whole.version);
        let gone: Vec<_> =
            other.people.keys().filter(|user| !people.contains(user)).copied().collect();
        for user in gone {
            self.went(node, user);
        }
        for user in people {
            self.came(node, user);
        }
        whole.calls
    }

    fn came(&mut self, node: NodeId, user: UserId) {
        let Some(other) = self.nodes.get_mut(&node) else { return };
        if let Entry::Vacant(place) = other.people.entry(user) {
            place.insert(self.greeting.as_ref().map(|greet| greet(user)));
            self.places.entry(user).or_default().push(node);
        }
    }

    fn went(&mut self, node: NodeId, user: UserId) {
        if let Some(other) = self.nodes.get_mut(&node) {
            other.people.remove(&user);
        }
        if let Entry::Occupied(mut places) = self.places.entry(user) {
            places.get_mut().retain(|place| *place != node);
            if places.get().is_empty() {
                places.remove();
            }
        }
    }

    /// False if the node was not known.
    pub(super) fn forget(&mut self, node: NodeId) -> bool {
        let people: Option<Vec<_>> =
            self.nodes.get(&node).map(|other| other.people.keys().copied().collect());
        for user in people.unwrap_or_default() {
            self.went(node, user);
        }
        self.nodes.remove(&node).is_some()
    }

    /// Takes the nodes that live, and gives those that do not any more; they are to be forgotten.
    pub(super) fn roster(&mut self, me: NodeId, living: &HashSet<NodeId>) -> Vec<NodeId> {
        let gone = self.nodes().filter(|node| !living.contains(node)).collect();
        for node in living.iter().filter(|node| **node != me) {
            self.nodes.entry(*node).or_default();
        }
        gone
    }

    pub(super) fn loads(&self) -> HashMap<NodeId, (NodeLoad, bool)> {
        let of = |(node, other): (&NodeId, &PeerState)| (*node, (other.load, other.takes_rooms));
        self.nodes.iter().map(of).collect()
    }

    /// Everybody who is at one of them.
    pub(super) fn people(&self) -> impl Iterator<Item = &UserId> {
        self.places.keys()
    }

    /// Which of these people are at which node. A node of which not everything is known may have
    /// any of them.
    pub(super) fn split(&self, people: &[UserId]) -> BTreeMap<NodeId, Vec<UserId>> {
        let mut by_node: BTreeMap<NodeId, Vec<UserId>> = BTreeMap::new();
        let lacking: HashSet<_> = self.lacking().collect();
        for user in people {
            for node in self.places.get(user).into_iter().flatten() {
                if !lacking.contains(node) {
                    by_node.entry(*node).or_default().push(*user);
                }
            }
        }
        by_node.extend(lacking.into_iter().map(|node| (node, people.to_vec())));
        by_node
    }
}

#[cfg(test)]
mod tests {
    use super::super::local_state::LocalState;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is lost on the way, once the whole was asked for the picture is right.
        #[test]
        fn peer_node_presence_converges_after_lost_updates(
            steps in prop::collection::vec((0u8..6, any::<bool>(), any::<bool>()), 1..80),
        ) {
            let people: Vec<_> = (0..6).map(|_| UserId::new()).collect();
            let node = NodeId::new();
            let (mut own, mut others) = (LocalState::default(), PeerTable::default());
            others.roster(NodeId::new(), &HashSet::from([node]));
            others.replace(node, own.snapshot());
            let mut here = HashSet::new();
            for (who, comes, lost) in steps {
                let user = people[usize::from(who)];
                if comes { here.insert(user); } else { here.remove(&user); }
                own.note(if comes { NodeStateChange::UserConnected(user) } else { NodeStateChange::UserDisconnected(user) }, true);
                let changes = own.changes().unwrap();
                if !lost && others.apply(node, changes).is_none() {
                    let told = others.split(&people);
                    prop_assert_eq!(told[&node].len(), people.len(), "in doubt: everybody");
                    // The whole is answered now and arrives after what happens meanwhile.
                    let whole = own.snapshot();
                    own.note(NodeStateChange::UserConnected(user), true);
                    here.insert(user);
                    others.apply(node, own.changes().unwrap());
                    others.replace(node, whole);
                    let told = others.split(&people).remove(&node).unwrap_or_default();
                    prop_assert!(told.contains(&user), "nobody is forgotten");
                }
            }
            let beat = Heartbeat { version: own.version(), load: NodeLoad::default(), takes_rooms: true };
            if others.beat(node, &beat) {
                others.replace(node, own.snapshot());
            }

            let told: HashSet<_> =
                others.split(&people).remove(&node).unwrap_or_default().into_iter().collect();
            prop_assert_eq!(told, here);
            others.forget(node);
            prop_assert!(others.split(&people).is_empty() && others.people().next().is_none());
        }
    }
}
