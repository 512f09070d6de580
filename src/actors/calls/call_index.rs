//! Which calls go on, here and at other nodes, who is in them, and for whom they ring.

mod remote;
mod reserved;
#[cfg(test)]
mod tests;

pub(super) use reserved::CallReservation;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ids::{CallId, ConversationId, NodeId, SessionId, UserId};
use metrics::gauge;
use tokio::sync::watch;

use super::room::CallRoom;
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::supervision::ActorRef;
use crate::domain::calls::{CallError, Seat};
use crate::protocol::calls::{ActiveCall, IncomingCall};
pub(super) use crate::protocol::cluster::CallKey as Key;
use crate::protocol::cluster::RemoteCallSummary;
use crate::telemetry::metrics::{CALLS, refused};

/// What is known of a call outside its room.
#[derive(Clone, Debug, Default)]
pub(super) struct CallSummary {
    /// Who is in it.
    pub(super) seats: Vec<Seat>,
    /// Whose devices ring, and what those are told that come meanwhile.
    pub(super) ringing: Vec<(UserId, IncomingCall)>,
    /// For statistics.
    pub(super) active: Option<ActiveCall>,
}

type RoomState = Option<Result<ActorRef<CallRoom>, ()>>;

struct CallIndexEntry {
    key: Key,
    /// Who began it, if that was here.
    by: Option<UserId>,
    conversation: Option<ConversationId>,
    place: CallLocation,
    standing: CallSummary,
}

/// Where a call goes on.
enum CallLocation {
    Here(watch::Sender<RoomState>),
    There(NodeId),
}

impl CallIndexEntry {
    const fn is_here(&self) -> bool {
        matches!(self.place, CallLocation::Here(_))
    }
}

#[derive(Default)]
struct CallIndexState {
    all: HashMap<CallId, CallIndexEntry>,
    by_key: HashMap<Key, CallId>,
    by_session: HashMap<SessionId, HashSet<CallId>>,
    by_user: HashMap<UserId, HashSet<CallId>>,
    begun_by: HashMap<UserId, HashSet<CallId>>,
    rings: HashMap<UserId, HashSet<CallId>>,
    /// No call begins any more.
    closed: bool,
}

/// How many calls there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallLimits {
    /// At this node.
    pub(super) all: usize,
    /// Of those, begun by one person.
    pub(super) per_person: usize,
}

/// The board; cheap to clone.
#[derive(Clone)]
pub(super) struct CallIndex {
    calls: Arc<Mutex<CallIndexState>>,
    neighbours: PeerNodes,
}

/// The way to a room that is there or on its way.
pub(super) struct LocatedCall {
    /// Which call.
    pub(super) id: CallId,
    /// The conversation it belongs to.
    pub(super) conversation: Option<ConversationId>,
    /// The name by which it is entered.
    pub(super) name: Option<String>,
    way: RoomRoute,
}

#[derive(Clone)]
enum RoomRoute {
    Here(watch::Receiver<RoomState>),
    There(NodeId),
}

/// How long a call that is about to begin may take.
const ROOM_START_TIMEOUT: Duration = Duration::from_secs(5);

impl LocatedCall {
    /// The other node at which it goes on.
    pub(super) const fn remote_node(&self) -> Option<NodeId> {
        match self.way {
            RoomRoute::Here(_) => None,
            RoomRoute::There(node) => Some(node),
        }
    }

    /// Its room, once it lives.
    ///
    /// # Errors
    /// [`CallError::Moved`] if it goes on elsewhere, or whoever was to begin it let go of its place: to
    /// be asked again.
    pub(super) async fn room(self) -> Result<ActorRef<CallRoom>, CallError> {
        let RoomRoute::Here(mut room) = self.way else { return Err(CallError::Moved) };
        let begun = tokio::time::timeout(ROOM_START_TIMEOUT, room.wait_for(Option::is_some)).await;
        match begun {
            Ok(Ok(life)) => life.clone().unwrap_or(Err(())).map_err(|()| CallError::Moved),
            _ => Err(CallError::Unavailable),
        }
    }
}

impl CallIndex {
    /// No calls yet; the neighbours hear of those that go on here.
    pub(super) fn new(neighbours: PeerNodes) -> Self {
        Self { calls: Arc::default(), neighbours }
    }

