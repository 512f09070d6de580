//! `ActorRef`: the handle through which others send messages to a supervised actor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use actix::Actor;
use actix::dev::{Handler, Message};
use tokio::sync::oneshot;

use super::envelope::{Envelope, MessageContext};
use super::mailbox::Mailbox;
use super::send_error::SendError;

/// Sends messages to the actor at one path of the tree. It may exist before the actor has started
/// and stays valid across restarts and thread replacement; so do the messages in the mailbox.
pub struct ActorRef<A: Actor>(pub(super) Arc<Mailbox<A>>);

impl<A: Actor> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor> std::fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ActorRef").field(&self.path()).finish()
    }
}

/// Two references are equal if they address the same mailbox.
impl<A: Actor> PartialEq for ActorRef<A> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<A: Actor> Eq for ActorRef<A> {}

impl<A: Actor> ActorRef<A>
where
    A::Context: MessageContext,
{
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

    /// Sends a control message, which is exempt from the mailbox bound. Use it only for messages
    /// that are few by nature.
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

    /// Sends a request now and returns a future of its reply. If that future is dropped before the
    /// request is handled, the request is skipped.
    ///
    /// # Errors
    /// The future resolves to a [`SendError`] if there is no reply.
    pub fn ask<M>(&self, message: M) -> AskFuture<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (reply_tx, reply) = oneshot::channel();
        let has_begun = Arc::new(AtomicBool::new(false));
        let envelope = Envelope::new(message, Some(reply_tx), Some(Arc::clone(&has_begun)));
        AskFuture(self.0.push(Box::new(envelope), true).map(|()| PendingReply { reply, has_begun }))
    }

    /// This reference narrowed to one message type.
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
    /// Path in the tree, as in `/node/rooms/0/blue`; empty before the launch.
    pub fn path(&self) -> &str {
        self.0.stats.path()
    }

    /// Number of messages waiting in the mailbox.
    pub fn depth(&self) -> u64 {
        self.0.stats.depth.load(Ordering::Relaxed)
    }
}

/// Future of the reply to a request.
#[must_use = "a request whose reply is dropped may be skipped"]
pub struct AskFuture<R>(Result<PendingReply<R>, SendError>);

struct PendingReply<R> {
    reply: oneshot::Receiver<R>,
    has_begun: Arc<AtomicBool>,
}

impl<R> Future for AskFuture<R> {
    type Output = Result<R, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Err(error) => Poll::Ready(Err(*error)),
            Ok(pending) => Pin::new(&mut pending.reply).poll(cx).map(|reply| {
                let has_begun = pending.has_begun.load(Ordering::Acquire);
                reply.map_err(|_| if has_begun { SendError::Failed } else { SendError::Gone })
            }),
        }
    }
}

/// An [`ActorRef`] narrowed to one message type.
pub struct Recipient<M: Message>(Arc<dyn MessageSink<M>>);

impl<M: Message> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message> Recipient<M> {
    /// See [`ActorRef::tell`].
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Gone`].
    pub fn tell(&self, message: M) -> Result<(), SendError> {
        self.0.accept(message, true)
    }

    /// See [`ActorRef::tell_control`].
    ///
    /// # Errors
    /// [`SendError::Gone`].
    pub fn tell_control(&self, message: M) -> Result<(), SendError> {
        self.0.accept(message, false)
    }
}

trait MessageSink<M: Message>: Send + Sync {
    fn accept(&self, message: M, bounded: bool) -> Result<(), SendError>;
}

impl<A, M> MessageSink<M> for Mailbox<A>
where
    A: Actor + Handler<M>,
    A::Context: MessageContext,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn accept(&self, message: M, bounded: bool) -> Result<(), SendError> {
        self.push(Box::new(Envelope::new(message, None, None)), bounded)
    }
}
