//! The session of one device: identity, place in every conversation, requests under way.
//!
//! It outlives its socket for a while and is found again. If it fails nothing is lost: its socket
//! ends, the database is the truth, and a device that comes back tells what it has.

mod catch_up;
mod messages;

pub(super) use messages::{
    AttachSocket, ClientRequest, DeliverEvent, DetachSocket, EndSession, ObserveHead, Resync,
    SocketFlushed, SocketReady,
};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, SpawnHandle, WrapFuture};
use base::ids::SessionId;
use metrics::counter;
use tokio::sync::oneshot;

use self::messages::AttachSocketReply;
use super::cursors::DeliveryCursors;
use super::outbound_event::{OutboundEvent, SequenceKind};
use super::registry::SessionEntry;
use super::reorder_buffer::ReorderBuffer;
use super::socket_handle::{
    CloseReason, ReplyResult, SocketCommand, SocketHandle, SocketSendError,
};
use super::{SessionHandle, SessionService};
use crate::actors::presence::OnlineGuard;
use crate::actors::supervision::SupervisedContext;
use crate::domain::accounts::Principal;
use crate::telemetry::metrics::{EVENTS_OUT, GaugeGuard, SESSIONS, count_dropped_event};

/// How long a session waits before it asks a database again that did not answer.
const CATCH_UP_RETRY_DELAY: Duration = Duration::from_millis(500);

/// What a session is made of, now and after any restart.
pub(super) struct SessionInit {
    pub(super) me: Principal,
    pub(super) id: SessionId,
    pub(super) living: SessionService,
}

/// The actor.
pub struct SessionActor {
    seed: Arc<SessionInit>,
    attached: Arc<AtomicBool>,
    line: Option<SocketHandle>,
    /// Counts sockets, so that the farewell of an old one does not detach a new one.
    line_number: u64,
    /// How far what is said has come on this socket, and how far what became of it.
    said: DeliveryCursors,
    changed: DeliveryCursors,
    /// What came before that which it follows, and whether it is to be given up in a moment.
    early: ReorderBuffer,
    impatient: bool,
    /// Others are told that the person is here.
    here: Option<OnlineGuard>,
    loaded: bool,
    /// A page is being read, or the socket has not passed on the last one.
    reading: bool,
    /// The device knows that it is in.
    opened: bool,
    /// A `sync` is being answered.
    syncing: bool,
    in_flight: usize,
    /// Shared with the registry: a look into the database is on its way.
    told: Arc<AtomicBool>,
    timer: Option<SpawnHandle>,
    /// Ends when what was last asked of calls is answered: they are asked one after the other.
    last_call: Option<oneshot::Receiver<()>>,
    _present: GaugeGuard,
}

crate::actors::supervision::supervised!(SessionActor);

impl SessionActor {
    pub(super) fn new(seed: Arc<SessionInit>) -> Self {
        Self {
            seed,
            attached: Arc::default(),
            line: None,
            line_number: 0,
            said: DeliveryCursors::default(),
            changed: DeliveryCursors::default(),
            early: ReorderBuffer::default(),
            impatient: false,
            here: None,
            loaded: false,
            reading: false,
            opened: false,
            syncing: false,
            in_flight: 0,
            told: Arc::default(),
            timer: None,
            last_call: None,
            _present: GaugeGuard::new(SESSIONS, "any"),
        }
    }

    fn cursors(&mut self, order: SequenceKind) -> &mut DeliveryCursors {
        match order {
            SequenceKind::Messages => &mut self.said,
            SequenceKind::Revisions => &mut self.changed,
        }
    }

    fn living(&self) -> &SessionService {
        &self.seed.living
    }

    /// Sends down; a socket that does not keep up is ended, the session waits for its return.
    fn send(&mut self, down: SocketCommand, ctx: &mut SupervisedContext<Self>) -> bool {
        let Some(line) = &self.line else { return false };
        match line.send(down) {
            Ok(()) => true,
            Err(blocked) => {
                if blocked == SocketSendError::Slow {
                    count_dropped_event("slow-socket");
                    line.close(CloseReason::Slow);
                }
                self.detach(ctx);
                false
            }
        }
    }

