//! What another node needs to go on with a call: written down while it goes on, handed over when
//! this node leaves, let go of when it is not this node's any more.

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

/// How long a stage plays on after its room was handed over: until the last slow device has offered
/// to the new one.
const OLD_ROOM_LINGER: Duration = Duration::from_secs(10);
/// How long the other node may take to begin.
const TAKE_OVER_TIMEOUT: Duration = Duration::from_secs(3);

/// How far the call is written down.
#[derive(Default)]
pub(super) struct RoomPersistence {
    /// A write is under way.
    writing: bool,
    /// The call is further than the write.
    behind: bool,
    /// How often it was tried in vain.
    attempt: u32,
    /// Who waits for the next write.
    waiting: Vec<oneshot::Sender<Result<(), CallError>>>,
    /// The room is being handed over, or was: nothing changes any more.
    moving: bool,
    /// Whose media has moved.
    moved: HashSet<u32>,
}

impl RoomPersistence {
    pub(super) const fn is_moving(&self) -> bool {
        self.moving
    }
}

impl CallRoom {
    /// Writes the call down, if another node could go on with it.
    pub(super) fn keep(&mut self, ctx: &mut SupervisedContext<Self>) {
        if self.seed.hold.fence.is_none() {
            return;
        }
        if self.keep.writing {
            self.keep.behind = true;
            return;
        }
        self.keep.writing = true;
        self.keep.behind = false;
        let waiting = std::mem::take(&mut self.keep.waiting);
        let (deeds, fence) = (self.seed.deeds.clone(), self.seed.hold.fence.clone());
        let call = self.call.clone();
        let write = async move { deeds.save_state(&call, fence).await };
        ctx.spawn(write.into_actor(self).map(move |written, room, ctx| {
            room.keep.writing = false;
            for waiter in waiting {
                let _ = waiter.send(written.clone()); // gone: nobody to tell
            }
            match written {
                Ok(()) => {
                    room.keep.attempt = 0;
                    if room.keep.behind || !room.keep.waiting.is_empty() {
                        room.keep(ctx);
                    }
                }
                // It was handed over meanwhile, and what plays plays on.
                Err(CallError::Migrating) if room.keep.moving => {}
                Err(CallError::Migrating) => room.let_go(ctx),
                Err(error) => {
                    tracing::warn!(%error, "call state write failed");
                    room.keep.attempt += 1;
                    let pause = PERSIST_BACKOFF.delay(room.keep.attempt, 0.0);
                    ctx.run_later(pause, |room, ctx| {
                        if room.call.ended().is_none() && !room.keep.moving {
                            room.keep(ctx);
                        }
                    });
                }
            }
        }));
    }

    /// A participant's connection to a room that was handed over has ended; with the last one the
    /// room goes.
    pub(super) fn farewell(&mut self, number: u32, ctx: &mut SupervisedContext<Self>) {
        self.keep.moved.insert(number);
        if self.call.participants().all(|(number, _)| self.keep.moved.contains(&number)) {
            self.stage = None;
            ctx.stop();
        }
    }

    /// The call is another node's, or may be: this room goes without a word.
    fn let_go(&mut self, ctx: &mut SupervisedContext<Self>) {
        counter!(ROOM_MIGRATIONS, "reason" => "fenced").increment(1);
        tracing::warn!(call.id = %self.call.id(), "call ownership relinquished");
        self.keep.moving = true;
        self.stage = None;
        self.seed.relinquish();
        ctx.stop();
    }
}

/// What the room has come to is to be written down before the answer.
#[derive(Message)]
#[rtype(result = "()")]
struct FlushState(oneshot::Sender<Result<(), CallError>>);

impl Handler<FlushState> for CallRoom {
    type Result = ();

    fn handle(&mut self, FlushState(waiter): FlushState, ctx: &mut Self::Context) {
        let written = !self.keep.writing && !self.keep.behind && self.keep.attempt == 0;
        if self.seed.hold.fence.is_none() || written || self.call.ended().is_some() {
            let _ = waiter.send(Ok(())); // gone: nobody to tell
            return;
        }
        self.keep.waiting.push(waiter);
        self.keep(ctx);
    }
}

/// Waits until another node could go on with what the room has come to.
///
/// # Errors
/// Why it could not be written down; [`CallError::Migrating`] if the room is gone before it was.
pub(in crate::actors::calls) async fn kept(room: &ActorRef<CallRoom>) -> Result<(), CallError> {
    let (waiter, written) = oneshot::channel();
    room.tell(FlushState(waiter)).map_err(|why| match why {
        SendError::Gone => CallError::Migrating,
        SendError::Full | SendError::Failed => CallError::Unavailable,
    })?;
    written.await.unwrap_or(Err(CallError::Migrating))
}

/// The node is not sure any more that the call is its own.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::calls) struct RelinquishRoom;

impl Handler<RelinquishRoom> for CallRoom {
    type Result = ();

    fn handle(&mut self, _: RelinquishRoom, ctx: &mut Self::Context) {
        if self.call.ended().is_none() {
            self.let_go(ctx);
        }
    }
}

/// Another node is to go on with the call; answered whether it does.
#[derive(Message)]
#[rtype(result = "bool")]
pub(in crate::actors::calls) struct HandOffRoom {
    pub(in crate::actors::calls) to: NodeId,
}

impl Handler<HandOffRoom> for CallRoom {
    type Result = ResponseActFuture<Self, bool>;

    fn handle(&mut self, HandOffRoom { to }: HandOffRoom, _: &mut Self::Context) -> Self::Result {
        let possible = self.seed.hold.fence.is_some() && self.call.ended().is_none();
        if !possible || self.keep.moving {
            return Box::pin(actix::fut::ready(false));
        }
        self.keep.moving = true; // what comes now is asked of the new room
        let seed = self.seed.clone();
        let asked = hand(&self.call, &seed.hold.key, seed.hold.epoch);
        let handed = async move {
            let Some(request) = asked else { return false };
            let taken = seed.neighbours.ask(to, &request, TAKE_OVER_TIMEOUT).await;
            // An answer that was lost: the directory knows.
            match taken {
                Ok(taken) => taken,
                Err(_) => {
                    let now = seed.hold.directory.owner_of(&seed.hold.key).await;
                    matches!(now, Ok(Some(held)) if held.owner == to)
                }
            }
        };
        Box::pin(handed.into_actor(self).map(|taken, room: &mut Self, ctx| {
            if taken {
                room.seed.relinquish();
                ctx.run_later(OLD_ROOM_LINGER, |room, ctx| {
                    room.stage = None;
                    ctx.stop();
                });
            } else {
                room.keep.moving = false;
            }
            taken
        }))
    }
}

fn hand(call: &CallState, key: &str, epoch: u64) -> Option<NodeRequest> {
    let call = to_raw_value(call).ok()?;
    Some(NodeRequest::TakeRoom(Box::new(RoomHandOff { key: key.to_owned(), epoch, call })))
}
