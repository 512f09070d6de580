//! `GET /ws`: JSON frames on a bare WebSocket.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message, StreamHandler, WrapFuture,
};
use actix_web::web::Data;
use base::ids::RequestId;
use bytestring::ByteString;
use metrics::counter;
use serde_json::json;

use super::gate::{FrameAction, SocketGate};
use super::ws;
use crate::actors::sessions::{
    CloseReason, OutboundEvent, ReplyResult, SocketCommand, SocketHandle, SocketSendError,
};
use crate::http::AppState;
use crate::http::problem::ApiError;
use crate::protocol::client::ClientFrame;
use crate::protocol::server::ServerEvent;
use crate::telemetry::metrics::SOCKETS_CLOSED;

type Context = ws::WebsocketContext<WebSocketConnection>;

/// The actor under one socket.
pub(super) struct WebSocketConnection {
    gate: SocketGate,
    unanswered: u32,
    /// What has come of a message in several frames.
    parts: Option<Vec<u8>>,
    closed: bool,
}

impl WebSocketConnection {
    pub(super) fn new(services: &Data<AppState>) -> Self {
        let gate = SocketGate::new(services, "websocket");
        Self { gate, unanswered: 0, parts: None, closed: false }
    }

    fn step(&mut self, step: FrameAction, ctx: &mut Context) {
        match step {
            FrameAction::Wait => {}
            FrameAction::Reply(id, answer) => ctx.text(reply(id, &answer)),
            FrameAction::Shut(why) => self.shut(why, ctx),
            FrameAction::Check(id, token) => {
                let check = self.gate.check(token, line(ctx));
                ctx.spawn(check.into_actor(self).map(move |outcome, socket, ctx| {
                    socket.checked(id, outcome, ctx);
                }));
            }
        }
    }

    fn checked(&mut self, id: Option<u64>, outcome: super::gate::AuthOutcome, ctx: &mut Context) {
        match self.gate.checked(outcome) {
            Ok(event) => {
                if let (Some(id), ServerEvent::Authenticated(data)) = (id, &event) {
                    ctx.text(json!({ "reply": id, "data": data }).to_string());
                }
                ctx.text(OutboundEvent::new(&event).websocket_frame());
            }
            Err(error) => ctx.text(reply(id, &Err(error))),
        }
    }

    fn text(&mut self, text: &str, ctx: &mut Context) {
        let step = match serde_json::from_str::<ClientFrame<'_>>(text) {
            Ok(frame) => {
                let data = frame.data.map_or("{}", |raw| raw.get());
                self.gate.take(frame.id, &frame.event, data)
            }
            Err(_) => self.gate.on_invalid_frame(),
        };
        self.step(step, ctx);
    }

    /// Puts a message in several frames together, no larger than one frame may be.
    fn part(&mut self, item: ws_item::Item, ctx: &mut Context) {
        use ws_item::Item;
        let most = self.gate.services().config.sessions.max_frame_bytes;
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                self.parts = Some(Vec::new());
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
            Item::FirstBinary(_) => return self.binary(ctx),
        };
        let Some(parts) = &mut self.parts else { return };
        if parts.len() + bytes.len() > most {
            return self.shut(CloseReason::TooLarge, ctx);
        }
        parts.extend_from_slice(&bytes);
        if last && let Some(whole) = self.parts.take() {
            match String::from_utf8(whole) {
                Ok(text) => self.text(&text, ctx),
                Err(_) => self.shut(CloseReason::InvalidFrame, ctx),
            }
        }
    }

    fn binary(&mut self, ctx: &mut Context) {
        self.parts = None;
        let step = self.gate.on_invalid_frame();
        self.step(step, ctx);
    }

    fn shut(&mut self, why: CloseReason, ctx: &mut Context) {
        if !self.closed {
            self.closed = true;
            counter!(SOCKETS_CLOSED, "reason" => why.reason()).increment(1);
            ctx.close(Some((ws::CloseCode::from(why.code()), why.reason()).into()));
            ctx.stop(); // alone it would send no close frame
        }
    }

    fn frame(&mut self, frame: Result<ws::Message, ws::ProtocolError>, ctx: &mut Context) {
        self.unanswered = 0;
        match frame {
            Ok(ws::Message::Text(text)) => self.text(&text, ctx),
            Ok(ws::Message::Binary(_)) => self.binary(ctx),
            Ok(ws::Message::Continuation(item)) => match self.gate.noise() {
                Some(step) => self.step(step, ctx),
                None => self.part(item, ctx),
            },
            Ok(ws::Message::Ping(bytes)) => match self.gate.noise() {
                Some(step) => self.step(step, ctx),
                None => ctx.pong(&bytes),
            },
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                self.closed = true;
                ctx.close(reason);
                ctx.stop();
            }
            Err(ws::ProtocolError::Overflow) => self.shut(CloseReason::TooLarge, ctx),
            Err(_) => self.shut(CloseReason::InvalidFrame, ctx),
        }
    }
}