    fn send_event(&mut self, event: OutboundEvent, ctx: &mut SupervisedContext<Self>) -> bool {
        let name = event.clone();
        let sent = self.send(SocketCommand::Event(event), ctx);
        if sent {
            counter!(EVENTS_OUT, "event" => name.name().to_owned()).increment(1);
        }
        sent
    }

    fn reply(&mut self, id: Option<u64>, answer: ReplyResult, ctx: &mut SupervisedContext<Self>) {
        if id.is_some() || answer.is_err() {
            self.send(SocketCommand::Reply { id, answer }, ctx);
        }
    }

    fn detach(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.line = None;
        self.here = None;
        self.is_attached(false);
        self.restart_timer(self.living().config.resume_window(), ctx, |_, ctx| ctx.stop());
    }

    /// Whether it has a socket, for everybody who asks.
    fn is_attached(&self, attached: bool) {
        let user = self.seed.me.user;
        self.living().switchboard.registry.attach(user, &self.attached, attached);
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

    /// Asks the database how far every conversation is.
    fn load(&mut self, ctx: &mut SupervisedContext<Self>, reply: Option<AttachSocketReply>) {
        let chat = self.living().chat.clone();
        let user = self.seed.me.user;
        let number = self.line_number;
        let call_only = self.seed.me.call_grant.is_some();
        let positions =
            async move { if call_only { Ok(Vec::new()) } else { chat.positions(user).await } };
        let done = positions.into_actor(self).map(move |positions, session, ctx| {
            let current = number == session.line_number && session.line.is_some();
            let loaded = positions.map(|positions| {
                let fresh = !session.loaded;
                let said = positions.iter().map(|p| (p.conversation, p.last_seq, p.joined_seq));
                session.said.load(&said.collect::<Vec<_>>(), fresh);
                let changed = positions.iter().map(|p| (p.conversation, p.revision, 0));
                session.changed.load(&changed.collect::<Vec<_>>(), fresh);
                session.loaded = true;
                session.said.seek_gaps();
                session.changed.seek_gaps();
                session.pump(ctx);
            });
            match (reply, loaded) {
                (Some(reply), Ok(())) => {
                    let handle = session.handle(number, ctx);
                    let _ = reply.send(Ok(handle)); // a handle nobody takes detaches by itself
                }
                (Some(reply), Err(error)) => {
                    if current {
                        session.detach(ctx);
                    }
                    let _ = reply.send(Err(error)); // gone: nobody to tell
                }
                (None, Err(_)) if current => {
                    ctx.run_later(session.pause(), move |session, ctx| {
                        if number == session.line_number {
                            session.load(ctx, None);
                        }
                    });
                }
                (None, _) => {}
            }
        });
        ctx.spawn(done);
    }

    fn handle(&self, number: u64, ctx: &SupervisedContext<Self>) -> SessionHandle {
        SessionHandle { actor: ctx.self_ref(), number, id: self.seed.id, resumed: number > 1 }
    }

    /// How long to wait before a database that did not answer is asked again: not the same for all
    /// sessions, so that they do not come at once.
    fn pause(&self) -> Duration {
        let share = u32::from(self.seed.id.uuid().as_bytes()[15]);
        CATCH_UP_RETRY_DELAY + CATCH_UP_RETRY_DELAY * share / 256
    }

    /// Messages flow from now on.
    fn release(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.said.release();
        self.changed.release();
        self.pump(ctx);
    }
}

impl Actor for SessionActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let entry = SessionEntry {
            session: self.seed.id,
            device: self.seed.me.device,
            call_only: self.seed.me.call_grant.is_some(),
            attached: self.attached.clone(),
            told: self.told.clone(),
            actor: ctx.self_ref(),
        };
        self.living().switchboard.registry.add(self.seed.me.user, entry);
        self.restart_timer(self.living().config.resume_window(), ctx, |_, ctx| ctx.stop());
    }
}

/// However a session ends, its socket learns of it and nobody finds it any more.
impl Drop for SessionActor {
    fn drop(&mut self) {
        self.living().switchboard.registry.remove(self.seed.me.user, self.seed.id);
        self.living().calls.lost(self.seed.id);
        if let Some(line) = &self.line {
            line.close(CloseReason::Lost);
        }
    }
}
