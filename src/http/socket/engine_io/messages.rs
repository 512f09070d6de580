//! Messages of an Engine.IO session: from polls, from its sockets, from the user's session.

use actix::{ActorContext, Handler, Message};
use bytestring::ByteString;
use tokio::sync::oneshot;

use super::super::packet::SEPARATOR;
use super::{
    EngineIoOutbound, EngineIoSession, EngineIoSocketHandle, EngineIoTransport, PollError,
    PollReply,
};
use crate::actors::delivery::CloseReason;
use crate::actors::sessions::{SocketCommand, SocketHandle, SocketSendError};
use crate::actors::supervision::{SendError, SupervisedContext};

/// A poll request; answered when there are packets.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct PollRequest(
    pub(in crate::http::socket) oneshot::Sender<PollReply>,
);

impl Handler<PollRequest> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, PollRequest(reply): PollRequest, ctx: &mut Self::Context) {
        match &mut self.transport {
            EngineIoTransport::Polling(poll)
                if poll.as_ref().is_none_or(oneshot::Sender::is_closed) =>
            {
                *poll = Some(reply);
                if self.ended {
                    return self.stop_when_flushed(ctx);
                }
                self.flush(ctx);
                self.release_poll_soon(ctx);
            }
            EngineIoTransport::Polling(_) => {
                let _ = reply.send(Err(PollError::BadRequest)); // the client may be gone
                self.close_with(CloseReason::InvalidFrame, ctx);
            }
            EngineIoTransport::WebSocket(..) => {
                let _ = reply.send(Err(PollError::BadRequest));
            }
        }
    }
}

/// Packets posted by a polling client.
#[derive(Message)]
#[rtype(result = "bool")]
pub(in crate::http::socket) struct PacketsPosted(pub(in crate::http::socket) String);

impl Handler<PacketsPosted> for EngineIoSession {
    type Result = bool;

    fn handle(&mut self, PacketsPosted(body): PacketsPosted, ctx: &mut Self::Context) -> bool {
        if !matches!(self.transport, EngineIoTransport::Polling(_)) {
            return false;
        }
        for packet in body.split(SEPARATOR) {
            if self.ended {
                break;
            }
            self.on_packet(packet, ctx);
        }
        true
    }
}

/// A WebSocket of this client was opened.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct SocketOpened {
    pub(in crate::http::socket) number: u64,
    pub(in crate::http::socket) socket: EngineIoSocketHandle,
}

impl Handler<SocketOpened> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, opened: SocketOpened, ctx: &mut Self::Context) {
        let SocketOpened { number, socket } = opened;
        if self.ended {
            socket.close(CloseReason::SessionLost);
        } else if number == INITIAL_SOCKET {
            self.transport = EngineIoTransport::WebSocket(number, socket);
            let open = Self::handshake(self.gate.app(), &self.sid, &[]);
            self.send_packet(open, ctx);
        } else if self.upgrade_probe.is_some()
            || matches!(self.transport, EngineIoTransport::WebSocket(..))
        {
            socket.close(CloseReason::InvalidFrame);
        } else {
            self.start_upgrade(number, socket, ctx);
        }
    }
}

/// Number of a socket opened without polling before; numbers of upgrades are higher.
pub(in crate::http::socket) const INITIAL_SOCKET: u64 = 0;

/// A packet received on a WebSocket.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct SocketPacketReceived {
    pub(in crate::http::socket) number: u64,
    pub(in crate::http::socket) text: ByteString,
}

impl Handler<SocketPacketReceived> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, received: SocketPacketReceived, ctx: &mut Self::Context) {
        let current = matches!(&self.transport, EngineIoTransport::WebSocket(number, _) if *number == received.number);
        if current {
            self.on_packet(&received.text, ctx);
        } else if self.upgrade_probe.as_ref().is_some_and(|probe| probe.number == received.number) {
            self.on_probe_packet(received.number, &received.text, ctx);
        }
    }
}

/// A WebSocket was closed.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct SocketClosed(pub(in crate::http::socket) u64);

impl Handler<SocketClosed> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, SocketClosed(number): SocketClosed, ctx: &mut Self::Context) {
        self.upgrade_probe.take_if(|probe| probe.number == number);
        if matches!(&self.transport, EngineIoTransport::WebSocket(current, _) if *current == number)
        {
            self.ended = true;
            ctx.stop();
        }
    }
}

/// A WebSocket has written everything before the fence.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct EngineSocketFlushed(pub(in crate::http::socket) u64);

impl Handler<EngineSocketFlushed> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, EngineSocketFlushed(number): EngineSocketFlushed, _: &mut Self::Context) {
        if matches!(&self.transport, EngineIoTransport::WebSocket(current, _) if *current == number)
        {
            self.gate.flushed();
        }
    }
}

/// The node is draining.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct NodeDraining;

impl Handler<NodeDraining> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, _: NodeDraining, ctx: &mut Self::Context) {
        self.close_with(CloseReason::NodeDraining, ctx);
    }
}

/// A command from the user's session.
#[derive(Message)]
#[rtype(result = "()")]
struct FromSession(SocketCommand);

impl Handler<FromSession> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, FromSession(command): FromSession, ctx: &mut Self::Context) {
        match command {
            SocketCommand::Event(event) => self.send_packet(event.socket_io_frame(), ctx),
            SocketCommand::Reply { id, result: answer } => self.reply(id, &answer, ctx),
            SocketCommand::FlushMarker => self.enqueue(EngineIoOutbound::Fence, ctx),
            SocketCommand::Close(reason) => self.close_with(reason, ctx),
        }
    }
}

/// Handle with which the session sends to this transport.
pub(super) fn socket_handle(ctx: &SupervisedContext<EngineIoSession>) -> SocketHandle {
    let (sender, closer) = (ctx.self_ref(), ctx.self_ref());
    let send = move |command| {
        sender.tell(FromSession(command)).map_err(|undelivered| match undelivered {
            SendError::Full => SocketSendError::QueueFull,
            _ => SocketSendError::Closed,
        })
    };
    SocketHandle::new(send, move |reason| {
        // The actor may have ended.
        let _ = closer.tell_control(FromSession(SocketCommand::Close(reason)));
    })
}
