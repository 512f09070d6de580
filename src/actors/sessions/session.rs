//! The session of one device: identity, delivery cursors of every conversation, requests in flight.
//!
//! It outlives its socket for the resume window. A failure loses nothing: its socket is closed, the
//! database is the source of truth, and a device that reconnects sends its cursors.

mod catch_up;
mod messages;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, SpawnHandle, WrapFuture};
use base::ids::SessionId;
pub(super) use messages::{AttachSocket, ClientRequest, DetachSocket, SocketFlushed, SocketReady};
use metrics::counter;
use tokio::sync::oneshot;

use self::messages::AttachSocketReply;
use super::cursors::DeliveryCursors;
use super::reorder_buffer::ReorderBuffer;
use super::socket_handle::{ReplyResult, SocketCommand, SocketHandle, SocketSendError};
use super::{SessionHandle, SessionService};
use crate::actors::delivery::{
    CloseReason, OutboundEvent, SequenceKind, SessionEntry, SessionMailbox,
};
use crate::actors::presence::OnlineGuard;
use crate::actors::supervision::SupervisedContext;
use crate::domain::identity::Principal;
use crate::telemetry::metrics::{EVENTS_OUT, GaugeGuard, SESSIONS, count_dropped_event};

/// Base delay before a failed read from the database is retried.
const CATCH_UP_RETRY_DELAY: Duration = Duration::from_millis(500);

/// What a session is built from, at its start and after a restart.
pub(super) struct SessionInit {
    pub(super) principal: Principal,
    pub(super) id: SessionId,
    pub(super) sessions: SessionService,
}

/// The actor that serves one session.
pub struct SessionActor {
    init: Arc<SessionInit>,
    attached: Arc<AtomicBool>,
    socket: Option<SocketHandle>,
    /// Counts sockets, so that the detachment of an old one does not detach a new one.
    socket_number: u64,
    /// Delivery cursors of the messages, and of the changes of messages.
    message_cursors: DeliveryCursors,
    change_cursors: DeliveryCursors,
    /// Events that wait for their predecessors, and whether the timeout for them is running.
    reorder_buffer: ReorderBuffer,
    reorder_timer_running: bool,
    /// Counts the user as online while it exists.
    online_guard: Option<OnlineGuard>,
    is_loaded: bool,
    /// A page is being read, or the socket has not yet sent the last one.
    is_reading: bool,
    /// The device was told that it is authenticated.
    is_opened: bool,
    /// A `sync` is being answered.
    is_syncing: bool,
    in_flight: usize,
    /// Shared with the registry: a resync message is in the mailbox.
    resync_pending: Arc<AtomicBool>,
    timer: Option<SpawnHandle>,
    /// Completes when the previous call request is answered: call requests run one after the other.
    previous_call: Option<oneshot::Receiver<()>>,
    _present: GaugeGuard,
}

crate::actors::supervision::supervised!(SessionActor);

impl SessionActor {
    pub(super) fn new(init: Arc<SessionInit>) -> Self {
        Self {
            init,
            attached: Arc::default(),
            socket: None,
            socket_number: 0,
            message_cursors: DeliveryCursors::default(),
            change_cursors: DeliveryCursors::default(),
            reorder_buffer: ReorderBuffer::default(),
            reorder_timer_running: false,
            online_guard: None,
            is_loaded: false,
            is_reading: false,
            is_opened: false,
            is_syncing: false,
            in_flight: 0,
            resync_pending: Arc::default(),
            timer: None,
            previous_call: None,
            _present: GaugeGuard::new(SESSIONS, "any"),
        }
    }

    fn cursors(&mut self, sequence: SequenceKind) -> &mut DeliveryCursors {
        match sequence {
            SequenceKind::Messages => &mut self.message_cursors,
            SequenceKind::Revisions => &mut self.change_cursors,
        }
    }

    fn sessions(&self) -> &SessionService {
        &self.init.sessions
    }

    /// Sends to the socket; a slow consumer is closed, and the session waits for its device to
    /// reconnect.
    fn send(&mut self, command: SocketCommand, ctx: &mut SupervisedContext<Self>) -> bool {
        let Some(socket) = &self.socket else { return false };
        match socket.send(command) {
            Ok(()) => true,
            Err(error) => {
                if error == SocketSendError::QueueFull {
                    count_dropped_event("slow-socket");
                    socket.close(CloseReason::SlowConsumer);
                }
                self.detach(ctx);
                false
            }
        }
    }

    fn send_event(&mut self, event: OutboundEvent, ctx: &mut SupervisedContext<Self>) -> bool {
        let sent_event = event.clone();
        let is_sent = self.send(SocketCommand::Event(event), ctx);
        if is_sent {
            counter!(EVENTS_OUT, "event" => sent_event.name().to_owned()).increment(1);
        }
        is_sent
    }

