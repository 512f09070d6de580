//! The rules of `store/queries/cluster.rs` as a value: who lives and who owns what. `honest.rs` shows
//! that the databases follow the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::NodeId;
use store::{Beaten, Claimed, Fence, Lease, Node, NodeBeat, NodeState};

use super::Broken;

/// As in `store/queries/cluster.rs`.
pub const FRESH: Duration = Duration::from_millis(3500);

pub struct Book {
    /// The database's clock; set before each transaction.
    pub now: Timestamp,
    /// The life of the database.
    pub server: Timestamp,
    /// Whose locks are held.
    pub locked: BTreeSet<NodeId>,
    /// The rule that is not kept.
    pub broken: Option<Broken>,
    nodes: BTreeMap<NodeId, (Node, Timestamp)>,
    leases: BTreeMap<String, Lease>,
}

impl Book {
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            server: now,
            locked: BTreeSet::new(),
            broken: None,
            nodes: BTreeMap::new(),
            leases: BTreeMap::new(),
        }
    }

    pub fn join(&mut self, beat: NodeBeat, ttl: Duration) {
        let server = self.life(&beat);
        let NodeBeat { id, name, url, state, .. } = beat;
        if self.broken == Some(Broken::NoWayBack) && self.nodes.contains_key(&id) {
            return;
        }
        let (now, until) = (self.now, self.now + ttl);
        let node = Node { id, name, url, state, started_at: now, renewed_at: now, until };
        let lives = self.lives(id);
        self.nodes.insert(id, (node, server));
        for lease in self.leases.values_mut().filter(|lease| lease.owner == id && !lives) {
            lease.epoch += 1;
        }
    }

    fn life(&self, beat: &NodeBeat) -> Timestamp {
        if beat.locked { self.server } else { Timestamp::from_micros(0) }
    }

    pub fn beat(&mut self, beat: NodeBeat, ttl: Duration) -> Beaten {
        let (alive, life) = (self.lives(beat.id), self.life(&beat));
        if alive && let Some((node, server)) = self.nodes.get_mut(&beat.id) {
            (node.state, node.renewed_at, node.until) = (beat.state, self.now, self.now + ttl);
            *server = life;
        }
        Beaten { alive, now: self.now, nodes: self.living() }
    }

    pub fn living(&self) -> Vec<Node> {
        let nodes = self.nodes.values().map(|(node, _)| node);
        nodes.filter(|node| node.until > self.now).cloned().collect()
    }

    pub fn leave(&mut self, id: NodeId) {
        if let Some((node, _)) = self.nodes.get_mut(&id) {
            (node.state, node.until) = (NodeState::Down, self.now);
        }
    }

    pub fn certify_death(&mut self, id: NodeId) -> bool {
        let Some((node, server)) = self.nodes.get(&id) else { return true };
        if node.until <= self.now {
            return true;
        }
        let fresh = self.now.since(node.renewed_at) <= FRESH
            || self.broken == Some(Broken::StaleWordsProve);
        if !fresh || *server != self.server || self.locked.contains(&id) {
            return false;
        }
        self.leave(id);
        true
    }

    /// A node's last word becomes older, for tests that cannot wait.
    pub fn age(&mut self, id: NodeId, by: Duration) {
        if let Some((node, _)) = self.nodes.get_mut(&id) {
            node.renewed_at = node.renewed_at - by;
        }
    }

    /// A node's word was given to an earlier life of the database.
    pub fn other_life(&mut self, id: NodeId) {
        if let Some((_, server)) = self.nodes.get_mut(&id) {
            *server = *server - Duration::from_secs(1);
        }
    }

    pub fn lives(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|(node, _)| node.until > self.now)
    }

    pub fn claim(&mut self, key: &str, value: &str, me: NodeId) -> Claimed {
        if !self.lives(me) {
            return Claimed::NotAlive;
        }
        let Some(found) = self.leases.get(key).cloned() else {
            let new = Lease { key: key.into(), owner: me, epoch: 1, value: value.into() };
            self.leases.insert(key.to_owned(), new.clone());
            return Claimed::New(new);
        };
        if found.owner == me || self.lives(found.owner) {
            return Claimed::Held(found);
        }
        let taken = Lease { owner: me, epoch: found.epoch + 1, ..found };
        self.leases.insert(key.to_owned(), taken.clone());
        Claimed::Taken(taken)
    }

    pub fn lease(&self, key: &str) -> Option<Lease> {
        self.leases.get(key).cloned()
    }

    pub fn leases_of(&self, value: &str) -> Vec<Lease> {
        self.leases.values().filter(|lease| lease.value == value).cloned().collect()
    }

    pub fn orphans(&self, prefix: &str) -> Vec<Lease> {
        let below = self.leases.values().filter(|lease| lease.key.starts_with(prefix));
        below.filter(|lease| !self.lives(lease.owner)).cloned().collect()
    }

    pub fn hand_over(&mut self, fence: &Fence, to: NodeId) -> Option<i64> {
        if !self.holds(fence) || !self.lives(to) {
            return None;
        }
        let lease = self.leases.get_mut(&fence.key)?;
        (lease.owner, lease.epoch) = (to, lease.epoch + 1);
        Some(lease.epoch)
    }

    pub fn note(&mut self, fence: &Fence, value: &str) -> bool {
        let holds = self.holds(fence);
        if holds && let Some(lease) = self.leases.get_mut(&fence.key) {
            value.clone_into(&mut lease.value);
        }
        holds
    }

    pub fn release(&mut self, fence: &Fence) -> bool {
        let mine = self.leases.get(&fence.key).is_some_and(|lease| is_of(lease, fence));
        if mine {
            self.leases.remove(&fence.key);
        }
        mine
    }

    pub fn holds(&self, fence: &Fence) -> bool {
        let Some(lease) = self.leases.get(&fence.key) else { return false };
        if self.broken == Some(Broken::NoEpochs) {
            return true;
        }
        is_of(lease, fence) && self.lives(fence.owner)
    }
}

fn is_of(lease: &Lease, fence: &Fence) -> bool {
    lease.owner == fence.owner && lease.epoch == fence.epoch
}
