//! The state of this node as published to its peers.

use std::collections::{HashMap, HashSet};

use base::ids::{CallId, UserId};

use crate::protocol::cluster::{
    NodeStateChange, NodeStateDelta, NodeStateSnapshot, RemoteCallSummary,
};

#[derive(Default)]
pub(super) struct LocalState {
    version: u64,
    connected_users: HashSet<UserId>,
    calls: HashMap<CallId, RemoteCallSummary>,
    /// Changes that are recorded but not yet published.
    pending: Vec<NodeStateChange>,
}

impl LocalState {
    /// Records a change. Without `has_peers` only the version is incremented, so that a node that
    /// joins later requests a snapshot.
    pub(super) fn record(&mut self, change: NodeStateChange, has_peers: bool) {
        match &change {
            NodeStateChange::UserConnected(user) => {
                self.connected_users.insert(*user);
            }
            NodeStateChange::UserDisconnected(user) => {
                self.connected_users.remove(user);
            }
            NodeStateChange::Call(call) => {
                let previous = self.calls.insert(call.call_id, (**call).clone());
                if previous.as_ref() == Some(&**call) {
                    return; // nothing that peers would see
                }
            }
            NodeStateChange::CallRemoved(id) => {
                if self.calls.remove(id).is_none() {
                    return;
                }
            }
        }
        if has_peers {
            self.pending.push(change);
        } else {
            self.version += 1;
        }
    }

    /// Takes the changes to publish now.
    pub(super) fn take_changes(&mut self) -> Option<NodeStateDelta> {
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

    /// The complete state. Changes that are still pending may be received twice; they state values,
    /// not differences.
    pub(super) fn snapshot(&self) -> NodeStateSnapshot {
        NodeStateSnapshot {
            version: self.version,
            people: self.connected_users.iter().copied().collect(),
            calls: self.calls.values().cloned().collect(),
        }
    }
}
