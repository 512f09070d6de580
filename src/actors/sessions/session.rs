//! The session of one device: identity, place in every conversation, requests under way.
//!
//! It outlives its socket for a while and is found again. If it fails nothing is lost: its socket
//! ends, the database is the truth, and a device that comes back tells what it has.

mod inbox;

pub(super) use inbox::{Attach, Deliver, Detach, End, Flushed, Known, Missed, Open, Request};

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, SpawnHandle, WrapFuture};
use base::ids::{ConversationId, SessionId};
use metrics::counter;
use tokio::sync::oneshot;

use self::inbox::AttachReply;
use super::cursors::{Cursors, Gap};
use super::line::{Answer, Blocked, Close, Down, Line};
use super::outgoing::Outgoing;
use super::registry::Entry;
use super::{Living, SessionHandle, requests};
use crate::actors::supervision::Ctx;
use crate::domain::accounts::Me;
use crate::protocol::List;
use crate::protocol::chat as wire;
use crate::protocol::client::Sync;
use crate::protocol::server::{ServerEvent, Synced};
use crate::telemetry::metrics::{CATCH_UPS, EVENTS_OUT, Present, SESSIONS, dropped};

/// How long a session waits before it asks a database again that did not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Messages read at once when a device is behind.
const PAGE: u32 = 100;

/// What a session is made of, now and after any restart.
pub(super) struct Seed {
    pub(super) me: Me,
    pub(super) id: SessionId,
    pub(super) living: Living,
}

/// The actor.
pub struct Session {
    seed: Arc<Seed>,
    attached: Arc<AtomicBool>,
    line: Option<Line>,
    /// Counts sockets, so that the farewell of an old one does not detach a new one.
    line_number: u64,
    cursors: Cursors,
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
    _present: Present,
}

crate::actors::supervision::supervised!(Session);

impl Session {
    pub(super) fn new(seed: Arc<Seed>) -> Self {
        Self {
            seed,
            attached: Arc::default(),
            line: None,
            line_number: 0,
            cursors: Cursors::default(),
            loaded: false,
            reading: false,
            opened: false,
            syncing: false,
            in_flight: 0,
            told: Arc::default(),
            timer: None,
            last_call: None,
            _present: Present::new(SESSIONS, "any"),
        }
    }

    fn living(&self) -> &Living {
        &self.seed.living
    }

    /// Sends down; a socket that does not keep up is ended, the session waits for its return.
    fn send(&mut self, down: Down, ctx: &mut Ctx<Self>) -> bool {
        let Some(line) = &self.line else { return false };
        match line.send(down) {
            Ok(()) => true,
            Err(blocked) => {
                if blocked == Blocked::Slow {
                    dropped("slow-socket");
                    line.close(Close::Slow);
                }
                self.detach(ctx);
                false
            }
        }
    }

    fn send_event(&mut self, event: Outgoing, ctx: &mut Ctx<Self>) -> bool {
        let name = event.clone();
        let sent = self.send(Down::Event(event), ctx);
        if sent {
            counter!(EVENTS_OUT, "event" => name.name().to_owned()).increment(1);
        }
        sent
    }

    fn reply(&mut self, id: Option<u64>, answer: Answer, ctx: &mut Ctx<Self>) {
        if id.is_some() || answer.is_err() {
            self.send(Down::Reply { id, answer }, ctx);
        }
    }

    fn detach(&mut self, ctx: &mut Ctx<Self>) {
        self.line = None;
        self.is_attached(false);
        self.restart_timer(self.living().config.grace(), ctx, |_, ctx| ctx.stop());
    }

    /// Whether it has a socket, for everybody who asks.
    fn is_attached(&self, attached: bool) {
        let user = self.seed.me.user;
        self.living().switchboard.registry.attach(user, &self.attached, attached);
    }

    fn restart_timer(
        &mut self,
        after: Duration,
        ctx: &mut Ctx<Self>,
        then: impl FnOnce(&mut Self, &mut Ctx<Self>) + 'static,
    ) {
        self.stop_timer(ctx);
        self.timer = Some(ctx.run_later(after, then));
    }

    fn stop_timer(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(old) = self.timer.take() {
            ctx.cancel_future(old);
        }
    }

