//! A WebSocket that carries Engine.IO packets between a client and its engine, and thinks nothing.

use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Handler, Message, StreamHandler};
use bytestring::ByteString;

use super::engine_io::{
    EngineIoSession, EngineSocketFlushed, SocketClosed, SocketOpened, SocketPacketReceived,
};
use super::ws;
use crate::actors::sessions::{CloseReason, SocketSendError};
use crate::actors::supervision::{ActorRef, SendError};

type Context = ws::WebsocketContext<EngineIoSocket>;

/// An engine says something to a pipe that it has taken within this time.
const PIPE_WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The actor under one socket.
pub(super) struct EngineIoSocket {
    engine: ActorRef<EngineIoSession>,
    number: u64,
    capacity: usize,
    /// The engine has said something.
    taken: bool,
    closed: bool,
}

impl EngineIoSocket {
    /// `number` tells the pipes of one engine apart; `capacity` is how many packets may wait.
    pub(super) const fn new(
        engine: ActorRef<EngineIoSession>,
        number: u64,
        capacity: usize,
    ) -> Self {
        Self { engine, number, capacity, taken: false, closed: false }
    }

    fn shut(&mut self, why: CloseReason, ctx: &mut Context) {
        self.close((ws::CloseCode::from(why.code()), why.reason()).into(), ctx);
    }

    fn close(&mut self, reason: ws::CloseReason, ctx: &mut Context) {
        if !self.closed {
            self.closed = true;
            ctx.close(Some(reason));
            ctx.stop();
        }
    }
}

impl Actor for EngineIoSocket {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        ctx.set_mailbox_capacity(self.capacity);
        let down = EngineIoSocketHandle { address: ctx.address() };
        let opened = SocketOpened { number: self.number, down };
        if self.engine.tell_control(opened).is_err() {
            self.shut(CloseReason::SessionLost, ctx);
        }
        // Pings and time-outs are the engine's: without one nothing else would end this socket.
        ctx.run_later(PIPE_WRITE_TIMEOUT, |pipe, ctx| {
            if !pipe.taken {
                pipe.shut(CloseReason::SessionLost, ctx);
            }
        });
    }
}

/// However the socket ends, its engine learns of it.
impl Drop for EngineIoSocket {
    fn drop(&mut self) {
        let _ = self.engine.tell_control(SocketClosed(self.number)); // gone already is as good
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for EngineIoSocket {
    fn handle(&mut self, frame: Result<ws::Message, ws::ProtocolError>, ctx: &mut Context) {
        match frame {
            Ok(ws::Message::Text(text)) => {
                let number = self.number;
                match self.engine.tell(SocketPacketReceived { number, text }) {
                    Ok(()) => {}
                    Err(SendError::Full) => self.shut(CloseReason::Abuse, ctx),
                    // An engine that has ended has said why: that is in our mailbox, or about to be.
                    Err(_) => {}
                }
            }
            Ok(ws::Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                self.closed = true;
                ctx.close(reason);
                ctx.stop();
            }
            Ok(ws::Message::Binary(_) | ws::Message::Continuation(_)) => {
                self.shut(CloseReason::InvalidFrame, ctx);
            }
            Err(ws::ProtocolError::Overflow) => self.shut(CloseReason::TooLarge, ctx),
            Err(_) => self.shut(CloseReason::InvalidFrame, ctx),
        }
    }

    fn finished(&mut self, ctx: &mut Context) {
        ctx.stop();
    }
}

/// What an engine tells its pipe.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum EngineIoSocketCommand {
    /// A packet.
    Text(ByteString),
    /// To be answered once all before it is on its way.
    Fence,
    /// The end.
    Close(CloseReason),
    /// The end that the client asked for.
    Bye,
}

impl Handler<EngineIoSocketCommand> for EngineIoSocket {
    type Result = ();

    fn handle(&mut self, push: EngineIoSocketCommand, ctx: &mut Context) {
        self.taken = true;
        match push {
            EngineIoSocketCommand::Text(text) if !self.closed => ctx.text(text),
            EngineIoSocketCommand::Text(_) => {}
            EngineIoSocketCommand::Fence => {
                let _ = self.engine.tell_control(EngineSocketFlushed(self.number)); // gone: nobody waits
            }
            EngineIoSocketCommand::Close(why) => self.shut(why, ctx),
            EngineIoSocketCommand::Bye => self.close(ws::CloseCode::Normal.into(), ctx),
        }
    }
}

/// An engine's way down to its pipe: one bounded sender. The socket does not outlive it.
pub(super) struct EngineIoSocketHandle {
    address: actix::Addr<EngineIoSocket>,
}

impl EngineIoSocketHandle {
    /// Sends down without waiting.
    pub(super) fn send(&self, push: EngineIoSocketCommand) -> Result<(), SocketSendError> {
        self.address.try_send(push).map_err(|error| match error {
            actix::prelude::SendError::Full(_) => SocketSendError::QueueFull,
            actix::prelude::SendError::Closed(_) => SocketSendError::Closed,
        })
    }

    /// Ends the socket, even if nothing else gets through.
    pub(super) fn close(&self, why: CloseReason) {
        self.address.do_send(EngineIoSocketCommand::Close(why));
    }
    /// Ends the socket as the client wants it.
    pub(super) fn bye(&self) {
        self.address.do_send(EngineIoSocketCommand::Bye);
    }
}

/// Whoever holds this may be gone without a word, or may never have got it.
impl Drop for EngineIoSocketHandle {
    fn drop(&mut self) {
        self.close(CloseReason::SessionLost);
    }
}
