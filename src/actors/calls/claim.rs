//! Which node has a call: found, claimed, and taken over from a node that died.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::ids::{CallId, ConversationId, NodeId, UserId};
use metrics::counter;

use super::CallService;
use super::call_index::{CallLimits, CallReservation, Key, LocatedCall};
use super::room::{CallRoom, RoomContext, RoomOwnership};
use crate::actors::media::MEDIA;
use crate::actors::supervision::{ActorRef, ThreadAffinity};
use crate::cluster::{ClaimOutcome, Ownership};
use crate::domain::calls::{CallError, CallState, StartCallParams};
use crate::telemetry::metrics::CLUSTER_MOVES;

/// What calls' keys begin with in the directory.
const PREFIX: &str = "call/";

/// What a wish to begin a call came to.
pub(super) enum OpenCallOutcome {
    /// It has begun.
    Begun(ActorRef<CallRoom>),
    /// There is one under this key, here or elsewhere.
    Found(LocatedCall),
}

/// How a call's key is written in the directory.
fn text(key: &Key) -> String {
    match key {
        Key::Pair(low, high) => format!("{PREFIX}pair/{low}/{high}"),
        Key::Conversation(id) => format!("{PREFIX}conversation/{id}"),
        Key::Name(name) => format!("{PREFIX}name/{name}"),
    }
}

/// The key that was written so.
fn key(text: &str) -> Option<Key> {
    let (kind, rest) = text.strip_prefix(PREFIX)?.split_once('/')?;
    match kind {
        "pair" => {
            let (low, high) = rest.split_once('/')?;
            Some(Key::Pair(low.parse().ok()?, high.parse().ok()?))
        }
        "conversation" => Some(Key::Conversation(rest.parse().ok()?)),
        "name" => Some(Key::Name(rest.to_owned())),
        _ => None,
    }
}

impl CallService {
    /// A call's place on the board, of those that this node has for all and for whoever begins it.
    fn reserve(
        &self,
        id: CallId,
        key: &Key,
        by: Option<UserId>,
        conversation: Option<ConversationId>,
    ) -> Result<CallReservation, Result<LocatedCall, CallError>> {
        let config = self.domain.config();
        let most = CallLimits { all: config.max_calls, per_person: config.max_calls_per_user };
        self.board.reserve(id, key.clone(), by, conversation, most)
    }

    /// Begins a call, unless there is one under its key. `whom`: who is counted as rung.
    pub(super) async fn open(
        &self,
        key: &Key,
        begin: StartCallParams,
        whom: Option<&str>,
    ) -> Result<OpenCallOutcome, CallError> {
        let (id, by) = (begin.id, begin.by.user_id);
        let place = match self.reserve(id, key, Some(by), begin.conversation) {
            Ok(place) => place,
            Err(found) => return found.map(OpenCallOutcome::Found),
        };
        let text = text(key);
        let epoch = match self.directory.claim(&text, &id.to_string()).await? {
            ClaimOutcome::Mine { epoch, left: None } => epoch,
            ClaimOutcome::Mine { epoch, left: Some(left) } => {
                if let Some(call) = self.left(&left).await? {
                    let id = call.id();
                    self.adopt(place, self.hold(text, epoch), call).await?;
                    return self.found(id).map(OpenCallOutcome::Found);
                }
                self.note(&text, epoch, id).await?;
                epoch
            }
            ClaimOutcome::Held(held) if self.directory.owns(&held) => {
                if self.nursery.get(&held.value).is_some() {
                    return Err(CallError::Moved); // its end is being written down
                }
                // It had a room here, which failed for good.
                let failed = held.value.parse().into_iter().collect();
                self.domain.write_lost(failed).await?;
                self.note(&text, held.epoch, id).await?;
                held.epoch
            }
            ClaimOutcome::Held(held) => {
                drop(place);
                return self.place_there(key, &held).map(OpenCallOutcome::Found);
            }
        };
        if let Some(whom) = whom
            && let Err(often) = self.domain.ring(by, whom).await
        {
            self.directory.release(&text, epoch).await?;
            return Err(often);
        }
        let hold = self.hold(text.clone(), epoch);
        self.domain.write_begin(&begin, hold.fence.clone()).await?;
        let call = CallState::begin(begin, self.domain.terms(), epoch, self.domain.clock().now());
        let fence = hold.fence.clone();
        match self.live(place, hold, call).await {
            Ok(room) => Ok(OpenCallOutcome::Begun(room)),
            Err(error) => {
                self.domain.write_failed(id, fence).await?;
                self.directory.release(&text, epoch).await?;
                Err(error)
            }
        }
    }

    async fn note(&self, text: &str, epoch: u64, id: CallId) -> Result<(), CallError> {
        let ours = self.directory.note(text, epoch, &id.to_string()).await?;
        if ours { Ok(()) } else { Err(CallError::Moved) }
    }

    /// The call that a dead owner left, if it was not over.
    async fn left(&self, value: &str) -> Result<Option<CallState>, CallError> {
        match value.parse() {
            Ok(id) => self.domain.kept(id).await,
            Err(_) => Ok(None),
        }
    }

    fn hold(&self, key: String, epoch: u64) -> RoomOwnership {
        let fence = self.directory.fence(&key, epoch);
        RoomOwnership { key, epoch, fence, directory: self.directory.clone() }
    }

