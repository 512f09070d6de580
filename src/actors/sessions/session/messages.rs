//! The messages a session handles: from its socket, from its device, and from the event router.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{ActorContext, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use base::error::CodedError;
use futures_util::FutureExt;
use metrics::counter;
use tokio::sync::oneshot;

use super::super::cursors::DeliveryDecision;
use super::super::socket_handle::{ReplyResult, SocketHandle};
use super::super::{SessionHandle, reorder_buffer, requests};
use super::SessionActor;
use crate::actors::delivery::{
    DeliverEvent, EndSession, ObserveHead, OutboundEvent, Resync, SequenceKind, SequencePosition,
};
use crate::actors::supervision::SupervisedContext;
use crate::domain::calls;
use crate::protocol::client::{CallClientEvent, ClientEvent};
use crate::protocol::server::{CallServerEvent, ServerEvent};
use crate::telemetry::metrics::EVENTS_IN;

/// Within this time all other nodes know that a device has connected, or know that they lack an
/// update.
const PRESENCE_PROPAGATION_TIME: Duration = Duration::from_secs(2);

/// Receives the handle once a session is ready for its socket; a handle that nobody takes detaches
/// when dropped.
pub(super) type AttachSocketReply =
    tokio::sync::oneshot::Sender<Result<SessionHandle, crate::domain::chat::ChatError>>;

/// Attaches a socket to the session; refused (`false` at once) if it has one.
#[derive(Message)]
#[rtype(result = "bool")]
pub(in crate::actors::sessions) struct AttachSocket {
    pub(in crate::actors::sessions) socket: SocketHandle,
    /// Notified once the cursors are loaded.
    pub(in crate::actors::sessions) reply_to: AttachSocketReply,
}

impl Handler<AttachSocket> for SessionActor {
    type Result = bool;

    fn handle(&mut self, attach: AttachSocket, ctx: &mut Self::Context) -> bool {
        if self.socket.is_some() {
            return false;
        }
        self.socket = Some(attach.socket);
        self.socket_number += 1;
        self.set_attached(true);
        self.is_reading = false;
        self.is_opened = false;
        self.is_syncing = false;
        self.message_cursors.attach();
        self.change_cursors.attach();
        // those events are read or requested like everything that was missed
        self.reorder_buffer.take_expired();
        self.stop_timer(ctx);
        self.load(ctx, Some(attach.reply_to));
        true
    }
}

/// The device of this socket was told that it is authenticated: events may be sent.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct SocketReady(pub(in crate::actors::sessions) u64);

impl Handler<SocketReady> for SessionActor {
    type Result = ();

    fn handle(&mut self, SocketReady(socket_number): SocketReady, ctx: &mut Self::Context) {
        if self.socket.is_some() && socket_number == self.socket_number {
            self.is_opened = true;
            if self.init.principal.call_grant.is_none() {
                // Not before events can be received: the session gets its own presence event, too.
                self.online_guard =
                    Some(self.sessions().presence.connect(self.init.principal.user));
            }
            self.send_ringing_calls(ctx);
            self.schedule_resync(ctx);
            self.restart_timer(self.sessions().config.initial_sync_wait(), ctx, Self::stop_holding);
        }
    }
}

/// The socket with this number is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct DetachSocket(pub(in crate::actors::sessions) u64);

impl Handler<DetachSocket> for SessionActor {
    type Result = ();

    fn handle(&mut self, DetachSocket(socket_number): DetachSocket, ctx: &mut Self::Context) {
        if self.socket.is_some() && socket_number == self.socket_number {
            self.detach(ctx);
        }
    }
}

/// A request of the device; `id` is echoed in the reply.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct ClientRequest {
    pub(in crate::actors::sessions) id: Option<u64>,
    pub(in crate::actors::sessions) event: ClientEvent,
}

impl Handler<ClientRequest> for SessionActor {
    type Result = ();

    fn handle(&mut self, ClientRequest { id, event }: ClientRequest, ctx: &mut Self::Context) {
        let is_duplicate_sync = self.is_syncing && matches!(event, ClientEvent::Sync(_));
        if is_duplicate_sync || self.in_flight >= self.sessions().config.max_in_flight_requests {
            return self.reply(
                id,
                Err(Arc::new(requests::RequestError::InFlightLimitReached)),
                ctx,
            );
        }
        self.in_flight += 1;
        if let ClientEvent::Sync(sync) = event {
            return self.sync(id, sync, ctx);
        }
        let socket_number = self.socket_number;
        let result = match event {
            ClientEvent::Call(event) => self.call_request(event).boxed_local(),
            _ if self.init.principal.call_grant.is_some() => {
                let error = Arc::new(calls::CallError::TokenLimitedToCall);
                std::future::ready(Err(error as _)).boxed_local()
            }
            event => requests::handle_request(self.sessions(), self.init.principal.user, event)
                .boxed_local(),
        };
        ctx.spawn(result.into_actor(self).map(move |result, session, ctx| {
            session.in_flight -= 1;
            if socket_number == session.socket_number {
                session.reply(id, result, ctx);
            }
        }));
    }
}

impl SessionActor {
    /// Runs a call request after the previous one.
    fn call_request(
        &mut self,
        event: CallClientEvent,
    ) -> impl Future<Output = ReplyResult> + use<> {
        counter!(EVENTS_IN, "event" => event.name()).increment(1);
        let (done, next) = oneshot::channel::<()>();
        let previous = self.previous_call.replace(next);
        let (calls, init) = (self.sessions().calls.clone(), self.init.clone());
        async move {
            if let Some(previous) = previous {
                let _ = previous.await; // completes when the previous request is answered or dropped
            }
            let result = calls.handle_request(&init.principal, init.id, event).await;
            drop(done);
            result.map_err(|error| -> Arc<dyn CodedError + Send + Sync> { Arc::new(error) })
        }
    }