    fn reply(&mut self, id: Option<u64>, result: ReplyResult, ctx: &mut SupervisedContext<Self>) {
        if id.is_some() || result.is_err() {
            self.send(SocketCommand::Reply { id, result }, ctx);
        }
    }

    fn detach(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.socket = None;
        self.online_guard = None;
        self.set_attached(false);
        self.restart_timer(self.sessions().config.resume_window(), ctx, |_, ctx| ctx.stop());
    }

    /// Publishes in the registry whether the session has a socket.
    fn set_attached(&self, attached: bool) {
        let user = self.init.principal.user;
        self.sessions().event_router.registry.attach(user, &self.attached, attached);
    }

    fn restart_timer(
        &mut self,
        after: Duration,
        ctx: &mut SupervisedContext<Self>,
        then: impl FnOnce(&mut Self, &mut SupervisedContext<Self>) + 'static,
    ) {
        self.stop_timer(ctx);
        self.timer = Some(ctx.run_later(after, then));
    }

    fn stop_timer(&mut self, ctx: &mut SupervisedContext<Self>) {
        if let Some(old) = self.timer.take() {
            ctx.cancel_future(old);
        }
    }

    /// Reads from the database how far every conversation is.
    fn load(&mut self, ctx: &mut SupervisedContext<Self>, reply: Option<AttachSocketReply>) {
        let chat = self.sessions().chat.clone();
        let user = self.init.principal.user;
        let socket_number = self.socket_number;
        let call_only = self.init.principal.call_grant.is_some();
        let positions =
            async move { if call_only { Ok(Vec::new()) } else { chat.positions(user).await } };
        let done = positions.into_actor(self).map(move |positions, session, ctx| {
            let is_current = socket_number == session.socket_number && session.socket.is_some();
            let is_loaded = positions.map(|positions| {
                let is_new_session = !session.is_loaded;
                let message_cursors =
                    positions.iter().map(|p| (p.conversation, p.last_seq, p.joined_seq));
                session.message_cursors.load(&message_cursors.collect::<Vec<_>>(), is_new_session);
                let change_cursors = positions.iter().map(|p| (p.conversation, p.revision, 0));
                session.change_cursors.load(&change_cursors.collect::<Vec<_>>(), is_new_session);
                session.is_loaded = true;
                session.message_cursors.seek_gaps();
                session.change_cursors.seek_gaps();
                session.read_next_gap(ctx);
            });
            match (reply, is_loaded) {
                (Some(reply), Ok(())) => {
                    let handle = session.handle(socket_number, ctx);
                    // a handle that nobody takes detaches when dropped
                    let _ = reply.send(Ok(handle));
                }
                (Some(reply), Err(error)) => {
                    if is_current {
                        session.detach(ctx);
                    }
                    let _ = reply.send(Err(error)); // fails only if the caller has left
                }
                (None, Err(_)) if is_current => {
                    ctx.run_later(session.retry_delay(), move |session, ctx| {
                        if socket_number == session.socket_number {
                            session.load(ctx, None);
                        }
                    });
                }
                (None, _) => {}
            }
        });
        ctx.spawn(done);
    }

    fn handle(&self, socket_number: u64, ctx: &SupervisedContext<Self>) -> SessionHandle {
        SessionHandle {
            actor: ctx.self_ref(),
            socket_number,
            id: self.init.id,
            resumed: socket_number > 1,
        }
    }

    /// The delay before a failed read is retried: 500 ms to 1 s, derived from the session id so
    /// that sessions do not retry all at once.
    fn retry_delay(&self) -> Duration {
        let fraction = u32::from(self.init.id.uuid().as_bytes()[15]);
        CATCH_UP_RETRY_DELAY + CATCH_UP_RETRY_DELAY * fraction / 256
    }

    /// Ends holding: messages are sent from now on.
    fn stop_holding(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.message_cursors.stop_holding();
        self.change_cursors.stop_holding();
        self.read_next_gap(ctx);
    }
}

impl Actor for SessionActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let actor = ctx.self_ref();
        let entry = SessionEntry {
            session: self.init.id,
            device: self.init.principal.device,
            call_only: self.init.principal.call_grant.is_some(),
            attached: self.attached.clone(),
            resync_pending: self.resync_pending.clone(),
            mailbox: SessionMailbox {
                deliver: actor.recipient(),
                observe_head: actor.recipient(),
                resync: actor.recipient(),
                end: actor.recipient(),
            },
        };
        self.sessions().event_router.registry.add(self.init.principal.user, entry);
        self.restart_timer(self.sessions().config.resume_window(), ctx, |_, ctx| ctx.stop());
    }
}

/// However a session ends, its socket is closed and it is removed from the registry.
impl Drop for SessionActor {
    fn drop(&mut self) {
        self.sessions().event_router.registry.remove(self.init.principal.user, self.init.id);
        self.sessions().calls.on_session_lost(self.init.id);
        if let Some(socket) = &self.socket {
            socket.close(CloseReason::SessionLost);
        }
    }
}
