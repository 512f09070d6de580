//! The room of one call: its signalling state, and its SFU room once media travels through the
//! server.
//!
//! The state is stored beside the actor after every step, so that a restart continues after the
//! last complete step: it increments the epoch, and clients send new offers.

mod context;
mod media;
mod messages;
mod persistence;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, SpawnHandle, WrapFuture};
use base::backoff::Backoff;
pub(super) use context::{RoomContext, RoomOwnership};
pub(super) use messages::{EndCall, GetMode, GetView, RoomCommand, RoomRequest, SessionLost};
use metrics::{counter, histogram};
pub(super) use persistence::{HandOffRoom, RelinquishRoom, wait_persisted};

use self::media::MediaSession;
use self::persistence::RoomPersistence;
use super::call_index::CallSummary;
use super::reply::metric_label;
use crate::actors::supervision::{ActorRef, SupervisedContext};
use crate::domain::calls::{
    CallChange, CallError, CallState, EventTarget, format_participant_id, participant_view,
};
use crate::protocol::calls as wire;
use crate::protocol::server::CallServerEvent;
use crate::telemetry::metrics::{CALL_SECONDS, CALLS_ENDED};

/// Back-off between attempts to write the end or the state of a call to the database.
const PERSIST_BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(10) };

/// The handle of a call room.
pub(super) type RoomHandle = ActorRef<CallRoom>;

/// The actor of one call.
pub struct CallRoom {
    context: Arc<RoomContext>,
    call: CallState,
    /// The SFU room; present once media travels through the server.
    sfu_room: Option<MediaSession>,
    /// The last reported connection quality of each participant.
    quality: HashMap<u32, wire::ParticipantQuality>,
    timer: Option<SpawnHandle>,
    /// The end is being written.
    closing: bool,
    /// Persistence of the state for a take-over by another node.
    persistence: RoomPersistence,
}

crate::actors::supervision::supervised!(CallRoom);

impl CallRoom {
    /// A room that continues with the state of its context.
    pub(super) fn new(context: Arc<RoomContext>, _: &mut SupervisedContext<Self>) -> Self {
        let call = context.stored_call();
        Self {
            context,
            call,
            sfu_room: None,
            quality: HashMap::new(),
            timer: None,
            closing: false,
            persistence: RoomPersistence::default(),
        }
    }

    /// Completes a step: applies its changes, sends its events, stores the state, and sets the next
    /// timer.
    fn step(&mut self, ctx: &mut SupervisedContext<Self>) {
        for change in self.call.take_changes() {
            self.apply_change(change, ctx);
        }
        for (to, event) in self.call.take_events() {
            self.context.publish(&to, event);
        }
        self.context.store_call(&self.call);
        if let Some(reason) = self.call.ended() {
            return self.close(reason, ctx);
        }
        self.context.call_index.update_summary(self.call.id(), self.summary());
        self.persist(ctx);
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(deadline) = self.call.next_deadline() {
            let wait = deadline.since(self.context.domain.clock().now());
            self.timer = Some(ctx.run_later(wait, |room, ctx| {
                room.timer = None;
                if !room.context.is_handed_off() {
                    room.call.timeout(room.context.domain.clock().now());
                    room.step(ctx);
                }
            }));
        }
    }

    fn apply_change(&mut self, change: CallChange, ctx: &mut SupervisedContext<Self>) {
        match change {
            CallChange::Answered => {
                let (domain, id) = (self.context.domain.clone(), self.call.id());
                let fence = self.context.ownership.fence.clone();
                // Written again with the end: losing this write shows only after a crash.
                let written = async move { domain.write_answered(id, fence).await };
                ctx.spawn(written.into_actor(self).map(|written, _, _| {
                    if let Err(error) = written {
                        tracing::warn!(%error, "call answer write failed");
                    }
                }));
            }
            CallChange::Upgraded => self.start_sfu(ctx),
            CallChange::Joined(number) => self.add_to_sfu(number),
            CallChange::Left(number, _) => {
                self.quality.remove(&number);
                self.context.release_permit(number);
                self.remove_from_sfu(number);
            }
            CallChange::MediaToggled(number, command, on) => {
                self.set_media_enabled(number, command, on)
            }
        }
    }

    /// Sends an event to all participants except `except`.
    fn publish_to_participants(&self, except: Option<u32>, event: &CallServerEvent) {
        for (number, participant) in self.call.participants() {
            if Some(number) != except {
                self.context
                    .publish(&EventTarget::Participant(participant.location), event.clone());
            }
        }
    }

    fn summary(&self) -> CallSummary {
        let seats = self.call.participants().map(|(_, participant)| participant.location);
        CallSummary {
            participants: seats.collect(),
            ringing: self.call.ringing_calls(),
            active: Some(self.call.active()),
        }
    }

    /// Writes the end to the database, retrying until it succeeds, then stops.
    fn close(&mut self, reason: wire::CallEndReason, ctx: &mut SupervisedContext<Self>) {
        self.sfu_room = None;
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        let active = self.call.active();
        counter!(CALLS_ENDED, "reason" => metric_label(&reason)).increment(1);
        let now = self.context.domain.clock().now();
        histogram!(CALL_SECONDS).record(now.since(active.started_at).as_secs_f64());
        self.context.call_index.remove(self.call.id());
        let (domain, end) = (self.context.domain.clone(), self.call.record(reason, now));
        let ownership = &self.context.ownership;
        let (fence, directory) = (ownership.fence.clone(), ownership.directory.clone());
        let (key, epoch) = (ownership.key.clone(), ownership.epoch);
        let written = async move {
            for attempt in 1.. {
                match domain.write_end(end.clone(), fence.clone()).await {
                    Ok(()) | Err(CallError::Migrating) => break,
                    Err(error) => {
                        tracing::warn!(%error, "call end write failed");
                        tokio::time::sleep(PERSIST_BACKOFF.delay(attempt, 0.0)).await;
                    }
                }
            }
        };
        let freed = async move {
            written.await;
            // With a fence, ownership was given up by the write itself.
            let _ = directory.release(&key, epoch).await;
        };
        ctx.spawn(freed.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }

    fn view(&self, path: &str) -> wire::CallView {
        let active = self.call.active();
        let quality = self.quality.iter();
        wire::CallView {
            call_id: active.call_id,
            session_id: active.session_id,
            mode: active.mode,
            epoch: self.call.epoch(),
            started_at: active.started_at,
            path: path.to_owned(),
            participants: self
                .call
                .participants()
                .map(|(n, who)| participant_view(n, who))
                .collect(),
            quality: quality.map(|(n, q)| (format_participant_id(*n), q.clone())).collect(),
        }
    }

    fn sfu_room(&self) -> Result<&MediaSession, CallError> {
        self.sfu_room.as_ref().ok_or(CallError::Unavailable)
    }
}

impl Actor for CallRoom {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.context.is_handed_off() {
            return ctx.stop(); // it failed while its old media connections were still in use
        }
        if ctx.is_restart() {
            self.call.room_restarted();
        }
        if self.call.mode() == wire::CallTopology::Sfu && self.call.ended().is_none() {
            self.start_sfu(ctx);
        }
        self.step(ctx);
    }
}
