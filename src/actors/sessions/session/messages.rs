//! What a session may be told: by its socket, by its device, by what happens elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use base::error::CodedError;
use futures_util::FutureExt;
use metrics::counter;
use tokio::sync::oneshot;

use super::super::cursors::DeliveryDecision;
use super::super::outbound_event::{OutboundEvent, SequenceKind, SequencePosition};
use super::super::requests;
use super::super::socket_handle::{CloseReason, ReplyResult, SocketHandle};
use super::super::{SessionHandle, reorder_buffer};
use super::SessionActor;
use crate::actors::supervision::SupervisedContext;
use crate::domain::calls;
use crate::protocol::client::{CallClientEvent, ClientEvent};
use crate::protocol::server::{CallServerEvent, ServerEvent};
use crate::telemetry::metrics::EVENTS_IN;

/// Within this time other nodes know that a device has come, or they know that they miss something.
const KNOWN_EVERYWHERE: Duration = Duration::from_secs(2);

/// Told once a session is ready for its socket; a handle that nobody takes lets go by itself.
pub(super) type AttachSocketReply =
    tokio::sync::oneshot::Sender<Result<SessionHandle, crate::domain::chat::ChatError>>;

/// A socket for the session; refused (`false` at once) if it has one.
#[derive(Message)]
#[rtype(result = "bool")]
pub(in crate::actors::sessions) struct AttachSocket {
    pub(in crate::actors::sessions) line: SocketHandle,
    /// Told once everything is ready.
    pub(in crate::actors::sessions) ready: AttachSocketReply,
}

impl Handler<AttachSocket> for SessionActor {
    type Result = bool;

    fn handle(&mut self, attach: AttachSocket, ctx: &mut Self::Context) -> bool {
        if self.line.is_some() {
            return false;
        }
        self.line = Some(attach.line);
        self.line_number += 1;
        self.is_attached(true);
        self.reading = false;
        self.opened = false;
        self.syncing = false;
        self.said.attach();
        self.changed.attach();
        self.early.take_expired(); // read, or asked for, as all that was missed
        self.stop_timer(ctx);
        self.load(ctx, Some(attach.ready));
        true
    }
}

/// The device of this socket has been told that it is in: events may flow.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct SocketReady(pub(in crate::actors::sessions) u64);

impl Handler<SocketReady> for SessionActor {
    type Result = ();

    fn handle(&mut self, SocketReady(number): SocketReady, ctx: &mut Self::Context) {
        if self.line.is_some() && number == self.line_number {
            self.opened = true;
            if self.seed.me.call_grant.is_none() {
                // Not before it hears anything: it is told of itself, too.
                self.here = Some(self.living().presence.here(self.seed.me.user));
            }
            self.ring(ctx);
            self.look_again(ctx);
            self.restart_timer(self.living().config.initial_sync_wait(), ctx, Self::release);
        }
    }
}

/// The socket of this number is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct DetachSocket(pub(in crate::actors::sessions) u64);

impl Handler<DetachSocket> for SessionActor {
    type Result = ();

    fn handle(&mut self, DetachSocket(number): DetachSocket, ctx: &mut Self::Context) {
        if self.line.is_some() && number == self.line_number {
            self.detach(ctx);
        }
    }
}

/// A request of the device.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct ClientRequest {
    pub(in crate::actors::sessions) id: Option<u64>,
    pub(in crate::actors::sessions) event: ClientEvent,
}

impl Handler<ClientRequest> for SessionActor {
    type Result = ();

    fn handle(&mut self, ClientRequest { id, event }: ClientRequest, ctx: &mut Self::Context) {
        let again = self.syncing && matches!(event, ClientEvent::Sync(_));
        if again || self.in_flight >= self.living().config.max_in_flight_requests {
            return self.reply(id, Err(Arc::new(requests::RequestError::TooManyInFlight)), ctx);
        }
        self.in_flight += 1;
        if let ClientEvent::Sync(sync) = event {
            return self.sync(id, sync, ctx);
        }
        let number = self.line_number;
        let answer = match event {
            ClientEvent::Call(event) => self.ask_calls(event).boxed_local(),
            _ if self.seed.me.call_grant.is_some() => {
                let refused = Arc::new(calls::CallError::TokenLimitedToCall);
                std::future::ready(Err(refused as _)).boxed_local()
            }
            event => {
                requests::handle_request(self.living(), self.seed.me.user, event).boxed_local()
            }
        };
        ctx.spawn(answer.into_actor(self).map(move |answer, session, ctx| {
            session.in_flight -= 1;
            if number == session.line_number {
                session.reply(id, answer, ctx);
            }
        }));
    }
}

impl SessionActor {
    /// Asks calls, after what was asked before.
    fn ask_calls(&mut self, event: CallClientEvent) -> impl Future<Output = ReplyResult> + use<> {
        counter!(EVENTS_IN, "event" => event.name()).increment(1);
        let (done, next) = oneshot::channel::<()>();
        let before = self.last_call.replace(next);
        let (calls, seed) = (self.living().calls.clone(), self.seed.clone());
        async move {
            if let Some(before) = before {
                let _ = before.await; // it ends when the one before is answered or given up
            }
            let answer = calls.answer(&seed.me, seed.id, event).await;
            drop(done);
            answer.map_err(|error| -> Arc<dyn CodedError + Send + Sync> { Arc::new(error) })
        }
    }

