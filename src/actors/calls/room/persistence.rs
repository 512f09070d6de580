//! Persistence of a call for another node: written while it runs, handed off when this node drains,
//! relinquished when this node no longer owns it.

use std::collections::HashSet;
use std::time::Duration;

use actix::{
    ActorContext, ActorFutureExt, AsyncContext, Handler, Message, ResponseActFuture, WrapFuture,
};
use base::ids::NodeId;
use metrics::counter;
use serde_json::value::to_raw_value;
use tokio::sync::oneshot;

use super::{CallRoom, PERSIST_BACKOFF};
use crate::actors::supervision::{ActorRef, SendError, SupervisedContext};
use crate::domain::calls::{CallError, CallState};
use crate::protocol::cluster::{NodeRequest, RoomHandOff};
use crate::telemetry::metrics::ROOM_MIGRATIONS;

/// How long the old room forwards media after a hand-off, until the last slow device has sent its
/// offer to the new room.
const OLD_ROOM_LINGER: Duration = Duration::from_secs(10);
/// How long the other node may take to start the room.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(3);

/// The progress of writing the call state.
#[derive(Default)]
pub(super) struct RoomPersistence {
    /// A write is in progress.
    is_writing: bool,
    /// The state has changed since that write began.
    is_stale: bool,
    /// Consecutive failed writes.
    failed_attempts: u32,
    /// Callers waiting for the next write.
    waiters: Vec<oneshot::Sender<Result<(), CallError>>>,
    /// The room is being or was handed off: its state no longer changes.
    is_moving: bool,
    /// Participants who have left the old room.
    left_participants: HashSet<u32>,
}

impl RoomPersistence {
    pub(super) const fn is_moving(&self) -> bool {
        self.is_moving
    }
}

impl CallRoom {
    /// Writes the call state, if another node could take the call over.
    pub(super) fn persist(&mut self, ctx: &mut SupervisedContext<Self>) {
        if self.context.ownership.fence.is_none() {
            return;
        }
        if self.persistence.is_writing {
            self.persistence.is_stale = true;
            return;
        }
        self.persistence.is_writing = true;
        self.persistence.is_stale = false;
        let waiters = std::mem::take(&mut self.persistence.waiters);
        let (domain, fence) = (self.context.domain.clone(), self.context.ownership.fence.clone());
        let call = self.call.clone();
        let write = async move { domain.save_state(&call, fence).await };
        ctx.spawn(write.into_actor(self).map(move |result, room, ctx| {
            room.persistence.is_writing = false;
            for reply_to in waiters {
                let _ = reply_to.send(result.clone()); // fails only if the caller has left
            }
            match result {
                Ok(()) => {
                    room.persistence.failed_attempts = 0;
                    if room.persistence.is_stale || !room.persistence.waiters.is_empty() {
                        room.persist(ctx);
                    }
                }
                // It was handed off meanwhile; its media continues until clients have moved.
                Err(CallError::Migrating) if room.persistence.is_moving => {}
                Err(CallError::Migrating) => room.relinquish(ctx),
                Err(error) => {
                    tracing::warn!(%error, "call state write failed");
                    room.persistence.failed_attempts += 1;
                    let retry_delay = PERSIST_BACKOFF.delay(room.persistence.failed_attempts, 0.0);
                    ctx.run_later(retry_delay, |room, ctx| {
                        if room.call.ended().is_none() && !room.persistence.is_moving {
                            room.persist(ctx);
                        }
                    });
                }
            }
        }));
    }

    /// The connection of a participant to a handed-off room has ended; the room stops with the last
    /// one.
    pub(super) fn on_peer_left(&mut self, number: u32, ctx: &mut SupervisedContext<Self>) {
        self.persistence.left_participants.insert(number);
        if self
            .call
            .participants()
            .all(|(number, _)| self.persistence.left_participants.contains(&number))
        {
            self.sfu_room = None;
            ctx.stop();
        }
    }

