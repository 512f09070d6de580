//! Index of the calls of all nodes: where they run, their participants, and for whom they ring.

mod located;
mod remote;
mod reserved;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::ids::{CallId, ConversationId, NodeId, SessionId, UserId};
pub(super) use located::LocatedCall;
use located::RoomRoute;
use metrics::gauge;
pub(super) use reserved::CallReservation;
use tokio::sync::watch;

use crate::actors::peer_nodes::PeerNodes;
use crate::domain::calls::{CallError, ParticipantLocation};
use crate::protocol::calls::{ActiveCall, IncomingCall};
pub(super) use crate::protocol::cluster::CallKey as Key;
use crate::protocol::cluster::RemoteCallSummary;
use crate::telemetry::metrics::{CALLS, count_rejected};

/// What is known of a call outside its room.
#[derive(Clone, Debug, Default)]
pub(super) struct CallSummary {
    /// The participants.
    pub(super) participants: Vec<ParticipantLocation>,
    /// The users it rings for, with the event for devices that connect meanwhile.
    pub(super) ringing: Vec<(UserId, IncomingCall)>,
    /// The view for statistics.
    pub(super) active: Option<ActiveCall>,
}

type RoomState<R> = Option<Result<R, ()>>;

struct CallIndexEntry<R> {
    key: Key,
    /// The user who started it, if on this node.
    by: Option<UserId>,
    conversation: Option<ConversationId>,
    location: CallLocation<R>,
    summary: CallSummary,
}

/// Where a call runs.
enum CallLocation<R> {
    Local(watch::Sender<RoomState<R>>),
    Remote(NodeId),
}

impl<R: Clone> CallIndexEntry<R> {
    const fn is_local(&self) -> bool {
        matches!(self.location, CallLocation::Local(_))
    }
}

struct CallIndexState<R> {
    all: HashMap<CallId, CallIndexEntry<R>>,
    by_key: HashMap<Key, CallId>,
    by_session: HashMap<SessionId, HashSet<CallId>>,
    by_user: HashMap<UserId, HashSet<CallId>>,
    started_by_user: HashMap<UserId, HashSet<CallId>>,
    ringing_by_user: HashMap<UserId, HashSet<CallId>>,
    /// Whether new calls are refused.
    is_closed: bool,
}

impl<R> Default for CallIndexState<R> {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            by_key: HashMap::new(),
            by_session: HashMap::new(),
            by_user: HashMap::new(),
            started_by_user: HashMap::new(),
            ringing_by_user: HashMap::new(),
            is_closed: false,
        }
    }
}

/// Limits of the number of calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallLimits {
    /// On this node.
    pub(super) all: usize,
    /// Of those, started by one user.
    pub(super) per_person: usize,
}

/// The call index; cheap to clone. `R` is the handle of a room.
#[derive(Clone)]
pub(super) struct CallIndex<R> {
    calls: Arc<Mutex<CallIndexState<R>>>,
    peer_nodes: PeerNodes,
}

impl<R: Clone> CallIndex<R> {
    /// Creates an empty index; `peer_nodes` are notified of the calls of this node.
    pub(super) fn new(peer_nodes: PeerNodes) -> Self {
        Self { calls: Arc::default(), peer_nodes }
    }

    fn calls(&self) -> MutexGuard<'_, CallIndexState<R>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves an entry for a new call that `by` starts, unless there is one with this key, or a
    /// limit is reached.
    ///
    /// # Errors
    /// `Ok` of the existing call in the error; [`CallError::NodeCapacityReached`],
    /// [`CallError::UserLimitReached`]; [`CallError::Unavailable`] when the node stops.
    pub(super) fn reserve(
        &self,
        id: CallId,
        key: Key,
        by: Option<UserId>,
        conversation: Option<ConversationId>,
        limits: CallLimits,
    ) -> Result<CallReservation<R>, Result<LocatedCall<R>, CallError>> {
        let mut calls = self.calls();
        if let Some(existing) = calls.by_key.get(&key) {
            return Err(calls.located(*existing).ok_or(CallError::Unavailable));
        }
        if calls.is_closed {
            return Err(Err(CallError::Unavailable));
        }
        if calls.all.values().filter(|entry| entry.is_local()).count() >= limits.all {
            count_rejected("calls");
            return Err(Err(CallError::NodeCapacityReached));
        }
        let own_calls = by.and_then(|by| calls.started_by_user.get(&by));
        if own_calls.is_some_and(|ids| ids.len() >= limits.per_person) {
            count_rejected("calls-of-one-person");
            return Err(Err(CallError::UserLimitReached));
        }
        calls.by_key.insert(key.clone(), id);
        if let Some(by) = by {
            calls.started_by_user.entry(by).or_default().insert(id);
        }
        let location = CallLocation::Local(watch::Sender::new(None));
        let entry =
            CallIndexEntry { key, by, conversation, location, summary: CallSummary::default() };
        calls.all.insert(id, entry);
        gauge!(CALLS).increment(1.0);
        Ok(CallReservation::new(self.clone(), id))
    }