    fn place_there(&self, key: &Key, held: &Ownership) -> Result<LocatedCall, CallError> {
        let id = held.value.parse().map_err(|_| CallError::Unavailable)?;
        self.board.is_there(held.owner, id, key.clone());
        self.found(id)
    }

    /// Goes on with a call that another node had.
    async fn adopt(
        &self,
        mut place: CallReservation,
        hold: RoomOwnership,
        mut call: CallState,
    ) -> Result<(), CallError> {
        place.rename(call.id(), call.conversation());
        tracing::info!(call.id = %call.id(), call.epoch = hold.epoch, "call taken over");
        counter!(CLUSTER_MOVES, "reason" => "adopted").increment(1);
        call.moved(hold.epoch);
        self.live(place, hold, call).await?;
        Ok(())
    }

    /// Brings a room to life.
    async fn live(
        &self,
        place: CallReservation,
        hold: RoomOwnership,
        call: CallState,
    ) -> Result<ActorRef<CallRoom>, CallError> {
        let id = place.id();
        let seed = Arc::new(RoomContext::new(self, hold, call));
        let on = ThreadAffinity::Thread(MEDIA, self.next_thread.fetch_add(1, Ordering::Relaxed));
        let factory = move |ctx: &mut _| CallRoom::new(seed.clone(), ctx);
        match self.nursery.start_on(on, &id.to_string(), factory).await {
            Ok(room) => {
                place.begun(room.clone());
                Ok(room)
            }
            Err(error) => {
                tracing::warn!(%error, "room start failed");
                Err(CallError::Unavailable)
            }
        }
    }

    /// Looks for a call of this id wherever it may be: on the board, in the directory, and if its
    /// node is dead it comes here.
    pub(super) async fn find(&self, id: CallId) -> Result<LocatedCall, CallError> {
        if let Some(found) = self.board.by_id(id) {
            return Ok(found);
        }
        let found = self.directory.find_value(&id.to_string()).await?;
        let (text, held) = found.ok_or(CallError::NoSuchCall)?;
        let key = key(&text).ok_or(CallError::NoSuchCall)?;
        if held.owner == self.neighbours.local_node() {
            return self.found(id); // it has just begun, or its room has failed
        }
        if self.neighbours.is_live(held.owner) {
            return self.place_there(&key, &held);
        }
        self.take_over(&key, id).await
    }

    /// Takes over a call whose node is dead, unless somebody else was faster.
    pub(super) async fn take_over(&self, key: &Key, id: CallId) -> Result<LocatedCall, CallError> {
        let place = match self.reserve(id, key, None, None) {
            Ok(place) => place,
            Err(found) => return found,
        };
        let text = text(key);
        match self.directory.claim(&text, &id.to_string()).await? {
            ClaimOutcome::Held(held) if !self.directory.owns(&held) => {
                drop(place);
                self.place_there(key, &held)
            }
            ClaimOutcome::Mine { epoch, left: Some(left) } => {
                let Some(call) = self.left(&left).await? else {
                    self.directory.release(&text, epoch).await?;
                    return Err(CallError::NoSuchCall); // it was over
                };
                let id = call.id();
                self.adopt(place, self.hold(text, epoch), call).await?;
                self.found(id)
            }
            ClaimOutcome::Mine { epoch, left: None } => {
                self.directory.release(&text, epoch).await?;
                Err(CallError::NoSuchCall) // it has just ended
            }
            ClaimOutcome::Held(_) => Err(CallError::NoSuchCall), // its room here has failed
        }
    }

    /// Takes a room that its node hands over. True if it goes on here.
    pub async fn accept_hand_off(
        &self,
        from: NodeId,
        text: &str,
        epoch: u64,
        call: CallState,
    ) -> bool {
        let taken = self.take(from, text, epoch, call).await;
        if let Err(error) = &taken {
            tracing::warn!(%error, "hand-off accept failed");
        }
        taken.is_ok()
    }

    async fn take(
        &self,
        from: NodeId,
        text: &str,
        epoch: u64,
        mut call: CallState,
    ) -> Result<(), CallError> {
        let key = key(text).ok_or(CallError::NoSuchCall)?;
        self.board.over_there(from, call.id());
        let (id, conversation) = (call.id(), call.conversation());
        let place = self
            .reserve(id, &key, None, conversation)
            .map_err(|there| there.map_or_else(|error| error, |_| CallError::Unavailable))?;
        let me = self.neighbours.local_node();
        let taken = self.directory.take(text, from, epoch).await?.ok_or(CallError::Moved)?;
        tracing::info!(call.id = %id, call.epoch = taken, node = %me, "call handed off");
        counter!(CLUSTER_MOVES, "reason" => "handed-over").increment(1);
        call.moved(taken);
        self.live(place, self.hold(text.to_owned(), taken), call).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::ids::{ConversationId, UserId};

    #[test]
    fn call_key_round_trips_through_directory_text() {
        let keys = [
            Key::Pair(UserId::new(), UserId::new()),
            Key::Conversation(ConversationId::new()),
            Key::Name("stand/up: @9".to_owned()),
        ];
        for one in keys {
            assert_eq!(key(&text(&one)), Some(one));
        }
    }
}