    /// Asks the database how far every conversation is.
    fn load(&mut self, ctx: &mut Ctx<Self>, reply: Option<AttachReply>) {
        let chat = self.living().chat.clone();
        let user = self.seed.me.user;
        let number = self.line_number;
        let call_only = self.seed.me.pass.is_some();
        let positions =
            async move { if call_only { Ok(Vec::new()) } else { chat.positions(user).await } };
        let done = positions.into_actor(self).map(move |positions, session, ctx| {
            let current = number == session.line_number && session.line.is_some();
            let loaded = positions.map(|positions| {
                session.cursors.load(&positions, !session.loaded);
                session.loaded = true;
                session.cursors.seek_gaps();
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

    fn handle(&self, number: u64, ctx: &Ctx<Self>) -> SessionHandle {
        SessionHandle { actor: ctx.myself(), number, id: self.seed.id, resumed: number > 1 }
    }

    /// How long to wait before a database that did not answer is asked again: not the same for all
    /// sessions, so that they do not come at once.
    fn pause(&self) -> Duration {
        let share = u32::from(self.seed.id.uuid().as_bytes()[15]);
        RETRY + RETRY * share / 256
    }

    /// Messages flow from now on.
    fn release(&mut self, ctx: &mut Ctx<Self>) {
        self.cursors.release();
        self.pump(ctx);
    }

    /// Reads the next missing piece, one at a time, at the pace of the socket.
    fn pump(&mut self, ctx: &mut Ctx<Self>) {
        if self.reading || self.line.is_none() || !self.loaded {
            return;
        }
        let Some(gap) = self.cursors.next_gap() else { return };
        self.reading = true;
        counter!(CATCH_UPS).increment(1);
        let chat = self.living().chat.clone();
        let user = self.seed.me.user;
        let number = self.line_number;
        let page = async move {
            let query =
                wire::MessagesQuery { after: Some(gap.after), before: None, limit: Some(PAGE) };
            chat.messages(user, gap.conversation, &query).await
        };
        let done = page.into_actor(self).map(move |page, session, ctx| {
            if number == session.line_number {
                session.take_page(gap, page, ctx);
            }
        });
        ctx.spawn(done);
    }

    fn take_page(
        &mut self,
        gap: Gap,
        page: Result<List<wire::Message>, crate::domain::chat::Error>,
        ctx: &mut Ctx<Self>,
    ) {
        let page = match page {
            Ok(page) => page,
            Err(crate::domain::chat::Error::NoSuchConversation) => {
                self.cursors.forget(gap.conversation); // left meanwhile
                self.reading = false;
                return self.pump(ctx);
            }
            Err(error) => {
                tracing::debug!(%error, "a session cannot read what it missed yet");
                let number = self.line_number;
                ctx.run_later(self.pause(), move |session, ctx| {
                    if number == session.line_number {
                        session.reading = false;
                        session.pump(ctx);
                    }
                });
                return;
            }
        };
        let last = page.items.last().map(|message| message.seq);
        let wanted = page.items.into_iter().filter(|message| Cursors::wants(gap, message.seq));
        let mut sent = false;
        for message in wanted {
            sent = true;
            if !self.send_event(Outgoing::new(&ServerEvent::Message(message)), ctx) {
                return;
            }
        }
        self.cursors.fill(gap, last, page.next.is_some());
        if sent {
            self.send(Down::Fence, ctx); // reading goes on when the socket has passed it on
        } else {
            self.reading = false;
            self.pump(ctx);
        }
    }

    fn sync(&mut self, id: Option<u64>, sync: Sync, ctx: &mut Ctx<Self>) {
        self.syncing = true;
        self.stop_timer(ctx); // what waits for the first `sync` waits for its answer
        let chat = self.living().chat.clone();
        let user = self.seed.me.user;
        let number = self.line_number;
        let all = async move { requests::all_conversations(&chat, user).await };
        let done = all.into_actor(self).map(move |all, session, ctx| {
            session.in_flight -= 1;
            session.syncing = false;
            if number != session.line_number || session.line.is_none() {
                return;
            }
            match all {
                Ok(conversations) => session.synced(id, &sync.cursors, conversations, ctx),
                Err(error) => {
                    session.reply(id, Err(Arc::new(error)), ctx);
                    session.restart_timer(session.living().config.hold(), ctx, Self::release);
                }
            }
        });
        ctx.spawn(done);
    }

    fn synced(
        &mut self,
        id: Option<u64>,
        has: &HashMap<ConversationId, i64>,
        conversations: Vec<wire::Summary>,
        ctx: &mut Ctx<Self>,
    ) {
        for c in &conversations {
            let has = has.get(&c.id).copied().unwrap_or(0);
            self.cursors.sync(c.id, has, c.last_seq, c.joined_seq);
        }
        let answer = requests::json(&Synced { conversations });
        self.reply(id, answer, ctx);
        self.release(ctx);
    }
}

impl Actor for Session {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let entry = Entry {
            session: self.seed.id,
            device: self.seed.me.device,
            call_only: self.seed.me.pass.is_some(),
            attached: self.attached.clone(),
            told: self.told.clone(),
            actor: ctx.myself(),
        };
        self.living().switchboard.registry.add(self.seed.me.user, entry);
        self.restart_timer(self.living().config.grace(), ctx, |_, ctx| ctx.stop());
    }
}

/// However a session ends, its socket learns of it and nobody finds it any more.
impl Drop for Session {
    fn drop(&mut self) {
        self.living().switchboard.registry.remove(self.seed.me.user, self.seed.id);
        self.living().calls.lost(self.seed.id);
        if let Some(line) = &self.line {
            line.close(Close::Lost);
        }
    }
}
