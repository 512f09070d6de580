//! One call's room: the call itself, and once media travels through the server, its stage.
//!
//! What the call has come to is kept beside the actor after every step, so that a new life goes on
//! where the last whole step ended: it counts one more epoch, and its clients offer again.

mod context;
mod media;
mod messages;
mod persistence;

pub(super) use context::{RoomContext, RoomOwnership};
pub(super) use messages::{EndCall, GetMode, GetView, RoomCommand, RoomRequest, SessionLost};
pub(super) use persistence::{HandOffRoom, RelinquishRoom, kept};

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, SpawnHandle, WrapFuture};
use base::backoff::Backoff;
use metrics::{counter, histogram};

use self::media::MediaSession;
use self::persistence::RoomPersistence;
use super::call_index::CallSummary;
use crate::actors::supervision::SupervisedContext;
use crate::domain::calls::{
    CallChange, CallError, CallState, EventTarget, format_participant_id, view,
};
use crate::protocol::calls as wire;
use crate::protocol::server::CallServerEvent;
use crate::telemetry::metrics::{CALL_SECONDS, CALLS_ENDED};

/// How long until a database that did not take the end of a call is told again.
const PERSIST_BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(200), max: Duration::from_secs(10) };

/// The actor.
pub struct CallRoom {
    seed: Arc<RoomContext>,
    call: CallState,
    /// Where media is forwarded; there once it travels through the server.
    stage: Option<MediaSession>,
    /// How each participant's media travelled lately.
    quality: HashMap<u32, wire::ParticipantQuality>,
    timer: Option<SpawnHandle>,
    /// The end is being written down.
    closing: bool,
    /// What another node could go on with.
    keep: RoomPersistence,
}

crate::actors::supervision::supervised!(CallRoom);

impl CallRoom {
    /// A room that goes on where the last one ended.
    pub(super) fn new(seed: Arc<RoomContext>, _: &mut SupervisedContext<Self>) -> Self {
        let call = seed.recall();
        Self {
            seed,
            call,
            stage: None,
            quality: HashMap::new(),
            timer: None,
            closing: false,
            keep: RoomPersistence::default(),
        }
    }

    /// Does what a step of the call has led to, and remembers where it stands.
    fn step(&mut self, ctx: &mut SupervisedContext<Self>) {
        for change in self.call.take_changes() {
            self.follow(change, ctx);
        }
        for (to, news) in self.call.take_events() {
            self.seed.tell(&to, news);
        }
        self.seed.remember(&self.call);
        if let Some(reason) = self.call.ended() {
            return self.close(reason, ctx);
        }
        self.seed.board.stand(self.call.id(), self.standing());
        self.keep(ctx);
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = self.call.next_deadline() {
            let wait = due.since(self.seed.deeds.clock().now());
            self.timer = Some(ctx.run_later(wait, |room, ctx| {
                room.timer = None;
                if !room.seed.is_gone() {
                    room.call.timeout(room.seed.deeds.clock().now());
                    room.step(ctx);
                }
            }));
        }
    }

    fn follow(&mut self, change: CallChange, ctx: &mut SupervisedContext<Self>) {
        match change {
            CallChange::Answered => {
                let (deeds, id) = (self.seed.deeds.clone(), self.call.id());
                let fence = self.seed.hold.fence.clone();
                // Written again with the end: if this is lost, only a crash shows it.
                let written = async move { deeds.write_answered(id, fence).await };
                ctx.spawn(written.into_actor(self).map(|written, _, _| {
                    if let Err(error) = written {
                        tracing::warn!(%error, "call answer write failed");
                    }
                }));
            }
            CallChange::Upgraded => self.start_sfu(ctx),
            CallChange::Joined(number) => self.enter(number),
            CallChange::Left(number, _) => {
                self.quality.remove(&number);
                self.seed.free(number);
                self.exit(number);
            }
            CallChange::MediaToggled(number, what, on) => self.switch(number, what, on),
        }
    }

    /// Tells all participants.
    fn tell_participants(&self, but: Option<u32>, news: &CallServerEvent) {
        for (number, participant) in self.call.participants() {
            if Some(number) != but {
                self.seed.tell(&EventTarget::Participant(participant.location), news.clone());
            }
        }
    }

    fn standing(&self) -> CallSummary {
        let seats = self.call.participants().map(|(_, participant)| participant.location);
        CallSummary {
            seats: seats.collect(),
            ringing: self.call.ringing_calls(),
            active: Some(self.call.active()),
        }
    }

    /// Writes the end down, again and again until it is, then goes.
    fn close(&mut self, reason: wire::CallEndReason, ctx: &mut SupervisedContext<Self>) {
        self.stage = None;
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        let active = self.call.active();
        counter!(CALLS_ENDED, "reason" => super::requests::word(&reason)).increment(1);
        let now = self.seed.deeds.clock().now();
        histogram!(CALL_SECONDS).record(now.since(active.started_at).as_secs_f64());
        self.seed.board.remove(self.call.id());
        let (deeds, end) = (self.seed.deeds.clone(), self.call.record(reason, now));
        let hold = &self.seed.hold;
        let (fence, directory) = (hold.fence.clone(), hold.directory.clone());
        let (key, epoch) = (hold.key.clone(), hold.epoch);
        let written = async move {
            for attempt in 1.. {
                match deeds.write_end(end.clone(), fence.clone()).await {
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
            // Where others could have it, it was given up with the write.
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
            participants: self.call.participants().map(|(n, who)| view(n, who)).collect(),
            quality: quality.map(|(n, q)| (format_participant_id(*n), q.clone())).collect(),
        }
    }

    fn stage(&self) -> Result<&MediaSession, CallError> {
        self.stage.as_ref().ok_or(CallError::Unavailable)
    }
}

impl Actor for CallRoom {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.seed.is_gone() {
            return ctx.stop(); // it failed while its old connections played on
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