    fn calls(&self) -> MutexGuard<'_, CallIndexState> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a new call that `by` begins, unless there is one under this key, or as many
    /// as there may be.
    ///
    /// # Errors
    /// `Ok` of the call that is there in the error; [`CallError::TooManyCalls`], [`CallError::TooManyOwn`];
    /// [`CallError::Unavailable`] when the node stops.
    pub(super) fn reserve(
        &self,
        id: CallId,
        key: Key,
        by: Option<UserId>,
        conversation: Option<ConversationId>,
        most: CallLimits,
    ) -> Result<CallReservation, Result<LocatedCall, CallError>> {
        let mut calls = self.calls();
        if let Some(there) = calls.by_key.get(&key) {
            return Err(calls.found(*there).ok_or(CallError::Unavailable));
        }
        if calls.closed {
            return Err(Err(CallError::Unavailable));
        }
        if calls.all.values().filter(|entry| entry.is_here()).count() >= most.all {
            refused("calls");
            return Err(Err(CallError::TooManyCalls));
        }
        let own = by.and_then(|by| calls.begun_by.get(&by));
        if own.is_some_and(|own| own.len() >= most.per_person) {
            refused("calls-of-one-person");
            return Err(Err(CallError::TooManyOwn));
        }
        calls.by_key.insert(key.clone(), id);
        if let Some(by) = by {
            calls.begun_by.entry(by).or_default().insert(id);
        }
        let place = CallLocation::Here(watch::Sender::new(None));
        let entry =
            CallIndexEntry { key, by, conversation, place, standing: CallSummary::default() };
        calls.all.insert(id, entry);
        gauge!(CALLS).increment(1.0);
        Ok(CallReservation::new(self.clone(), id))
    }

    /// The room of a reserved call lives, or could not be started.
    fn begun(&self, id: CallId, room: Result<ActorRef<CallRoom>, ()>) {
        let failed = room.is_err();
        if let Some(CallIndexEntry { place: CallLocation::Here(life), .. }) =
            self.calls().all.get(&id)
        {
            life.send_replace(Some(room));
        }
        if failed {
            self.remove(id);
        }
    }

    fn rename(&self, old: CallId, new: CallId, conversation: Option<ConversationId>) {
        let mut calls = self.calls();
        if let Some(mut entry) = calls.all.remove(&old) {
            if let Some(by) = entry.by.take() {
                strike(&mut calls.begun_by, by, old);
            }
            entry.conversation = conversation;
            calls.by_key.insert(entry.key.clone(), new);
            calls.all.insert(new, entry);
        }
    }

    /// The call is over, or does not go on here any more.
    pub(super) fn remove(&self, id: CallId) {
        let mut calls = self.calls();
        if calls.all.get(&id).is_some_and(CallIndexEntry::is_here) {
            calls.remove(id);
            gauge!(CALLS).decrement(1.0);
            self.neighbours.remove_call(id);
        }
    }

    /// The standing of a call that goes on here has changed.
    pub(super) fn stand(&self, id: CallId, standing: CallSummary) {
        let mut calls = self.calls();
        let Some(entry) = calls.all.get(&id).filter(|entry| entry.is_here()) else { return };
        self.neighbours.publish_call(RemoteCallSummary {
            call_id: id,
            key: entry.key.clone(),
            conversation_id: entry.conversation,
            seats: standing.seats.clone(),
            ringing: standing.ringing.clone(),
            active: standing.active.clone(),
        });
        calls.stand(id, standing);
    }

    /// How many calls go on here, and how many devices are in them.
    pub(super) fn load(&self) -> (usize, usize) {
        let calls = self.calls();
        let here = calls.all.values().filter(|entry| entry.is_here());
        here.fold((0, 0), |(n, seats), entry| (n + 1, seats + entry.standing.seats.len()))
    }

    /// Who is in a call and for whom it rings.
    pub(super) fn standing(&self, id: CallId) -> Option<CallSummary> {
        self.calls().all.get(&id).map(|entry| entry.standing.clone())
    }
}

impl CallIndexState {
    fn remove(&mut self, id: CallId) {
        self.stand(id, CallSummary::default());
        let Some(entry) = self.all.remove(&id) else { return };
        if self.by_key.get(&entry.key) == Some(&id) {
            self.by_key.remove(&entry.key);
        }
        if let Some(by) = entry.by {
            strike(&mut self.begun_by, by, id);
        }
    }

    fn stand(&mut self, id: CallId, standing: CallSummary) {
        let calls = self;
        let Some(entry) = calls.all.get_mut(&id) else { return };
        let old = std::mem::replace(&mut entry.standing, standing);
        for seat in &old.seats {
            strike(&mut calls.by_session, seat.session, id);
            strike(&mut calls.by_user, seat.user, id);
        }
        for (user, _) in &old.ringing {
            strike(&mut calls.rings, *user, id);
        }
        for seat in &entry.standing.seats {
            calls.by_session.entry(seat.session).or_default().insert(id);
            calls.by_user.entry(seat.user).or_default().insert(id);
        }
        for (user, _) in &entry.standing.ringing {
            calls.rings.entry(*user).or_default().insert(id);
        }
    }
}

