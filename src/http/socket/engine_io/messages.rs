//! What an engine may be told: by polls, by pipes, by its session.

use actix::{ActorContext, Handler, Message};
use bytestring::ByteString;
use tokio::sync::oneshot;

use super::super::engine_io_socket::EngineIoSocketHandle;
use super::super::packet::SEPARATOR;
use super::{EngineIoOutbound, EngineIoSession, EngineIoTransport, PollError, PollReply};
use crate::actors::sessions::{CloseReason, SocketCommand, SocketHandle, SocketSendError};
use crate::actors::supervision::{SendError, SupervisedContext};

/// A poll: answered when there is something to say.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct PollRequest(
    pub(in crate::http::socket) oneshot::Sender<PollReply>,
);

impl Handler<PollRequest> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, PollRequest(reply): PollRequest, ctx: &mut Self::Context) {
        match &mut self.way {
            EngineIoTransport::Polling(poll)
                if poll.as_ref().is_none_or(oneshot::Sender::is_closed) =>
            {
                *poll = Some(reply);
                if self.ended {
                    return self.finish(ctx);
                }
                self.flush(ctx);
                self.release_soon(ctx);
            }
            EngineIoTransport::Polling(_) => {
                let _ = reply.send(Err(PollError::Bad)); // gone: nobody to tell
                self.end(CloseReason::InvalidFrame, ctx);
            }
            EngineIoTransport::Pipe(..) => {
                let _ = reply.send(Err(PollError::Bad));
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
        if !matches!(self.way, EngineIoTransport::Polling(_)) {
            return false;
        }
        for packet in body.split(SEPARATOR) {
            if self.ended {
                break;
            }
            self.packet(packet, ctx);
        }
        true
    }
}

/// A WebSocket of this client is open.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct SocketOpened {
    pub(in crate::http::socket) number: u64,
    pub(in crate::http::socket) down: EngineIoSocketHandle,
}

impl Handler<SocketOpened> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, opened: SocketOpened, ctx: &mut Self::Context) {
        let SocketOpened { number, down } = opened;
        if self.ended {
            down.close(CloseReason::SessionLost);
        } else if number == FIRST_PIPE {
            self.way = EngineIoTransport::Pipe(number, down);
            let open = Self::handshake(self.gate.services(), &self.sid, &[]);
            self.say(open, ctx);
        } else if self.candidate.is_some() || matches!(self.way, EngineIoTransport::Pipe(..)) {
            down.close(CloseReason::InvalidFrame);
        } else {
            self.try_out(number, down, ctx);
        }
    }
}

/// The number of a pipe that is there from the start; those of upgrades are higher.
pub(in crate::http::socket) const FIRST_PIPE: u64 = 0;

/// A packet from a WebSocket.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct SocketPacketReceived {
    pub(in crate::http::socket) number: u64,
    pub(in crate::http::socket) text: ByteString,
}

impl Handler<SocketPacketReceived> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, from: SocketPacketReceived, ctx: &mut Self::Context) {
        let current =
            matches!(&self.way, EngineIoTransport::Pipe(number, _) if *number == from.number);
        if current {
            self.packet(&from.text, ctx);
        } else if self.candidate.as_ref().is_some_and(|c| c.number == from.number) {
            self.candidate_says(from.number, &from.text, ctx);
        }
    }
}

/// A WebSocket is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct SocketClosed(pub(in crate::http::socket) u64);

impl Handler<SocketClosed> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, SocketClosed(number): SocketClosed, ctx: &mut Self::Context) {
        self.candidate.take_if(|candidate| candidate.number == number);
        if matches!(&self.way, EngineIoTransport::Pipe(current, _) if *current == number) {
            self.ended = true;
            ctx.stop();
        }
    }
}

/// A WebSocket has passed on everything before the fence.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct EngineSocketFlushed(pub(in crate::http::socket) u64);

impl Handler<EngineSocketFlushed> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, EngineSocketFlushed(number): EngineSocketFlushed, _: &mut Self::Context) {
        if matches!(&self.way, EngineIoTransport::Pipe(current, _) if *current == number) {
            self.gate.flushed();
        }
    }
}

/// The node goes away.
#[derive(Message)]
#[rtype(result = "()")]
pub(in crate::http::socket) struct NodeDraining;

impl Handler<NodeDraining> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, _: NodeDraining, ctx: &mut Self::Context) {
        self.end(CloseReason::NodeDraining, ctx);
    }
}

/// From the session.
#[derive(Message)]
#[rtype(result = "()")]
struct FromSession(SocketCommand);

impl Handler<FromSession> for EngineIoSession {
    type Result = ();

    fn handle(&mut self, FromSession(down): FromSession, ctx: &mut Self::Context) {
        match down {
            SocketCommand::Event(event) => self.say(event.socket_io_frame(), ctx),
            SocketCommand::Reply { id, result: answer } => self.reply(id, &answer, ctx),
            SocketCommand::FlushMarker => self.out(EngineIoOutbound::Fence, ctx),
            SocketCommand::Close(why) => self.end(why, ctx),
        }
    }
}

/// The session's way down.
pub(super) fn line(ctx: &SupervisedContext<EngineIoSession>) -> SocketHandle {
    let (engine, farewell) = (ctx.self_ref(), ctx.self_ref());
    let send = move |down| {
        engine.tell(FromSession(down)).map_err(|undelivered| match undelivered {
            SendError::Full => SocketSendError::QueueFull,
            _ => SocketSendError::Closed,
        })
    };
    SocketHandle::new(send, move |why| {
        let _ = farewell.tell_control(FromSession(SocketCommand::Close(why))); // gone already is as good
    })
}
