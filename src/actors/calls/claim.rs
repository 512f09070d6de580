//! Ownership of calls: finding the owner, claiming a call, and taking it over from a dead node.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use base::ids::{CallId, ConversationId, NodeId, UserId};
use metrics::counter;

use super::CallService;
use super::call_index::{CallLimits, CallReservation, Key, LocatedCall};
use super::room::{CallRoom, RoomContext, RoomHandle, RoomOwnership};
use crate::actors::media::MEDIA;
use crate::actors::supervision::{ActorRef, ThreadAffinity};
use crate::cluster::{ClaimOutcome, Ownership};
use crate::domain::calls::{CallError, CallState, StartCallParams};
use crate::telemetry::metrics::ROOM_MIGRATIONS;

/// Prefix of call keys in the ownership directory.
const PREFIX: &str = "call/";

/// The outcome of starting a call.
pub(super) enum OpenCallOutcome {
    /// A new call was started.
    Begun(ActorRef<CallRoom>),
    /// A call with this key exists, on this or another node.
    Found(LocatedCall<RoomHandle>),
}

/// The directory text of a call key.
fn key_text(key: &Key) -> String {
    match key {
        Key::Pair(low, high) => format!("{PREFIX}pair/{low}/{high}"),
        Key::Conversation(id) => format!("{PREFIX}conversation/{id}"),
        Key::Name(name) => format!("{PREFIX}name/{name}"),
    }
}

