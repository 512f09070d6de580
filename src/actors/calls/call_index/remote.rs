//! Calls of other nodes in the index, as those nodes report them.

use base::ids::{CallId, NodeId};

use super::{CallIndex, CallIndexEntry, CallLocation, CallSummary, Key};
use crate::protocol::cluster::RemoteCallSummary;

impl<R: Clone> CallIndex<R> {
    /// Updates a call of another node.
    pub(in crate::actors::calls) fn update_remote(&self, node: NodeId, call: RemoteCallSummary) {
        let mut calls = self.calls();
        let id = call.call_id;
        if calls.all.get(&id).is_some_and(CallIndexEntry::is_local) {
            return; // it has moved here meanwhile
        }
        let other = calls.by_key.get(&call.key).copied().filter(|other| *other != id);
        if let Some(other) = other {
            if calls.all.get(&other).is_some_and(CallIndexEntry::is_local) {
                return; // the directory decides which of the two is valid
            }
            calls.remove(other);
        }
        let RemoteCallSummary { key, conversation_id, participants, ringing, active, .. } = call;
        calls.by_key.insert(key.clone(), id);
        let entry = calls.all.entry(id).or_insert_with(|| CallIndexEntry {
            key,
            by: None,
            conversation: conversation_id,
            location: CallLocation::Remote(node),
            summary: CallSummary::default(),
        });
        entry.location = CallLocation::Remote(node);
        calls.update_summary(id, CallSummary { participants, ringing, active });
    }

    /// Replaces all calls of another node: those not listed have ended there.
    pub(in crate::actors::calls) fn replace_remote(
        &self,
        node: NodeId,
        calls: Vec<RemoteCallSummary>,
    ) {
        for (id, _) in self.calls_of_node(node) {
            if !calls.iter().any(|call| call.call_id == id) {
                self.remove_remote(node, id);
            }
        }
        for call in calls {
            self.update_remote(node, call);
        }
    }

    /// Adds a call that the directory assigns to a node which has not reported it yet.
    pub(in crate::actors::calls) fn add_remote(&self, node: NodeId, id: CallId, key: Key) {
        let conversation_id = if let Key::Conversation(id) = key { Some(id) } else { None };
        let known_summary = self.summary(id).unwrap_or_default();
        let CallSummary { participants, ringing, active } = known_summary;
        let call =
            RemoteCallSummary { call_id: id, key, conversation_id, participants, ringing, active };
        self.update_remote(node, call);
    }

    /// A call no longer runs on that node.
    pub(in crate::actors::calls) fn remove_remote(&self, node: NodeId, id: CallId) {
        let mut calls = self.calls();
        if calls
            .all
            .get(&id)
            .is_some_and(|entry| matches!(entry.location, CallLocation::Remote(at) if at == node))
        {
            calls.remove(id);
        }
    }

    /// The calls of another node, each with its id and key.
    pub(in crate::actors::calls) fn calls_of_node(&self, node: NodeId) -> Vec<(CallId, Key)> {
        let calls = self.calls();
        let calls_there = calls.all.iter();
        let calls_there = calls_there
            .filter(|(_, entry)| matches!(entry.location, CallLocation::Remote(at) if at == node));
        calls_there.map(|(id, entry)| (*id, entry.key.clone())).collect()
    }
}
