//! `ActorRef`: how everybody else speaks to a supervised actor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use actix::Actor;
use actix::dev::{Handler, Message};
use tokio::sync::oneshot;

use super::context::SupervisedContext;
use super::mailbox::{Envelope, Mailbox};

/// Why a message had no effect, or no known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
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
pub struct ActorRef<A: Actor>(pub(super) Arc<Mailbox<A>>);

impl<A: Actor> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor> std::fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ref").field(&self.path()).finish()
    }
}

/// Two references are equal if they speak to the same place.
impl<A: Actor> PartialEq for ActorRef<A> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<A: Actor> Eq for ActorRef<A> {}

impl<A: Actor<Context = SupervisedContext<A>>> ActorRef<A> {
    /// Sends `message` if the mailbox has room.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Gone`].
    pub fn tell<M>(&self, message: M) -> Result<(), SendError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.0.push(Box::new(Envelope::new(message, None, None)), true)
    }

    /// Sends a control message, which no full mailbox refuses. Only for what is few by nature.
    ///
    /// # Errors
    /// [`SendError::Gone`].
    pub fn tell_control<M>(&self, message: M) -> Result<(), SendError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.0.push(Box::new(Envelope::new(message, None, None)), false)
    }

    /// Sends a question now and returns its answer to be awaited. If the answer is dropped before
    /// the question's turn comes, the question is skipped.
    ///
    /// # Errors
    /// The answer is an [`SendError`] if there is none.
    pub fn ask<M>(&self, message: M) -> AskFuture<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (reply, answer) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let letter = Envelope::new(message, Some(reply), Some(Arc::clone(&begun)));
        AskFuture(self.0.push(Box::new(letter), true).map(|()| PendingReply { answer, begun }))
    }

    /// The same place, for those who know only one of its messages.
    pub fn recipient<M>(&self) -> Recipient<M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Recipient(Arc::clone(&self.0) as Arc<dyn MessageSink<M>>)
    }
}

impl<A: Actor> ActorRef<A> {
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
pub struct AskFuture<R>(Result<PendingReply<R>, SendError>);

struct PendingReply<R> {
    answer: oneshot::Receiver<R>,
    begun: Arc<AtomicBool>,
}

impl<R> Future for AskFuture<R> {
    type Output = Result<R, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Err(why) => Poll::Ready(Err(*why)),
            Ok(waiting) => Pin::new(&mut waiting.answer).poll(cx).map(|answer| {
                let began = waiting.begun.load(Ordering::Acquire);
                answer.map_err(|_| if began { SendError::Failed } else { SendError::Gone })
            }),
        }
    }
}

/// A [`ActorRef`] narrowed to one message.
pub struct Recipient<M: Message>(Arc<dyn MessageSink<M>>);

impl<M: Message> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message> Recipient<M> {
    /// As [`ActorRef::tell`].
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Gone`].
    pub fn tell(&self, message: M) -> Result<(), SendError> {
        self.0.accept(message, true)
    }

    /// As [`ActorRef::insist`].
    ///
    /// # Errors
    /// [`SendError::Gone`].
    pub fn insist(&self, message: M) -> Result<(), SendError> {
        self.0.accept(message, false)
    }
}

trait MessageSink<M: Message>: Send + Sync {
    fn accept(&self, message: M, bounded: bool) -> Result<(), SendError>;
}

impl<A, M> MessageSink<M> for Mailbox<A>
where
    A: Actor<Context = SupervisedContext<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn accept(&self, message: M, bounded: bool) -> Result<(), SendError> {
        self.push(Box::new(Envelope::new(message, None, None)), bounded)
    }
}