    /// Resyncs once more when all nodes surely know that the device is connected: events published
    /// by a node before that did not reach this session.
    fn schedule_resync(&self, ctx: &mut SupervisedContext<Self>) {
        if self.sessions().event_router.is_single_node() {
            return;
        }
        let socket_number = self.socket_number;
        ctx.run_later(PRESENCE_PROPAGATION_TIME, move |session, ctx| {
            if session.socket.is_some() && socket_number == session.socket_number {
                session.load(ctx, None);
            }
        });
    }

    /// Sends a newly connected device the calls that are ringing for its user.
    fn send_ringing_calls(&mut self, ctx: &mut SupervisedContext<Self>) {
        if self.init.principal.call_grant.is_some() {
            return;
        }
        for call in self.sessions().calls.ringing(self.init.principal.user) {
            let event = ServerEvent::Call(CallServerEvent::IncomingCall(call));
            self.send_event(OutboundEvent::new(&event), ctx);
        }
    }
}

impl Handler<DeliverEvent> for SessionActor {
    type Result = ();

    fn handle(&mut self, DeliverEvent(event): DeliverEvent, ctx: &mut Self::Context) {
        match event.position() {
            None => {
                if self.is_opened {
                    self.send_event(event, ctx);
                }
            }
            Some(position) => {
                if self.socket.is_none() {
                    return; // the device asks for what it missed, or the next attachment finds it
                }
                self.on_sequenced_event(position, event, ctx);
            }
        }
    }
}

impl SessionActor {
    /// Sends an event in sequence, at once or when its predecessors have been sent.
    fn on_sequenced_event(
        &mut self,
        position: SequencePosition,
        event: OutboundEvent,
        ctx: &mut SupervisedContext<Self>,
    ) {
        if position.kind == SequenceKind::Revisions {
            // With two nodes, the one that announces the change may be received first.
            self.message_cursors
                .observe_head(position.conversation, event.changed_seq().unwrap_or(0));
            if self.message_cursors.is_reading(position.conversation) {
                // A message that is being read may arrive in its old state; the change must follow
                // it.
                self.change_cursors.advance_known(position.conversation, position.number);
                return self.read_next_gap(ctx);
            }
        }
        match self.cursors(position.kind).on_event(position.conversation, position.number) {
            DeliveryDecision::Next => {
                self.send_event(event, ctx);
                self.send_successors(position, ctx);
            }
            DeliveryDecision::OutOfOrder if self.reorder_buffer.push(position, event) => {
                self.start_reorder_timer(ctx)
            }
            DeliveryDecision::OutOfOrder => {
                self.cursors(position.kind).seek_gap(position.conversation);
                self.read_next_gap(ctx);
            }
            DeliveryDecision::AlreadyCovered => self.read_next_gap(ctx),
        }
    }

    /// Sends the buffered events that follow `position`.
    fn send_successors(
        &mut self,
        mut position: SequencePosition,
        ctx: &mut SupervisedContext<Self>,
    ) {
        while let Some((next, event)) = self.reorder_buffer.take_successors(position)
            && self.cursors(next.kind).on_event(next.conversation, next.number)
                == DeliveryDecision::Next
        {
            self.send_event(event, ctx);
            position = next;
        }
    }

    /// Starts the timeout after which missing predecessors are read from the database.
    fn start_reorder_timer(&mut self, ctx: &mut SupervisedContext<Self>) {
        if std::mem::replace(&mut self.reorder_timer_running, true) {
            return;
        }
        ctx.run_later(reorder_buffer::REORDER_TIMEOUT, |session, ctx| {
            session.reorder_timer_running = false;
            for position in session.reorder_buffer.take_expired() {
                session.cursors(position.kind).seek_gap(position.conversation);
            }
            session.read_next_gap(ctx);
        });
    }
}

impl Handler<ObserveHead> for SessionActor {
    type Result = ();

    fn handle(
        &mut self,
        ObserveHead { position, is_skipped }: ObserveHead,
        ctx: &mut Self::Context,
    ) {
        if self.socket.is_none() {
            return;
        }
        let cursors = self.cursors(position.kind);
        if !is_skipped {
            cursors.advance_known(position.conversation, position.number);
        } else if cursors.on_event(position.conversation, position.number) == DeliveryDecision::Next
        {
            self.send_successors(position, ctx);
        } else {
            cursors.seek_gap(position.conversation);
        }
        self.read_next_gap(ctx);
    }
}

impl Handler<Resync> for SessionActor {
    type Result = ();

    fn handle(&mut self, _: Resync, ctx: &mut Self::Context) {
        self.resync_pending.store(false, Ordering::Release);
        if self.socket.is_some() {
            self.load(ctx, None);
        }
    }
}

/// The socket has sent everything before the flush marker.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::actors::sessions) struct SocketFlushed(pub(in crate::actors::sessions) u64);

impl Handler<SocketFlushed> for SessionActor {
    type Result = ();

    fn handle(&mut self, SocketFlushed(socket_number): SocketFlushed, ctx: &mut Self::Context) {
        if socket_number == self.socket_number {
            self.is_reading = false;
            self.read_next_gap(ctx);
        }
    }
}

impl Handler<EndSession> for SessionActor {
    type Result = ();

    fn handle(&mut self, EndSession(reason): EndSession, ctx: &mut Self::Context) {
        if let Some(socket) = self.socket.take() {
            socket.close(reason);
        }
        self.online_guard = None;
        self.set_attached(false);
        ctx.stop();
    }
}
