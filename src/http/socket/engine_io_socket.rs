//! A WebSocket that carries Engine.IO packets between a client and its Engine.IO session.

use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Handler, StreamHandler};

use super::engine_io::{
    EngineIoSession, EngineIoSocketCommand, EngineIoSocketHandle, EngineSocketFlushed,
    SocketClosed, SocketOpened, SocketPacketReceived,
};
use super::ws;
use crate::actors::delivery::CloseReason;
use crate::actors::supervision::{ActorRef, SendError};

type Context = ws::WebsocketContext<EngineIoSocket>;

/// A socket that gets nothing from its session within this time is closed.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);

/// The actor of one WebSocket.
pub(super) struct EngineIoSocket {
    session: ActorRef<EngineIoSession>,
    number: u64,
    capacity: usize,
    /// Whether the session has sent something.
    attached: bool,
    closed: bool,
}

impl EngineIoSocket {
    /// `number` distinguishes the sockets of one session; `capacity` is the size of the send queue.
    pub(super) const fn new(
        session: ActorRef<EngineIoSession>,
        number: u64,
        capacity: usize,
    ) -> Self {
        Self { session, number, capacity, attached: false, closed: false }
    }

    fn close_with(&mut self, reason: CloseReason, ctx: &mut Context) {
        self.close((ws::CloseCode::from(reason.code()), reason.reason()).into(), ctx);
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
        let socket = EngineIoSocketHandle::new(ctx.address().recipient());
        let opened = SocketOpened { number: self.number, socket };
        if self.session.tell_control(opened).is_err() {
            self.close_with(CloseReason::SessionLost, ctx);
        }
        // The session sends pings and applies timeouts. Without a session nothing else would close
        // this socket.
        ctx.run_later(ATTACH_TIMEOUT, |socket, ctx| {
            if !socket.attached {
                socket.close_with(CloseReason::SessionLost, ctx);
            }
        });
    }
}

/// Reports the end of the socket to the session in every case.
impl Drop for EngineIoSocket {
    fn drop(&mut self) {
        let _ = self.session.tell_control(SocketClosed(self.number)); // the session may have ended
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for EngineIoSocket {
    fn handle(&mut self, frame: Result<ws::Message, ws::ProtocolError>, ctx: &mut Context) {
        match frame {
            Ok(ws::Message::Text(text)) => {
                let number = self.number;
                match self.session.tell(SocketPacketReceived { number, text }) {
                    Ok(()) => {}
                    Err(SendError::Full) => self.close_with(CloseReason::Abuse, ctx),
                    // A session that has ended has sent its reason, which is in the mailbox or
                    // about to be.
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
                self.close_with(CloseReason::InvalidFrame, ctx);
            }
            Err(ws::ProtocolError::Overflow) => self.close_with(CloseReason::TooLarge, ctx),
            Err(_) => self.close_with(CloseReason::InvalidFrame, ctx),
        }
    }

    fn finished(&mut self, ctx: &mut Context) {
        ctx.stop();
    }
}

impl Handler<EngineIoSocketCommand> for EngineIoSocket {
    type Result = ();

    fn handle(&mut self, command: EngineIoSocketCommand, ctx: &mut Context) {
        self.attached = true;
        match command {
            EngineIoSocketCommand::Text(text) if !self.closed => ctx.text(text),
            EngineIoSocketCommand::Text(_) => {}
            EngineIoSocketCommand::Fence => {
                // The session may have ended.
                let _ = self.session.tell_control(EngineSocketFlushed(self.number));
            }
            EngineIoSocketCommand::Close(reason) => self.close_with(reason, ctx),
            EngineIoSocketCommand::Bye => self.close(ws::CloseCode::Normal.into(), ctx),
        }
    }
}