    /// Looks into the database once more when all nodes surely know that the device is here: what
    /// one of them said before, it did not say to us.
    fn look_again(&self, ctx: &mut SupervisedContext<Self>) {
        if self.living().switchboard.is_single_node() {
            return;
        }
        let number = self.line_number;
        ctx.run_later(KNOWN_EVERYWHERE, move |session, ctx| {
            if session.line.is_some() && number == session.line_number {
                session.load(ctx, None);
            }
        });
    }

    /// Tells a device that has just come of the calls that ring for its person.
    fn ring(&mut self, ctx: &mut SupervisedContext<Self>) {
        if self.seed.me.call_grant.is_some() {
            return;
        }
        for call in self.living().calls.ringing(self.seed.me.user) {
            let news = ServerEvent::Call(CallServerEvent::IncomingCall(call));
            self.send_event(OutboundEvent::new(&news), ctx);
        }
    }
}

/// Something happened that concerns the person.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct DeliverEvent(pub(in crate::actors::sessions) OutboundEvent);

impl Handler<DeliverEvent> for SessionActor {
    type Result = ();

    fn handle(&mut self, DeliverEvent(event): DeliverEvent, ctx: &mut Self::Context) {
        match event.place() {
            None => {
                if self.opened {
                    self.send_event(event, ctx);
                }
            }
            Some(place) => {
                if self.line.is_none() {
                    return; // the device asks, or the next attachment looks, for what it missed
                }
                self.hear(place, event, ctx);
            }
        }
    }
}

impl SessionActor {
    /// Sends an event in its order, at once or when that which it follows has come.
    fn hear(
        &mut self,
        place: SequencePosition,
        event: OutboundEvent,
        ctx: &mut SupervisedContext<Self>,
    ) {
        if place.kind == SequenceKind::Revisions {
            // Of two nodes, the one that tells of the change may be heard first.
            self.said.observe_head(place.conversation, event.about().unwrap_or(0));
            if self.said.is_reading(place.conversation) {
                // A message that is being read may come as it was before: the change comes after it.
                self.changed.note(place.conversation, place.number);
                return self.pump(ctx);
            }
        }
        match self.cursors(place.kind).on_event(place.conversation, place.number) {
            DeliveryDecision::Next => {
                self.send_event(event, ctx);
                self.send_early(place, ctx);
            }
            DeliveryDecision::Early if self.early.push(place, event) => self.lose_patience(ctx),
            DeliveryDecision::Early => {
                self.cursors(place.kind).seek_gap(place.conversation);
                self.pump(ctx);
            }
            DeliveryDecision::Known => self.pump(ctx),
        }
    }

    /// Sends what has waited for the event at `place`.
    fn send_early(&mut self, mut place: SequencePosition, ctx: &mut SupervisedContext<Self>) {
        while let Some((next, event)) = self.early.take_successors(place)
            && self.cursors(next.kind).on_event(next.conversation, next.number)
                == DeliveryDecision::Next
        {
            self.send_event(event, ctx);
            place = next;
        }
    }

    /// In a moment, what still waits is read from the database.
    fn lose_patience(&mut self, ctx: &mut SupervisedContext<Self>) {
        if std::mem::replace(&mut self.impatient, true) {
            return;
        }
        ctx.run_later(reorder_buffer::REORDER_TIMEOUT, |session, ctx| {
            session.impatient = false;
            for place in session.early.take_expired() {
                session.cursors(place.kind).seek_gap(place.conversation);
            }
            session.pump(ctx);
        });
    }
}

/// How far a conversation is.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct ObserveHead {
    pub(in crate::actors::sessions) place: SequencePosition,
    /// Whether this number is known not to be for the person.
    pub(in crate::actors::sessions) passed: bool,
}

impl Handler<ObserveHead> for SessionActor {
    type Result = ();

    fn handle(&mut self, ObserveHead { place, passed }: ObserveHead, ctx: &mut Self::Context) {
        if self.line.is_none() {
            return;
        }
        let cursors = self.cursors(place.kind);
        if !passed {
            cursors.note(place.conversation, place.number);
        } else if cursors.on_event(place.conversation, place.number) == DeliveryDecision::Next {
            self.send_early(place, ctx);
        } else {
            cursors.seek_gap(place.conversation);
        }
        self.pump(ctx);
    }
}

/// Something may not have reached the session: look into the database.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct Resync;

impl Handler<Resync> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Resync, ctx: &mut Self::Context) {
        self.told.store(false, Ordering::Release);
        if self.line.is_some() {
            self.load(ctx, None);
        }
    }
}

/// The socket has passed on everything before the fence.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct SocketFlushed(pub(in crate::actors::sessions) u64);

impl Handler<SocketFlushed> for SessionActor {
    type Result = ();

    fn handle(&mut self, SocketFlushed(number): SocketFlushed, ctx: &mut Self::Context) {
        if number == self.line_number {
            self.reading = false;
            self.pump(ctx);
        }
    }
}

/// The end of the session and its socket.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct EndSession(pub(in crate::actors::sessions) CloseReason);

impl Handler<EndSession> for SessionActor {
    type Result = ();

    fn handle(&mut self, EndSession(why): EndSession, ctx: &mut Self::Context) {
        if let Some(line) = self.line.take() {
            line.close(why);
        }
        self.here = None;
        self.is_attached(false);
        ctx.stop();
    }
}
