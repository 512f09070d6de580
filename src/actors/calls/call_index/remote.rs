//! Calls that go on at other nodes, as those tell of them.

use base::ids::{CallId, NodeId};

use super::{CallIndex, CallIndexEntry, CallLocation, CallSummary, Key};
use crate::protocol::cluster::RemoteCallSummary;

impl CallIndex {
    /// How a call stands that goes on at another node.
    pub(in crate::actors::calls) fn stands_there(&self, node: NodeId, call: RemoteCallSummary) {
        let mut calls = self.calls();
        let id = call.call_id;
        if calls.all.get(&id).is_some_and(CallIndexEntry::is_here) {
            return; // it has come here meanwhile
        }
        let other = calls.by_key.get(&call.key).copied().filter(|other| *other != id);
        if let Some(other) = other {
            if calls.all.get(&other).is_some_and(CallIndexEntry::is_here) {
                return; // the directory will tell which of the two it is
            }
            calls.remove(other);
        }
        let RemoteCallSummary {
            key, conversation_id, participants: seats, ringing, active, ..
        } = call;
        calls.by_key.insert(key.clone(), id);
        let entry = calls.all.entry(id).or_insert_with(|| CallIndexEntry {
            key,
            by: None,
            conversation: conversation_id,
            place: CallLocation::There(node),
            standing: CallSummary::default(),
        });
        entry.place = CallLocation::There(node);
        calls.stand(id, CallSummary { seats, ringing, active });
    }

    /// All that goes on at another node: what is not among it is over there.
    pub(in crate::actors::calls) fn all_there(&self, node: NodeId, calls: Vec<RemoteCallSummary>) {
        for (id, _) in self.at(node) {
            if !calls.iter().any(|call| call.call_id == id) {
                self.over_there(node, id);
            }
        }
        for call in calls {
            self.stands_there(node, call);
        }
    }

    /// The directory says that a call goes on at that node, which has not told of it yet.
    pub(in crate::actors::calls) fn is_there(&self, node: NodeId, id: CallId, key: Key) {
        let conversation_id = if let Key::Conversation(id) = key { Some(id) } else { None };
        let known = self.standing(id).unwrap_or_default();
        let CallSummary { seats, ringing, active } = known;
        let call = RemoteCallSummary {
            call_id: id,
            key,
            conversation_id,
            participants: seats,
            ringing,
            active,
        };
        self.stands_there(node, call);
    }

    /// A call does not go on at that node any more.
    pub(in crate::actors::calls) fn over_there(&self, node: NodeId, id: CallId) {
        let mut calls = self.calls();
        if calls
            .all
            .get(&id)
            .is_some_and(|entry| matches!(entry.place, CallLocation::There(at) if at == node))
        {
            calls.remove(id);
        }
    }

    /// The calls that go on at another node: of each its id and key.
    pub(in crate::actors::calls) fn at(&self, node: NodeId) -> Vec<(CallId, Key)> {
        let calls = self.calls();
        let there = calls.all.iter();
        let there =
            there.filter(|(_, entry)| matches!(entry.place, CallLocation::There(at) if at == node));
        there.map(|(id, entry)| (*id, entry.key.clone())).collect()
    }
}
