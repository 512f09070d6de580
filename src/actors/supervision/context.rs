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
use super::envelope::{Envelope, MessageContext};
use super::exit::ExitReason;
use super::mailbox::Mailbox;
use super::thread_activity::ThreadActivity;

/// Mailbox envelopes, messages to `ctx.address()` and completed futures that one poll handles at
/// most before other actors on the same thread run. Each of the three has its own budget, so none
/// starves the other two.
const POLL_BUDGET: u32 = 128;

/// Builds an actor, at its start and at every restart.
pub(super) type ActorFactory<A> = Arc<dyn Fn(&mut SupervisedContext<A>) -> A + Send + Sync>;

/// The context of a supervised actor. `Actor::start` does not exist for it: such an actor runs only
/// inside a supervision tree.
pub struct SupervisedContext<A: Actor<Context = Self>> {
    parts: ContextParts<A>,
    mailbox: Arc<Mailbox<A>>,
    factory: ActorFactory<A>,
    activity: Arc<ThreadActivity>,
    incarnation: u32,
    is_restarted: bool,
    /// Why it is stopping, unless it stops of its own accord.
    pub(super) reason: Option<ExitReason>,
    /// Whether it has begun to handle messages.
    pub(super) is_ready: bool,
    mailbox_budget: u32,
    self_budget: u32,
    future_budget: u32,
    /// What a panic now is attributed to; `None` between two operations.
    current_operation: Option<&'static str>,
}

impl<A: Actor<Context = Self>> SupervisedContext<A> {
    pub(super) fn new(
        parts: ContextParts<A>,
        mailbox: Arc<Mailbox<A>>,
        factory: ActorFactory<A>,
        activity: Arc<ThreadActivity>,
        (incarnation, is_restarted): (u32, bool),
    ) -> Self {
        let mut ctx = Self {
            parts,
            mailbox,
            factory,
            activity,
            incarnation,
            is_restarted,
            reason: None,
            is_ready: false,
            mailbox_budget: POLL_BUDGET,
            self_budget: POLL_BUDGET,
            future_budget: POLL_BUDGET,
            current_operation: None,
        };
        ctx.parts.spawn(MailboxPump);
        ctx
    }

    /// Ends this incarnation as a failure without a panic; the restart policy of the child applies.
    pub fn fail(&mut self, reason: impl Into<String>) {
        self.reason.get_or_insert(ExitReason::Failed(reason.into()));
        self.parts.stop();
    }

    /// Path of this actor in the tree.
    pub fn path(&self) -> &str {
        self.mailbox.stats.path()
    }

    /// The reference that others use; it outlives this incarnation.
    pub fn self_ref(&self) -> ActorRef<A> {
        ActorRef(Arc::clone(&self.mailbox))
    }

    /// A new actor from the factory of this child.
    pub fn rebuild(&mut self) -> A {
        let factory = Arc::clone(&self.factory);
        factory(self)
    }

    /// Whether an earlier incarnation ran at this path.
    pub const fn is_restart(&self) -> bool {
        self.is_restarted
    }

    pub(super) fn refill(&mut self) {
        (self.mailbox_budget, self.self_budget, self.future_budget) =
            (POLL_BUDGET, POLL_BUDGET, POLL_BUDGET);
    }

    /// Whether a budget is used up, so that work was put off until the next poll.
    pub(super) const fn exhausted(&self) -> bool {
        self.mailbox_budget == 0 || self.self_budget == 0 || self.future_budget == 0
    }

    pub(super) fn begin(&mut self, operation: &'static str) {
        self.current_operation = Some(operation);
        self.activity.update(operation, Instant::now());
    }

    /// What a panic that was just caught is attributed to.
    pub(super) fn current_message_type(&self) -> &'static str {
        match (self.current_operation, self.parts.state()) {
            (Some(operation), _) => operation,
            (None, ActorState::Stopping) => "stopping",
            (None, ActorState::Stopped) => "stopped",
            (None, _) => "drop", // of a future that has just completed
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

    /// Actix stops reading its own mailbox while this is true; that keeps `ctx.address()` fair.
    fn waiting(&self) -> bool {
        self.parts.waiting() || self.self_budget == 0
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.parts.cancel_future(handle)
    }

    /// The address given by actix. It dies with this incarnation: give others
    /// [`SupervisedContext::self_ref`].
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

impl<A: Actor<Context = Self>> MessageContext for SupervisedContext<A> {
    fn begin_message(&mut self, operation: &'static str, sent: Instant) {
        let now = Instant::now();
        self.current_operation = Some(operation);
        self.activity.update(operation, now);
        let stats = &self.mailbox.stats;
        stats.handled.fetch_add(1, Relaxed);
        let wait_us = now.saturating_duration_since(sent).as_micros();
        stats.max_wait_us.fetch_max(u64::try_from(wait_us).unwrap_or(u64::MAX), Relaxed);
    }

    fn end_message(&mut self) {
        self.current_operation = None;
    }
}

/// A message sent to `ctx.address()`.
struct SelfMessage<M: Message>(Envelope<M>);

impl<A, M> EnvelopeProxy<A> for SelfMessage<M>
where
    A: Actor<Context = SupervisedContext<A>> + Handler<M>,
    M: Message,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut SupervisedContext<A>) {
        ctx.self_budget = ctx.self_budget.saturating_sub(1);
        self.0.handle(actor, ctx);
    }
}

/// Moves envelopes from the mailbox to the actor. It is the first future of every incarnation, and
/// actix polls no future while the actor waits: so it first runs when `started` and everything that
/// `started` waits for are done.
struct MailboxPump;

impl<A: Actor<Context = SupervisedContext<A>>> ActorFuture<A> for MailboxPump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut SupervisedContext<A>,
        _: &mut Context<'_>,
    ) -> Poll<()> {
        ctx.is_ready = true;
        ctx.end_message();
        while ctx.mailbox_budget > 0 && !ctx.parts.waiting() {
            let Some(mut envelope) = ctx.mailbox.take(ctx.incarnation) else { break };
            ctx.mailbox_budget -= 1;
            envelope.handle(actor, ctx);
        }
        Poll::Pending
    }
}

/// A future of the actor that is reported by its type when it panics or blocks, and that is charged
/// to the budget when it completes.
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
        if ctx.future_budget == 0 {
            return Poll::Pending; // the incarnation wakes itself when a budget is used up
        }
        ctx.begin(std::any::type_name::<F>());
        let poll = future.as_mut().poll(actor, ctx, task);
        ctx.end_message();
        if poll.is_ready() {
            ctx.future_budget -= 1;
        }
        poll
    }
}

impl<F> Drop for TrackedFuture<F> {
    fn drop(&mut self) {
        // A second panic that leaves a destructor during an unwind would abort the process.
        if std::thread::panicking() {
            let future = self.0.take();
            if let Err(panic_text) = super::exit::catch_panic(|| drop(future)) {
                tracing::error!(panic = panic_text, "panic while dropping future");
            }
        }
    }
}
