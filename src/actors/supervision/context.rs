//! `SupervisedContext`: the actix context of every supervised actor.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use actix::dev::{
    AsyncContextParts, ContextParts, Envelope as ActixEnvelope, EnvelopeProxy, Handler, Message,
    OneshotSender, ToEnvelope,
};
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, ActorState, Addr, AsyncContext, SpawnHandle};
use tokio::time::Instant;

use super::actor_ref::ActorRef;
use super::exit::ExitReason;
use super::mailbox::{Envelope, Mailbox};
use super::thread_activity::ThreadActivity;

/// So many letters, as many messages to `ctx.address()` and as many completed futures are dealt
/// with before others on the same thread get their turn. Each has its own budget: none starves
/// the other two.
const POLL_BUDGET: u32 = 128;

/// Builds an actor, at its start and at every restart.
pub(super) type ActorFactory<A> = Arc<dyn Fn(&mut SupervisedContext<A>) -> A + Send + Sync>;

/// The context of a supervised actor. `Actor::start` does not exist for it: such an actor can
/// live in the tree only.
pub struct SupervisedContext<A: Actor<Context = Self>> {
    parts: ContextParts<A>,
    mailbox: Arc<Mailbox<A>>,
    factory: ActorFactory<A>,
    desk: Arc<ThreadActivity>,
    turn: u32,
    restarted: bool,
    /// Why it is stopping, if not of its own will.
    pub(super) reason: Option<ExitReason>,
    /// It has begun to take messages.
    pub(super) ready: bool,
    letters: u32,
    addressed: u32,
    futures: u32,
    /// What a panic now would be blamed on; `None` between two deeds.
    doing: Option<&'static str>,
}

impl<A: Actor<Context = Self>> SupervisedContext<A> {
    pub(super) fn new(
        parts: ContextParts<A>,
        mailbox: Arc<Mailbox<A>>,
        factory: ActorFactory<A>,
        desk: Arc<ThreadActivity>,
        (turn, restarted): (u32, bool),
    ) -> Self {
        let mut ctx = Self {
            parts,
            mailbox,
            factory,
            desk,
            turn,
            restarted,
            reason: None,
            ready: false,
            letters: POLL_BUDGET,
            addressed: POLL_BUDGET,
            futures: POLL_BUDGET,
            doing: None,
        };
        ctx.parts.spawn(MailboxPump);
        ctx
    }

    /// Ends this incarnation as a failure, without a panic: the policy of the child decides on.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.reason.get_or_insert(ExitReason::Failed(reason.into()));
        self.parts.stop();
    }

    /// Where this actor stands in the tree.
    pub fn path(&self) -> &str {
        self.mailbox.cell.path()
    }

    /// The reference others use; valid longer than this incarnation.
    pub fn self_ref(&self) -> ActorRef<A> {
        ActorRef(Arc::clone(&self.mailbox))
    }

    /// A fresh actor from the factory of this child.
    pub fn rebuild(&mut self) -> A {
        let factory = Arc::clone(&self.factory);
        factory(self)
    }

    /// Whether an earlier incarnation lived here.
    pub const fn is_restart(&self) -> bool {
        self.restarted
    }

    pub(super) fn refill(&mut self) {
        (self.letters, self.addressed, self.futures) = (POLL_BUDGET, POLL_BUDGET, POLL_BUDGET);
    }

    /// Whether something was put off until the next turn.
    pub(super) const fn exhausted(&self) -> bool {
        self.letters == 0 || self.addressed == 0 || self.futures == 0
    }

    pub(super) fn begin(&mut self, what: &'static str) {
        self.doing = Some(what);
        self.desk.note(what, Instant::now());
    }

    pub(super) fn begin_message(&mut self, what: &'static str, sent: Instant) {
        let now = Instant::now();
        self.doing = Some(what);
        self.desk.note(what, now);
        let cell = &self.mailbox.cell;
        cell.handled.fetch_add(1, Relaxed);
        let waited = now.saturating_duration_since(sent).as_micros();
        cell.longest_wait_us.fetch_max(u64::try_from(waited).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) const fn end_message(&mut self) {
        self.doing = None;
    }

    /// What a panic that was just caught is blamed on.
    pub(super) fn current_message_type(&self) -> &'static str {
        match (self.doing, self.parts.state()) {
            (Some(what), _) => what,
            (None, ActorState::Stopping) => "stopping",
            (None, ActorState::Stopped) => "stopped",
            (None, _) => "drop", // of a future that had just ended
        }
    }
}