    /// The room of a reserved call is running, or could not be started.
    fn set_room(&self, id: CallId, room: Result<R, ()>) {
        let failed = room.is_err();
        if let Some(CallIndexEntry { location: CallLocation::Local(room_state), .. }) =
            self.calls().all.get(&id)
        {
            room_state.send_replace(Some(room));
        }
        if failed {
            self.remove(id);
        }
    }

    fn rename(&self, old: CallId, new: CallId, conversation: Option<ConversationId>) {
        let mut calls = self.calls();
        if let Some(mut entry) = calls.all.remove(&old) {
            if let Some(by) = entry.by.take() {
                remove_id(&mut calls.started_by_user, by, old);
            }
            entry.conversation = conversation;
            calls.by_key.insert(entry.key.clone(), new);
            calls.all.insert(new, entry);
        }
    }

    /// The call has ended, or no longer runs on this node.
    pub(super) fn remove(&self, id: CallId) {
        let mut calls = self.calls();
        if calls.all.get(&id).is_some_and(CallIndexEntry::is_local) {
            calls.remove(id);
            gauge!(CALLS).decrement(1.0);
            self.peer_nodes.remove_call(id);
        }
    }

    /// Updates the summary of a call of this node and publishes it.
    pub(super) fn update_summary(&self, id: CallId, summary: CallSummary) {
        let mut calls = self.calls();
        let Some(entry) = calls.all.get(&id).filter(|entry| entry.is_local()) else { return };
        self.peer_nodes.publish_call(RemoteCallSummary {
            call_id: id,
            key: entry.key.clone(),
            conversation_id: entry.conversation,
            participants: summary.participants.clone(),
            ringing: summary.ringing.clone(),
            active: summary.active.clone(),
        });
        calls.update_summary(id, summary);
    }

    /// The number of calls on this node and of participants in them.
    pub(super) fn load(&self) -> (usize, usize) {
        let calls = self.calls();
        let local = calls.all.values().filter(|entry| entry.is_local());
        local.fold((0, 0), |(n, participants), entry| {
            (n + 1, participants + entry.summary.participants.len())
        })
    }

    /// The summary of a call.
    pub(super) fn summary(&self, id: CallId) -> Option<CallSummary> {
        self.calls().all.get(&id).map(|entry| entry.summary.clone())
    }
}

impl<R: Clone> CallIndexState<R> {
    fn remove(&mut self, id: CallId) {
        self.update_summary(id, CallSummary::default());
        let Some(entry) = self.all.remove(&id) else { return };
        if self.by_key.get(&entry.key) == Some(&id) {
            self.by_key.remove(&entry.key);
        }
        if let Some(by) = entry.by {
            remove_id(&mut self.started_by_user, by, id);
        }
    }

    fn update_summary(&mut self, id: CallId, summary: CallSummary) {
        let calls = self;
        let Some(entry) = calls.all.get_mut(&id) else { return };
        let old = std::mem::replace(&mut entry.summary, summary);
        for location in &old.participants {
            remove_id(&mut calls.by_session, location.session, id);
            remove_id(&mut calls.by_user, location.user, id);
        }
        for (user, _) in &old.ringing {
            remove_id(&mut calls.ringing_by_user, *user, id);
        }
        for location in &entry.summary.participants {
            calls.by_session.entry(location.session).or_default().insert(id);
            calls.by_user.entry(location.user).or_default().insert(id);
        }
        for (user, _) in &entry.summary.ringing {
            calls.ringing_by_user.entry(*user).or_default().insert(id);
        }
    }
}

impl<R: Clone> CallIndex<R> {
    /// A call by its id.
    pub(super) fn by_id(&self, id: CallId) -> Option<LocatedCall<R>> {
        self.calls().located(id)
    }

