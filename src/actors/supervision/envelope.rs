//! One entry of a mailbox: a message with its reply channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::Actor;
use actix::dev::{EnvelopeProxy, Handler, Message, MessageResponse, OneshotSender};
use tokio::time::Instant;

/// What an envelope tells the context of the actor that handles its message.
pub trait MessageContext {
    /// The handling of a message of type `message_type`, sent at `sent`, begins.
    fn begin_message(&mut self, message_type: &'static str, sent: Instant);

    /// The handling of the message has ended.
    fn end_message(&mut self);
}

/// One message with its reply channel.
pub(super) struct Envelope<M: Message> {
    message: Option<M>,
    reply: Option<OneshotSender<M::Result>>,
    /// Set when handling begins, so that a caller without a reply knows whether the message may
    /// have had an effect.
    has_begun: Option<Arc<AtomicBool>>,
    sent: Instant,
}

impl<M: Message> Envelope<M> {
    pub(super) fn new(
        message: M,
        reply: Option<OneshotSender<M::Result>>,
        has_begun: Option<Arc<AtomicBool>>,
    ) -> Self {
        Self { message: Some(message), reply, has_begun, sent: Instant::now() }
    }
}

impl<A, M> EnvelopeProxy<A> for Envelope<M>
where
    A: Actor + Handler<M>,
    A::Context: MessageContext,
    M: Message,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut A::Context) {
        let Some(message) = self.message.take() else { return };
        ctx.begin_message(std::any::type_name::<M>(), self.sent);
        if !self.reply.as_ref().is_some_and(OneshotSender::is_closed) {
            if let Some(has_begun) = &self.has_begun {
                has_begun.store(true, Ordering::Release);
            }
            let reply = self.reply.take();
            actor.handle(message, ctx).handle(ctx, reply);
        }
        ctx.end_message();
    }
}
