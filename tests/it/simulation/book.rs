//! The rules of `store/queries/cluster.rs` as a value: who lives and who owns what. `honest.rs` shows
//! that the databases follow the same rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::NodeId;
use store::{
    FencingTokenRow, HeartbeatOutcome, LeaseClaimOutcome, LeaseRow, NodeHeartbeat, NodeRow,
    NodeState,
};

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
    nodes: BTreeMap<NodeId, (NodeRow, Timestamp)>,
    leases: BTreeMap<String, LeaseRow>,
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

    pub fn join(&mut self, beat: NodeHeartbeat, ttl: Duration) {
        let server = self.life(&beat);
        let NodeHeartbeat { id, name, url, state, .. } = beat;
        if self.broken == Some(Broken::NoWayBack) && self.nodes.contains_key(&id) {
            return;
        }
        let (now, until) = (self.now, self.now + ttl);
        let node = NodeRow { id, name, url, state, started_at: now, renewed_at: now, until };
        let lives = self.lives(id);
        self.nodes.insert(id, (node, server));
        for lease in self.leases.values_mut().filter(|lease| lease.owner == id && !lives) {
            lease.epoch += 1;
        }
    }

    fn life(&self, beat: &NodeHeartbeat) -> Timestamp {
        if beat.holds_lock { self.server } else { Timestamp::from_micros(0) }
    }

    pub fn beat(&mut self, beat: NodeHeartbeat, ttl: Duration) -> HeartbeatOutcome {
        let (alive, life) = (self.lives(beat.id), self.life(&beat));
        if alive && let Some((node, server)) = self.nodes.get_mut(&beat.id) {
            (node.state, node.renewed_at, node.until) = (beat.state, self.now, self.now + ttl);
            *server = life;
        }
        HeartbeatOutcome { is_alive: alive, now: self.now, nodes: self.living() }
    }

    pub fn living(&self) -> Vec<NodeRow> {
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

    pub fn claim(&mut self, key: &str, value: &str, me: NodeId) -> LeaseClaimOutcome {
        if !self.lives(me) {
            return LeaseClaimOutcome::NotAlive;
        }
        let Some(found) = self.leases.get(key).cloned() else {
            let new = LeaseRow { key: key.into(), owner: me, epoch: 1, value: value.into() };
            self.leases.insert(key.to_owned(), new.clone());
            return LeaseClaimOutcome::Created(new);
        };
        if found.owner == me || self.lives(found.owner) {
            return LeaseClaimOutcome::Held(found);
        }
        let taken = LeaseRow { owner: me, epoch: found.epoch + 1, ..found };
        self.leases.insert(key.to_owned(), taken.clone());
        LeaseClaimOutcome::TakenOver(taken)
    }

    pub fn lease(&self, key: &str) -> Option<LeaseRow> {
        self.leases.get(key).cloned()
    }

    pub fn leases_of(&self, value: &str) -> Vec<LeaseRow> {
        self.leases.values().filter(|lease| lease.value == value).cloned().collect()
    }

    pub fn orphans(&self, prefix: &str) -> Vec<LeaseRow> {
        let below = self.leases.values().filter(|lease| lease.key.starts_with(prefix));
        below.filter(|lease| !self.lives(lease.owner)).cloned().collect()
    }

    pub fn hand_over(&mut self, fence: &FencingTokenRow, to: NodeId) -> Option<i64> {
        if !self.holds(fence) || !self.lives(to) {
            return None;
        }
        let lease = self.leases.get_mut(&fence.key)?;
        (lease.owner, lease.epoch) = (to, lease.epoch + 1);
        Some(lease.epoch)
    }

    pub fn note(&mut self, fence: &FencingTokenRow, value: &str) -> bool {
        let holds = self.holds(fence);
        if holds && let Some(lease) = self.leases.get_mut(&fence.key) {
            value.clone_into(&mut lease.value);
        }
        holds
    }

    pub fn release(&mut self, fence: &FencingTokenRow) -> bool {
        let mine = self.leases.get(&fence.key).is_some_and(|lease| is_of(lease, fence));
        if mine {
            self.leases.remove(&fence.key);
        }
        mine
    }

    pub fn holds(&self, fence: &FencingTokenRow) -> bool {
        let Some(lease) = self.leases.get(&fence.key) else { return false };
        if self.broken == Some(Broken::NoEpochs) {
            return true;
        }
        is_of(lease, fence) && self.lives(fence.owner)
    }
}

fn is_of(lease: &LeaseRow, fence: &FencingTokenRow) -> bool {
    lease.owner == fence.owner && lease.epoch == fence.epoch
}