    /// A call by its key.
    pub(super) fn by_key(&self, key: &Key) -> Option<LocatedCall<R>> {
        let calls = self.calls();
        calls.by_key.get(key).and_then(|id| calls.located(*id))
    }

    /// The only call in which this session takes part.
    pub(super) fn only_of(&self, session: SessionId) -> Option<LocatedCall<R>> {
        let calls = self.calls();
        let mut ids = calls.by_session.get(&session)?.iter();
        let (id, more) = (ids.next()?, ids.next());
        if more.is_some() { None } else { calls.located(*id) }
    }

    /// The calls in which this session takes part.
    pub(super) fn of_session(&self, session: SessionId) -> Vec<LocatedCall<R>> {
        let calls = self.calls();
        let ids = calls.by_session.get(&session).into_iter().flatten();
        ids.filter_map(|id| calls.located(*id)).collect()
    }

    /// The participations of this user in calls other than `except`.
    pub(super) fn participations_of(
        &self,
        user: UserId,
        except: Option<CallId>,
    ) -> Vec<ParticipantLocation> {
        let calls = self.calls();
        let ids = calls.by_user.get(&user).into_iter().flatten().filter(|id| Some(**id) != except);
        let entries = ids.filter_map(|id| calls.all.get(id));
        let participants = entries.flat_map(|entry| &entry.summary.participants);
        participants.filter(|location| location.user == user).copied().collect()
    }

    /// The calls that ring for this user.
    pub(super) fn ringing(&self, user: UserId) -> Vec<IncomingCall> {
        let calls = self.calls();
        let ids = calls.ringing_by_user.get(&user).into_iter().flatten();
        let entries = ids.filter_map(|id| calls.all.get(id));
        let ringing = entries.flat_map(|entry| &entry.summary.ringing);
        ringing.filter(|(callee, _)| *callee == user).map(|(_, call)| call.clone()).collect()
    }

    /// The active calls, all or those of one user, and the total number of calls.
    pub(super) fn active(&self, user: Option<UserId>) -> (Vec<ActiveCall>, usize) {
        let calls = self.calls();
        let is_selected = |entry: &&CallIndexEntry<R>| {
            user.is_none_or(|user| {
                entry.summary.participants.iter().any(|location| location.user == user)
            })
        };
        let selected = calls.all.values().filter(is_selected);
        (selected.filter_map(|entry| entry.summary.active.clone()).collect(), calls.all.len())
    }

    /// The rooms of all calls of this node.
    pub(super) fn rooms(&self) -> Vec<(CallId, R)> {
        let calls = self.calls();
        let rooms = calls.all.iter().filter_map(|(id, entry)| {
            let CallLocation::Local(room_state) = &entry.location else { return None };
            let room_state = room_state.borrow().clone();
            Some((*id, room_state?.ok()?))
        });
        rooms.collect()
    }

    /// Refuses new calls from now on.
    pub(super) fn close(&self) {
        self.calls().is_closed = true;
    }

    /// All calls of this node, including those that are starting.
    pub(super) fn all(&self) -> Vec<LocatedCall<R>> {
        let calls = self.calls();
        let local = calls.all.iter().filter(|(_, entry)| entry.is_local());
        local.filter_map(|(id, _)| calls.located(*id)).collect()
    }

    /// The ids of all calls of this node, or of all nodes.
    pub(super) fn ids(&self, all_nodes: bool) -> Vec<CallId> {
        let calls = self.calls();
        let selected = calls.all.iter().filter(|(_, entry)| all_nodes || entry.is_local());
        selected.map(|(id, _)| *id).collect()
    }
}

impl<R: Clone> CallIndexState<R> {
    fn located(&self, id: CallId) -> Option<LocatedCall<R>> {
        let entry = self.all.get(&id)?;
        let name = if let Key::Name(name) = &entry.key { Some(name.clone()) } else { None };
        let route = match &entry.location {
            CallLocation::Local(room_state) => RoomRoute::Local(room_state.subscribe()),
            CallLocation::Remote(node) => RoomRoute::Remote(*node),
        };
        Some(LocatedCall { id, conversation: entry.conversation, name, route })
    }
}

fn remove_id<K: std::hash::Hash + Eq>(map: &mut HashMap<K, HashSet<CallId>>, key: K, id: CallId) {
    if let std::collections::hash_map::Entry::Occupied(mut ids) = map.entry(key) {
        ids.get_mut().remove(&id);
        if ids.get().is_empty() {
            ids.remove();
        }
    }
}