/// Parses the directory text of a call key.
fn parse_key(text: &str) -> Option<Key> {
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
    /// Reserves an entry in the call index, within the limits of this node and of the user who
    /// starts the call.
    fn reserve(
        &self,
        id: CallId,
        key: &Key,
        by: Option<UserId>,
        conversation: Option<ConversationId>,
    ) -> Result<CallReservation<RoomHandle>, Result<LocatedCall<RoomHandle>, CallError>> {
        let config = self.domain.config();
        let limits = CallLimits { all: config.max_calls, per_person: config.max_calls_per_user };
        self.call_index.reserve(id, key.clone(), by, conversation, limits)
    }

    /// Starts a call unless one exists with its key. `ring_limit_key`: the callee that the ring rate limit
    /// counts.
    pub(super) async fn open(
        &self,
        key: &Key,
        params: StartCallParams,
        ring_limit_key: Option<&str>,
    ) -> Result<OpenCallOutcome, CallError> {
        let (id, by) = (params.id, params.by.user_id);
        let reservation = match self.reserve(id, key, Some(by), params.conversation) {
            Ok(reservation) => reservation,
            Err(located) => return located.map(OpenCallOutcome::Found),
        };
        let text = key_text(key);
        let epoch = match self.directory.claim(&text, &id.to_string()).await? {
            ClaimOutcome::Owned { epoch, previous_value: None } => epoch,
            ClaimOutcome::Owned { epoch, previous_value: Some(value) } => {
                if let Some(call) = self.load_unfinished(&value).await? {
                    let id = call.id();
                    self.continue_call(reservation, self.ownership(text, epoch), call).await?;
                    return self.located(id).map(OpenCallOutcome::Found);
                }
                self.set_value(&text, epoch, id).await?;
                epoch
            }
            ClaimOutcome::Held(held) if self.directory.owns(&held) => {
                if self.room_supervisor.get(&held.value).is_some() {
                    return Err(CallError::Migrating); // its end is being written
                }
                // It had a room on this node, which failed for good.
                let failed_calls = held.value.parse().into_iter().collect();
                self.domain.write_orphaned(failed_calls).await?;
                self.set_value(&text, held.epoch, id).await?;
                held.epoch
            }
            ClaimOutcome::Held(held) => {
                drop(reservation);
                return self.index_remote(key, &held).map(OpenCallOutcome::Found);
            }
        };
        if let Some(ring_limit_key) = ring_limit_key
            && let Err(error) = self.domain.take_ring_attempt(by, ring_limit_key).await
        {
            self.directory.release(&text, epoch).await?;
            return Err(error);
        }
        let ownership = self.ownership(text.clone(), epoch);
        self.domain.write_begin(&params, ownership.fence.clone()).await?;
        let call = CallState::begin(params, self.domain.terms(), epoch, self.domain.clock().now());
        let fence = ownership.fence.clone();
        match self.start_room(reservation, ownership, call).await {
            Ok(room) => Ok(OpenCallOutcome::Begun(room)),
            Err(error) => {
                self.domain.write_failed(id, fence).await?;
                self.directory.release(&text, epoch).await?;
                Err(error)
            }
        }
    }

    async fn set_value(&self, text: &str, epoch: u64, id: CallId) -> Result<(), CallError> {
        let is_owner = self.directory.set_value(text, epoch, &id.to_string()).await?;
        if is_owner { Ok(()) } else { Err(CallError::Migrating) }
    }

    /// The call that a dead owner left, if it had not ended.
    async fn load_unfinished(&self, value: &str) -> Result<Option<CallState>, CallError> {
        match value.parse() {
            Ok(id) => self.domain.load_state(id).await,
            Err(_) => Ok(None),
        }
    }

    fn ownership(&self, key: String, epoch: u64) -> RoomOwnership {
        let fence = self.directory.fencing_token(&key, epoch);
        RoomOwnership { key, epoch, fence, directory: self.directory.clone() }
    }

    fn index_remote(
        &self,
        key: &Key,
        held: &Ownership,
    ) -> Result<LocatedCall<RoomHandle>, CallError> {
        let id = held.value.parse().map_err(|_| CallError::Unavailable)?;
        self.call_index.add_remote(held.owner, id, key.clone());
        self.located(id)
    }

    /// Continues a call of another node.
    async fn continue_call(
        &self,
        mut reservation: CallReservation<RoomHandle>,
        ownership: RoomOwnership,
        mut call: CallState,
    ) -> Result<(), CallError> {
        reservation.rename(call.id(), call.conversation());
        tracing::info!(call.id = %call.id(), call.epoch = ownership.epoch, "call taken over");
        counter!(ROOM_MIGRATIONS, "reason" => "adopted").increment(1);
        call.room_moved(ownership.epoch);
        self.start_room(reservation, ownership, call).await?;
        Ok(())
    }

    /// Starts the room of a call.
    async fn start_room(
        &self,
        reservation: CallReservation<RoomHandle>,
        ownership: RoomOwnership,
        call: CallState,
    ) -> Result<ActorRef<CallRoom>, CallError> {
        let id = reservation.id();
        let context = Arc::new(RoomContext::new(self, ownership, call));
        let affinity =
            ThreadAffinity::Thread(MEDIA, self.next_thread.fetch_add(1, Ordering::Relaxed));
        let factory = move |ctx: &mut _| CallRoom::new(context.clone(), ctx);
        match self.room_supervisor.start_on(affinity, &id.to_string(), factory).await {
            Ok(room) => {
                reservation.start(room.clone());
                Ok(room)
            }
            Err(error) => {
                tracing::warn!(%error, "room start failed");
                Err(CallError::Unavailable)
            }
        }
    }

    /// Finds a call by id: in the call index, then in the directory; a call whose node is dead is
    /// taken over.
    pub(super) async fn find(&self, id: CallId) -> Result<LocatedCall<RoomHandle>, CallError> {
        if let Some(located) = self.call_index.by_id(id) {
            return Ok(located);
        }
        let located = self.directory.find_by_value(&id.to_string()).await?;
        let (text, held) = located.ok_or(CallError::CallNotFound)?;
        let key = parse_key(&text).ok_or(CallError::CallNotFound)?;
        if held.owner == self.peer_nodes.local_node() {
            return self.located(id); // it has just started, or its room has failed
        }
        if self.peer_nodes.is_live(held.owner) {
            return self.index_remote(&key, &held);
        }
        self.take_over(&key, id).await
    }

    /// Takes over a call whose node is dead, unless another node was faster.
    pub(super) async fn take_over(
        &self,
        key: &Key,
        id: CallId,
    ) -> Result<LocatedCall<RoomHandle>, CallError> {
        let reservation = match self.reserve(id, key, None, None) {
            Ok(reservation) => reservation,
            Err(located) => return located,
        };
        let text = key_text(key);
        match self.directory.claim(&text, &id.to_string()).await? {
            ClaimOutcome::Held(held) if !self.directory.owns(&held) => {
                drop(reservation);
                self.index_remote(key, &held)
            }
            ClaimOutcome::Owned { epoch, previous_value: Some(value) } => {
                let Some(call) = self.load_unfinished(&value).await? else {
                    self.directory.release(&text, epoch).await?;
                    return Err(CallError::CallNotFound); // it had ended
                };
                let id = call.id();
                self.continue_call(reservation, self.ownership(text, epoch), call).await?;
                self.located(id)
            }
            ClaimOutcome::Owned { epoch, previous_value: None } => {
                self.directory.release(&text, epoch).await?;
                Err(CallError::CallNotFound) // it has just ended
            }
            ClaimOutcome::Held(_) => Err(CallError::CallNotFound), // its room on this node has failed
        }
    }

    /// Accepts a room that another node hands off; true if it continues here.
    pub async fn accept_hand_off(
        &self,
        from: NodeId,
        text: &str,
        epoch: u64,
        call: CallState,
    ) -> bool {
        let accepted = self.accept(from, text, epoch, call).await;
        if let Err(error) = &accepted {
            tracing::warn!(%error, "hand-off accept failed");
        }
        accepted.is_ok()
    }

    async fn accept(
        &self,
        from: NodeId,
        text: &str,
        epoch: u64,
        mut call: CallState,
    ) -> Result<(), CallError> {
        let key = parse_key(text).ok_or(CallError::CallNotFound)?;
        self.call_index.remove_remote(from, call.id());
        let (id, conversation) = (call.id(), call.conversation());
        let reservation = self
            .reserve(id, &key, None, conversation)
            .map_err(|existing| existing.map_or_else(|error| error, |_| CallError::Unavailable))?;
        let local_node = self.peer_nodes.local_node();
        let accepted =
            self.directory.take_over(text, from, epoch).await?.ok_or(CallError::Migrating)?;
        tracing::info!(call.id = %id, call.epoch = accepted, node = %local_node, "call handed off");
        counter!(ROOM_MIGRATIONS, "reason" => "handed-over").increment(1);
        call.room_moved(accepted);
        self.start_room(reservation, self.ownership(text.to_owned(), accepted), call).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base::ids::{ConversationId, UserId};

    use super::*;

    #[test]
    fn call_key_round_trips_through_directory_text() {
        let keys = [
            Key::Pair(UserId::new(), UserId::new()),
            Key::Conversation(ConversationId::new()),
            Key::Name("stand/up: @9".to_owned()),
        ];
        for key in keys {
            assert_eq!(parse_key(&key_text(&key)), Some(key));
        }
    }
}