/// The frame types of continued messages, under the name the codec gives them.
mod ws_item {
    pub(super) use actix_http::ws::Item;
}

impl Actor for WebSocketConnection {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        let config = &self.gate.services().config.sessions;
        ctx.set_mailbox_capacity(config.send_queue_capacity);
        ctx.run_interval(config.authenticate(), |socket, ctx| {
            if socket.gate.is_nameless() {
                socket.shut(CloseReason::NotAuthenticated, ctx);
            }
        });
        ctx.run_interval(config.ping(), |socket, ctx| {
            if socket.unanswered >= 2 {
                return socket.shut(CloseReason::PingTimeout, ctx);
            }
            socket.unanswered += 1;
            ctx.ping(b"");
        });
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for WebSocketConnection {
    fn handle(&mut self, frame: Result<ws::Message, ws::ProtocolError>, ctx: &mut Context) {
        let work = catch_unwind(AssertUnwindSafe(|| self.frame(frame, ctx)));
        if work.is_err() {
            self.shut(CloseReason::SessionLost, ctx);
        }
    }

    fn finished(&mut self, ctx: &mut Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct WebSocketCommand(SocketCommand);

impl Handler<WebSocketCommand> for WebSocketConnection {
    type Result = ();

    fn handle(&mut self, WebSocketCommand(down): WebSocketCommand, ctx: &mut Context) {
        if self.closed {
            return;
        }
        match down {
            SocketCommand::Event(event) => ctx.text(event.websocket_frame()),
            SocketCommand::Reply { id, result: answer } => ctx.text(reply(id, &answer)),
            SocketCommand::FlushMarker => self.gate.flushed(),
            SocketCommand::Close(why) => self.shut(why, ctx),
        }
    }
}

/// The session's way down: one bounded sender, since a mailbox counts each of its senders apart.
fn line(ctx: &Context) -> SocketHandle {
    let address = ctx.address();
    let farewell = address.clone();
    let send = move |down| {
        address.try_send(WebSocketCommand(down)).map_err(|error| match error {
            actix::prelude::SendError::Full(_) => SocketSendError::QueueFull,
            actix::prelude::SendError::Closed(_) => SocketSendError::Closed,
        })
    };
    SocketHandle::new(send, move |why| {
        farewell.do_send(WebSocketCommand(SocketCommand::Close(why)))
    })
}

fn reply(id: Option<u64>, answer: &ReplyResult) -> ByteString {
    let id = id.map_or_else(|| "null".to_owned(), |id| id.to_string());
    match answer {
        Ok(data) => format!(r#"{{"reply":{id},"data":{data}}}"#).into(),
        Err(error) => {
            let id_of_it = RequestId::new().to_string();
            let problem = ApiError::of(Arc::clone(error)).problem(Some(&id_of_it));
            let problem = serde_json::to_string(&problem).unwrap_or_default();
            format!(r#"{{"reply":{id},"error":{problem}}}"#).into()
        }
    }
}