impl<A: Actor<Context = Self>> ActorContext for SupervisedContext<A> {
    fn stop(&mut self) {
        self.parts.stop();
    }

    fn terminate(&mut self) {
        self.parts.terminate();
    }

    fn state(&self) -> ActorState {
        self.parts.state()
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for SupervisedContext<A> {
    fn spawn<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) -> SpawnHandle {
        self.parts.spawn(TrackedFuture(Some(Box::pin(future))))
    }

    fn wait<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) {
        self.parts.wait(TrackedFuture(Some(Box::pin(future))));
    }

    /// Actix stops reading its own mailbox while this is true: that keeps `ctx.address()` fair.
    fn waiting(&self) -> bool {
        self.parts.waiting() || self.addressed == 0
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.parts.cancel_future(handle)
    }

    /// Actix' own address. It dies with this incarnation: give others [`SupervisedContext::myself`].
    fn address(&self) -> Addr<A> {
        self.parts.address()
    }
}

impl<A: Actor<Context = Self>> AsyncContextParts<A> for SupervisedContext<A> {
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}

impl<A, M> ToEnvelope<A, M> for SupervisedContext<A>
where
    A: Actor<Context = Self> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, reply: Option<OneshotSender<M::Result>>) -> ActixEnvelope<A> {
        ActixEnvelope::with_proxy(Box::new(SelfMessage(Envelope::new(message, reply, None))))
    }
}

/// A message to `ctx.address()`.
struct SelfMessage<M: Message>(Envelope<M>);

impl<A, M> EnvelopeProxy<A> for SelfMessage<M>
where
    A: Actor<Context = SupervisedContext<A>> + Handler<M>,
    M: Message,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut SupervisedContext<A>) {
        ctx.addressed = ctx.addressed.saturating_sub(1);
        self.0.handle(actor, ctx);
    }
}

/// Carries letters from the mailbox of the place to the actor. It is the first future of every
/// incarnation, and actix polls no future while the actor waits: so it is ready when
/// `started` and everything that `started` waits for is done.
struct MailboxPump;

impl<A: Actor<Context = SupervisedContext<A>>> ActorFuture<A> for MailboxPump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut SupervisedContext<A>,
        _: &mut Context<'_>,
    ) -> Poll<()> {
        ctx.ready = true;
        ctx.end_message();
        while ctx.letters > 0 && !ctx.parts.waiting() {
            let Some(mut letter) = ctx.mailbox.take(ctx.turn) else { break };
            ctx.letters -= 1;
            letter.handle(actor, ctx);
        }
        Poll::Pending
    }
}

/// A future of the actor, known by its type when it panics or blocks, and kept from starving
/// others by completing again and again.
struct TrackedFuture<F>(Option<Pin<Box<F>>>);

impl<A: Actor<Context = SupervisedContext<A>>, F: ActorFuture<A, Output = ()>> ActorFuture<A>
    for TrackedFuture<F>
{
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut SupervisedContext<A>,
        task: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(future) = self.0.as_mut() else { return Poll::Ready(()) };
        if ctx.futures == 0 {
            return Poll::Pending; // the incarnation wakes itself when a budget is used up
        }
        ctx.begin(std::any::type_name::<F>());
        let poll = future.as_mut().poll(actor, ctx, task);
        ctx.end_message();
        if poll.is_ready() {
            ctx.futures -= 1;
        }
        poll
    }
}

impl<F> Drop for TrackedFuture<F> {
    fn drop(&mut self) {
        // A second panic that leaves a destructor during an unwind would abort the process.
        if std::thread::panicking() {
            let future = self.0.take();
            if let Err(text) = super::exit::catch_panic(|| drop(future)) {
                tracing::error!(panic = text, "panic while dropping future");
            }
        }
    }
}
