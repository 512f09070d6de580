//! The mailbox: it belongs to the place in the tree, not to the incarnation that reads it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use actix::Actor;
use actix::dev::{EnvelopeProxy, Handler, Message, MessageResponse, OneshotSender};
use tokio::time::Instant;

use super::actor_ref::SendError;
use super::cell::{ActorStats, TreeNodeKind, locked};
use super::context::SupervisedContext;
use super::exit::catch_panic;

/// A message of any type in the mailbox of an `A`.
pub(super) type BoxedEnvelope<A> = Box<dyn EnvelopeProxy<A> + Send>;

/// What the supervisor wants of the incarnation that holds the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ControlSignal {
    Live,
    Stop,
    Kill,
    /// Another incarnation has the mailbox now.
    Vanish,
}

/// One place in the tree: its counters and its mailbox, which survives every incarnation.
pub(super) struct Mailbox<A: Actor> {
    pub(super) cell: Arc<ActorStats>,
    inner: Mutex<MailboxInner<A>>,
}

struct MailboxInner<A: Actor> {
    letters: VecDeque<BoxedEnvelope<A>>,
    capacity: usize,
    open: bool,
    /// Which incarnation may read; all others are orphans on a lost thread.
    turn: u32,
    order: ControlSignal,
    waker: Option<Waker>,
}

impl<A: Actor> Mailbox<A> {
    pub(super) fn new(capacity: usize) -> Self {
        let inner = MailboxInner {
            letters: VecDeque::new(),
            capacity,
            open: true,
            turn: 0,
            order: ControlSignal::Live,
            waker: None,
        };
        Self { cell: Arc::new(ActorStats::new(TreeNodeKind::Actor)), inner: Mutex::new(inner) }
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        locked(&self.inner).capacity = capacity;
    }

    pub(super) fn push(&self, letter: BoxedEnvelope<A>, bounded: bool) -> Result<(), SendError> {
        let mut inner = locked(&self.inner);
        if !inner.open {
            drop(inner); // the letter is dropped after the lock
            return Err(SendError::Gone);
        }
        if bounded && inner.letters.len() >= inner.capacity {
            drop(inner);
            return Err(SendError::Full);
        }
        inner.letters.push_back(letter);
        self.count(&inner);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The oldest letter, if the incarnation `turn` may still read.
    pub(super) fn take(&self, turn: u32) -> Option<BoxedEnvelope<A>> {
        let mut inner = locked(&self.inner);
        if inner.turn != turn {
            return None;
        }
        let letter = inner.letters.pop_front();
        self.count(&inner);
        letter
    }

    /// What the incarnation `turn` is to do; `waker` hears of the next letter or order.
    pub(super) fn attach_reader(&self, turn: u32, waker: &Waker) -> ControlSignal {
        let mut inner = locked(&self.inner);
        if inner.turn != turn {
            return ControlSignal::Vanish;
        }
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        inner.order
    }

    /// Hands the mailbox to a new incarnation and opens it.
    pub(super) fn assign_to(&self, turn: u32) {
        let mut inner = locked(&self.inner);
        inner.turn = turn;
        inner.open = true;
        inner.order = ControlSignal::Live;
        let orphan = inner.waker.take();
        drop(inner);
        if let Some(orphan) = orphan {
            orphan.wake(); // it finds that it has to vanish
        }
    }

    /// Takes the mailbox from the incarnation `turn`, and keeps its letters for the next.
    pub(super) fn detach(&self, turn: u32) {
        let mut inner = locked(&self.inner);
        if inner.turn == turn {
            inner.turn = turn.wrapping_add(1);
        }
        let orphan = inner.waker.take();
        drop(inner);
        if let Some(orphan) = orphan {
            orphan.wake();
        }
    }

    /// Raises the order to at least `order`.
    pub(super) fn order(&self, order: ControlSignal) {
        let mut inner = locked(&self.inner);
        inner.order = inner.order.max(order);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nobody will read what is in it; whoever waits for an answer hears so.
    pub(super) fn close(&self) {
        let mut inner = locked(&self.inner);
        inner.open = false;
        let letters = std::mem::take(&mut inner.letters);
        self.count(&inner);
        drop(inner);
        for letter in letters {
            if let Err(text) = catch_panic(|| drop(letter)) {
                tracing::error!(
                    actor.path = self.cell.path(),
                    panic = text,
                    "a message panicked when it was dropped"
                );
            }
        }
    }

    fn count(&self, inner: &MailboxInner<A>) {
        self.cell.depth.store(inner.letters.len() as u64, Ordering::Relaxed);
    }
}

/// Whoever will let the mailbox be read. When it goes, the mailbox is closed.
pub(super) struct MailboxOwner<A: Actor>(pub(super) Arc<Mailbox<A>>);

impl<A: Actor> Drop for MailboxOwner<A> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// One message on its way, and where its answer goes.
pub(super) struct Envelope<M: Message> {
    message: Option<M>,
    reply: Option<OneshotSender<M::Result>>,
    /// Set when handling begins: an asker must know whether its question may have had effect.
    begun: Option<Arc<AtomicBool>>,
    sent: Instant,
}

impl<M: Message> Envelope<M> {
    pub(super) fn new(
        message: M,
        reply: Option<OneshotSender<M::Result>>,
        begun: Option<Arc<AtomicBool>>,
    ) -> Self {
        Self { message: Some(message), reply, begun, sent: Instant::now() }
    }
}

impl<A, M> EnvelopeProxy<A> for Envelope<M>
where
    A: Actor<Context = SupervisedContext<A>> + Handler<M>,
    M: Message,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut SupervisedContext<A>) {
        let Some(message) = self.message.take() else { return };
        ctx.begin_message(std::any::type_name::<M>(), self.sent);
        if !self.reply.as_ref().is_some_and(OneshotSender::is_closed) {
            if let Some(begun) = &self.begun {
                begun.store(true, Ordering::Release);
            }
            let reply = self.reply.take();
            actor.handle(message, ctx).handle(ctx, reply);
        }
        ctx.end_message();
    }
}