impl CallIndex {
    /// A call by its id.
    pub(super) fn by_id(&self, id: CallId) -> Option<LocatedCall> {
        self.calls().found(id)
    }

    /// A call by its key.
    pub(super) fn by_key(&self, key: &Key) -> Option<LocatedCall> {
        let calls = self.calls();
        calls.by_key.get(key).and_then(|id| calls.found(*id))
    }

    /// The only call in which this session takes part.
    pub(super) fn only_of(&self, session: SessionId) -> Option<LocatedCall> {
        let calls = self.calls();
        let mut ids = calls.by_session.get(&session)?.iter();
        let (id, more) = (ids.next()?, ids.next());
        if more.is_some() { None } else { calls.found(*id) }
    }

    /// The calls in which this session takes part.
    pub(super) fn of_session(&self, session: SessionId) -> Vec<LocatedCall> {
        let calls = self.calls();
        let ids = calls.by_session.get(&session).into_iter().flatten();
        ids.filter_map(|id| calls.found(*id)).collect()
    }

    /// The seats of this person in calls other than this one.
    pub(super) fn seats_of(&self, user: UserId, but: Option<CallId>) -> Vec<Seat> {
        let calls = self.calls();
        let ids = calls.by_user.get(&user).into_iter().flatten().filter(|id| Some(**id) != but);
        let entries = ids.filter_map(|id| calls.all.get(id));
        let seats = entries.flat_map(|entry| &entry.standing.seats);
        seats.filter(|seat| seat.user == user).copied().collect()
    }

    /// The calls that ring for this person.
    pub(super) fn ringing(&self, user: UserId) -> Vec<IncomingCall> {
        let calls = self.calls();
        let ids = calls.rings.get(&user).into_iter().flatten();
        let entries = ids.filter_map(|id| calls.all.get(id));
        let rings = entries.flat_map(|entry| &entry.standing.ringing);
        rings.filter(|(whom, _)| *whom == user).map(|(_, call)| call.clone()).collect()
    }

    /// The calls that go on: all, or those of one person.
    pub(super) fn active(&self, of: Option<UserId>) -> (Vec<ActiveCall>, usize) {
        let calls = self.calls();
        let mine = |entry: &&CallIndexEntry| {
            of.is_none_or(|user| entry.standing.seats.iter().any(|seat| seat.user == user))
        };
        let shown = calls.all.values().filter(mine);
        (shown.filter_map(|entry| entry.standing.active.clone()).collect(), calls.all.len())
    }

    /// The rooms of all calls that go on here.
    pub(super) fn rooms(&self) -> Vec<(CallId, ActorRef<CallRoom>)> {
        let calls = self.calls();
        let rooms = calls.all.iter().filter_map(|(id, entry)| {
            let CallLocation::Here(life) = &entry.place else { return None };
            let life = life.borrow().clone();
            Some((*id, life?.ok()?))
        });
        rooms.collect()
    }

    /// From now on no call begins.
    pub(super) fn close(&self) {
        self.calls().closed = true;
    }

    /// All calls of this node, also those that are about to begin.
    pub(super) fn all(&self) -> Vec<LocatedCall> {
        let calls = self.calls();
        let here = calls.all.iter().filter(|(_, entry)| entry.is_here());
        here.filter_map(|(id, _)| calls.found(*id)).collect()
    }

    /// The ids of all calls that go on here, or anywhere.
    pub(super) fn ids(&self, anywhere: bool) -> Vec<CallId> {
        let calls = self.calls();
        let shown = calls.all.iter().filter(|(_, entry)| anywhere || entry.is_here());
        shown.map(|(id, _)| *id).collect()
    }
}

impl CallIndexState {
    fn found(&self, id: CallId) -> Option<LocatedCall> {
        let entry = self.all.get(&id)?;
        let name = if let Key::Name(name) = &entry.key { Some(name.clone()) } else { None };
        let way = match &entry.place {
            CallLocation::Here(life) => RoomRoute::Here(life.subscribe()),
            CallLocation::There(node) => RoomRoute::There(*node),
        };
        Some(LocatedCall { id, conversation: entry.conversation, name, way })
    }
}

fn strike<K: std::hash::Hash + Eq>(map: &mut HashMap<K, HashSet<CallId>>, key: K, id: CallId) {
    if let std::collections::hash_map::Entry::Occupied(mut ids) = map.entry(key) {
        ids.get_mut().remove(&id);
        if ids.get().is_empty() {
            ids.remove();
        }
    }
}
