//! What this node tells of itself.

use std::collections::{HashMap, HashSet};

use base::ids::{CallId, UserId};

use crate::protocol::cluster::{
    NodeStateChange, NodeStateDelta, NodeStateSnapshot, RemoteCallSummary,
};

#[derive(Default)]
pub(super) struct LocalState {
    version: u64,
    people: HashSet<UserId>,
    calls: HashMap<CallId, RemoteCallSummary>,
    /// Noted and not yet told.
    pending: Vec<NodeStateChange>,
}

impl LocalState {
    /// Something is different; without `listeners` it is only counted, so that whoever comes to
    /// know of it later asks for the whole.
    pub(super) fn note(&mut self, change: NodeStateChange, listeners: bool) {
        match &change {
            NodeStateChange::UserConnected(user) => {
                self.people.insert(*user);
            }
            NodeStateChange::UserDisconnected(user) => {
                self.people.remove(user);
            }
            NodeStateChange::Call(standing) => {
                let old = self.calls.insert(standing.call_id, (**standing).clone());
                if old.as_ref() == Some(&**standing) {
                    return; // nothing that others would see
                }
            }
            NodeStateChange::CallRemoved(id) => {
                if self.calls.remove(id).is_none() {
                    return;
                }
            }
        }
        if listeners {
            self.pending.push(change);
        } else {
            self.version += 1;
        }
    }

    /// What is to be told now.
    pub(super) fn changes(&mut self) -> Option<NodeStateDelta> {
        if self.pending.is_empty() {
            return None;
        }
        self.version += 1;
        let changes = std::mem::take(&mut self.pending);
        Some(NodeStateDelta { version: self.version, changes })
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// The whole. What is still to be told may come twice; it says how things are, not how they
    /// differ.
    pub(super) fn snapshot(&self) -> NodeStateSnapshot {
        NodeStateSnapshot {
            version: self.version,
            people: self.people.iter().copied().collect(),
            calls: self.calls.values().cloned().collect(),
        }
    }
}
