//! `Ref`: how everybody else speaks to a supervised actor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use actix::Actor;
use actix::dev::{Handler, Message};
use tokio::sync::oneshot;

use super::context::Ctx;
use super::mailbox::{Letter, Mailbox};

/// Why a message had no effect, or no known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// The mailbox is full: the message was not accepted.
    #[error("the mailbox is full")]
    Full,
    /// The actor was stopped or has ended: the message was certainly not handled.
    #[error("the actor is gone")]
    Gone,
    /// The actor died while it handled the message: it may have had effect.
    #[error("the actor failed while it handled the message")]
    Failed,
}

/// Speaks to one place in the tree. It may exist before the actor has started, and stays valid
/// over restarts and over a replaced thread; what is in the mailbox survives both.
pub struct Ref<A: Actor>(pub(super) Arc<Mailbox<A>>);

impl<A: Actor> Clone for Ref<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor> std::fmt::Debug for Ref<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ref").field(&self.path()).finish()
    }
}

/// Two references are equal if they speak to the same place.
impl<A: Actor> PartialEq for Ref<A> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<A: Actor> Eq for Ref<A> {}

impl<A: Actor<Context = Ctx<A>>> Ref<A> {
    /// Sends `message` if the mailbox has room.
    ///
    /// # Errors
    /// [`Undelivered::Full`] or [`Undelivered::Gone`].
    pub fn tell<M>(&self, message: M) -> Result<(), Undelivered>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.0.put(Box::new(Letter::new(message, None, None)), true)
    }

    /// Sends a control message, which no full mailbox refuses. Only for what is few by nature.
    ///
    /// # Errors
    /// [`Undelivered::Gone`].
    pub fn insist<M>(&self, message: M) -> Result<(), Undelivered>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.0.put(Box::new(Letter::new(message, None, None)), false)
    }

    /// Sends a question now and returns its answer to be awaited. If the answer is dropped before
    /// the question's turn comes, the question is skipped.
    ///
    /// # Errors
    /// The answer is an [`Undelivered`] if there is none.
    pub fn ask<M>(&self, message: M) -> Ask<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (reply, answer) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let letter = Letter::new(message, Some(reply), Some(Arc::clone(&begun)));
        Ask(self.0.put(Box::new(letter), true).map(|()| Waiting { answer, begun }))
    }

    /// The same place, for those who know only one of its messages.
    pub fn recipient<M>(&self) -> Listener<M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Listener(Arc::clone(&self.0) as Arc<dyn Accepts<M>>)
    }
}

impl<A: Actor> Ref<A> {
    /// Where it stands in the tree, as in `/node/rooms/0/blue`; empty before the launch.
    pub fn path(&self) -> &str {
        self.0.cell.path()
    }

    /// How many messages wait.
    pub fn depth(&self) -> u64 {
        self.0.cell.depth.load(Ordering::Relaxed)
    }
}

/// The answer to a question, once it is awaited.
#[must_use = "a question whose answer is dropped may be skipped"]
pub struct Ask<R>(Result<Waiting<R>, Undelivered>);

struct Waiting<R> {
    answer: oneshot::Receiver<R>,
    begun: Arc<AtomicBool>,
}

impl<R> Future for Ask<R> {
    type Output = Result<R, Undelivered>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Err(why) => Poll::Ready(Err(*why)),
            Ok(waiting) => Pin::new(&mut waiting.answer).poll(cx).map(|answer| {
                let began = waiting.begun.load(Ordering::Acquire);
                answer.map_err(|_| if began { Undelivered::Failed } else { Undelivered::Gone })
            }),
        }
    }
}

/// A [`Ref`] narrowed to one message.
pub struct Listener<M: Message>(Arc<dyn Accepts<M>>);

impl<M: Message> Clone for Listener<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message> Listener<M> {
    /// As [`Ref::tell`].
    ///
    /// # Errors
    /// [`Undelivered::Full`] or [`Undelivered::Gone`].
    pub fn tell(&self, message: M) -> Result<(), Undelivered> {
        self.0.accept(message, true)
    }

    /// As [`Ref::insist`].
    ///
    /// # Errors
    /// [`Undelivered::Gone`].
    pub fn insist(&self, message: M) -> Result<(), Undelivered> {
        self.0.accept(message, false)
    }
}

trait Accepts<M: Message>: Send + Sync {
    fn accept(&self, message: M, bounded: bool) -> Result<(), Undelivered>;
}

impl<A, M> Accepts<M> for Mailbox<A>
where
    A: Actor<Context = Ctx<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn accept(&self, message: M, bounded: bool) -> Result<(), Undelivered> {
        self.put(Box::new(Letter::new(message, None, None)), bounded)
    }
}