    /// Another node owns the call, or may own it: this room stops without notice.
    fn relinquish(&mut self, ctx: &mut SupervisedContext<Self>) {
        counter!(ROOM_MIGRATIONS, "reason" => "fenced").increment(1);
        tracing::warn!(call.id = %self.call.id(), "call ownership relinquished");
        self.persistence.is_moving = true;
        self.sfu_room = None;
        self.context.relinquish();
        ctx.stop();
    }
}

/// Asks for the state to be written before the reply.
#[derive(Message)]
#[rtype(result = "()")]
struct FlushState(oneshot::Sender<Result<(), CallError>>);

impl Handler<FlushState> for CallRoom {
    type Result = ();

    fn handle(&mut self, FlushState(reply_to): FlushState, ctx: &mut Self::Context) {
        let result = !self.persistence.is_writing
            && !self.persistence.is_stale
            && self.persistence.failed_attempts == 0;
        if self.context.ownership.fence.is_none() || result || self.call.ended().is_some() {
            let _ = reply_to.send(Ok(())); // fails only if the caller has left
            return;
        }
        self.persistence.waiters.push(reply_to);
        self.persist(ctx);
    }
}

/// Waits until another node could continue with the current state of the room.
///
/// # Errors
/// Why it could not be written; [`CallError::Migrating`] if the room ended before.
pub(in crate::actors::calls) async fn wait_persisted(
    room: &ActorRef<CallRoom>,
) -> Result<(), CallError> {
    let (reply_to, result) = oneshot::channel();
    room.tell(FlushState(reply_to)).map_err(|error| match error {
        SendError::Gone => CallError::Migrating,
        SendError::Full | SendError::Failed => CallError::Unavailable,
    })?;
    result.await.unwrap_or(Err(CallError::Migrating))
}

/// This node is no longer sure to own the call.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::calls) struct RelinquishRoom;

impl Handler<RelinquishRoom> for CallRoom {
    type Result = ();

    fn handle(&mut self, _: RelinquishRoom, ctx: &mut Self::Context) {
        if self.call.ended().is_none() {
            self.relinquish(ctx);
        }
    }
}

/// Hands the call off to another node; the result is whether that node took it.
#[derive(Message)]
#[rtype(result = "bool")]
pub(in crate::actors::calls) struct HandOffRoom {
    pub(in crate::actors::calls) to: NodeId,
}

impl Handler<HandOffRoom> for CallRoom {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, HandOffRoom { to }: HandOffRoom, _: &mut Self::Context) -> Self::Result {
        let can_hand_off = self.context.ownership.fence.is_some() && self.call.ended().is_none();
        if !can_hand_off || self.persistence.is_moving {
            return Box::pin(actix::fut::ready(false));
        }
        self.persistence.is_moving = true; // requests from now on go to the new room
        let context = self.context.clone();
        let request = hand_off_request(&self.call, &context.ownership.key, context.ownership.epoch);
        let hand_off = async move {
            let Some(request) = request else { return false };
            let accepted = context.peer_nodes.ask(to, &request, TAKE_OVER_TIMEOUT).await;
            // If the reply is lost, the directory has the result.
            match accepted {
                Ok(accepted) => accepted,
                Err(_) => {
                    let now = context.ownership.directory.owner_of(&context.ownership.key).await;
                    matches!(now, Ok(Some(held)) if held.owner == to)
                }
            }
        };
        Box::pin(hand_off.into_actor(self).map(|accepted, room: &mut Self, ctx| {
            if accepted {
                room.context.relinquish();
                ctx.run_later(OLD_ROOM_LINGER, |room, ctx| {
                    room.sfu_room = None;
                    ctx.stop();
                });
            } else {
                room.persistence.is_moving = false;
            }
            accepted
        }))
    }
}

fn hand_off_request(call: &CallState, key: &str, epoch: u64) -> Option<NodeRequest> {
    let call = to_raw_value(call).ok()?;
    Some(NodeRequest::TakeRoom(Box::new(RoomHandOff { key: key.to_owned(), epoch, call })))
}
