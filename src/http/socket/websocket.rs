//! `GET /ws`: JSON frames on a WebSocket.

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
use crate::actors::delivery::{CloseReason, OutboundEvent};
use crate::actors::sessions::{ReplyResult, SocketCommand, SocketHandle, SocketSendError};
use crate::http::AppState;
use crate::http::problem::ApiError;
use crate::protocol::client::ClientFrame;
use crate::protocol::server::ServerEvent;
use crate::telemetry::metrics::SOCKETS_CLOSED;

type Context = ws::WebsocketContext<WebSocketConnection>;

/// The actor of one WebSocket.
pub(super) struct WebSocketConnection {
    gate: SocketGate,
    unanswered_pings: u32,
    /// Received part of a fragmented message.
    fragments: Option<Vec<u8>>,
    closed: bool,
}

impl WebSocketConnection {
    pub(super) fn new(app: &Data<AppState>) -> Self {
        let gate = SocketGate::new(app, "websocket");
        Self { gate, unanswered_pings: 0, fragments: None, closed: false }
    }

    fn perform(&mut self, action: FrameAction, ctx: &mut Context) {
        match action {
            FrameAction::Wait => {}
            FrameAction::Reply(id, result) => ctx.text(reply(id, &result)),
            FrameAction::Close(reason) => self.close_with(reason, ctx),
            FrameAction::Authenticate(id, token) => {
                let authentication = self.gate.authenticate(token, socket_handle(ctx));
                ctx.spawn(authentication.into_actor(self).map(move |outcome, socket, ctx| {
                    socket.on_authenticated(id, outcome, ctx);
                }));
            }
        }
    }

    fn on_authenticated(
        &mut self,
        id: Option<u64>,
        outcome: super::gate::AuthOutcome,
        ctx: &mut Context,
    ) {
        match self.gate.on_authenticated(outcome) {
            Ok(event) => {
                if let (Some(id), ServerEvent::Authenticated(data)) = (id, &event) {
                    ctx.text(json!({ "reply": id, "data": data }).to_string());
                }
                ctx.text(OutboundEvent::new(&event).websocket_frame());
            }
            Err(error) => ctx.text(reply(id, &Err(error))),
        }
    }

    fn on_text(&mut self, text: &str, ctx: &mut Context) {
        let action = match serde_json::from_str::<ClientFrame<'_>>(text) {
            Ok(frame) => {
                let data = frame.data.map_or("{}", |raw| raw.get());
                self.gate.on_event(frame.id, &frame.event, data)
            }
            Err(_) => self.gate.on_invalid_frame(),
        };
        self.perform(action, ctx);
    }

    /// Reassembles a fragmented message, at most as large as one frame may be.
    fn on_fragment(&mut self, item: ws_item::Item, ctx: &mut Context) {
        use ws_item::Item;
        let max_bytes = self.gate.app().config.sessions.max_frame_bytes;
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                self.fragments = Some(Vec::new());
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
            Item::FirstBinary(_) => return self.on_binary(ctx),
        };
        let Some(fragments) = &mut self.fragments else { return };
        if fragments.len() + bytes.len() > max_bytes {
            return self.close_with(CloseReason::TooLarge, ctx);
        }
        fragments.extend_from_slice(&bytes);
        if last && let Some(message) = self.fragments.take() {
            match String::from_utf8(message) {
                Ok(text) => self.on_text(&text, ctx),
                Err(_) => self.close_with(CloseReason::InvalidFrame, ctx),
            }
        }
    }

    fn on_binary(&mut self, ctx: &mut Context) {
        self.fragments = None;
        let action = self.gate.on_invalid_frame();
        self.perform(action, ctx);
    }

    fn close_with(&mut self, reason: CloseReason, ctx: &mut Context) {
        if !self.closed {
            self.closed = true;
            counter!(SOCKETS_CLOSED, "reason" => reason.reason()).increment(1);
            ctx.close(Some((ws::CloseCode::from(reason.code()), reason.reason()).into()));
            ctx.stop(); // stopping the actor sends the close frame
        }
    }

    fn on_frame(&mut self, frame: Result<ws::Message, ws::ProtocolError>, ctx: &mut Context) {
        self.unanswered_pings = 0;
        match frame {
            Ok(ws::Message::Text(text)) => self.on_text(&text, ctx),
            Ok(ws::Message::Binary(_)) => self.on_binary(ctx),
            Ok(ws::Message::Continuation(item)) => match self.gate.count_non_event() {
                Some(action) => self.perform(action, ctx),
                None => self.on_fragment(item, ctx),
            },
            Ok(ws::Message::Ping(bytes)) => match self.gate.count_non_event() {
                Some(action) => self.perform(action, ctx),
                None => ctx.pong(&bytes),
            },
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                self.closed = true;
                ctx.close(reason);
                ctx.stop();
            }
            Err(ws::ProtocolError::Overflow) => self.close_with(CloseReason::TooLarge, ctx),
            Err(_) => self.close_with(CloseReason::InvalidFrame, ctx),
        }
    }
}

/// Item type of fragmented messages, under the codec's own name.
mod ws_item {
    pub(super) use actix_http::ws::Item;
}

impl Actor for WebSocketConnection {
    type Context = Context;

    fn started(&mut self, ctx: &mut Context) {
        let config = &self.gate.app().config.sessions;
        ctx.set_mailbox_capacity(config.send_queue_capacity);
        ctx.run_interval(config.authenticate_timeout(), |socket, ctx| {
            if socket.gate.is_unauthenticated() {
                socket.close_with(CloseReason::NotAuthenticated, ctx);
            }
        });
        ctx.run_interval(config.ping_interval(), |socket, ctx| {
            if socket.unanswered_pings >= 2 {
                return socket.close_with(CloseReason::PingTimeout, ctx);
            }
            socket.unanswered_pings += 1;
            ctx.ping(b"");
        });
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for WebSocketConnection {
    fn handle(&mut self, frame: Result<ws::Message, ws::ProtocolError>, ctx: &mut Context) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.on_frame(frame, ctx)));
        if outcome.is_err() {
            self.close_with(CloseReason::SessionLost, ctx);
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

    fn handle(&mut self, WebSocketCommand(command): WebSocketCommand, ctx: &mut Context) {
        if self.closed {
            return;
        }
        match command {
            SocketCommand::Event(event) => ctx.text(event.websocket_frame()),
            SocketCommand::Reply { id, result: answer } => ctx.text(reply(id, &answer)),
            SocketCommand::FlushMarker => self.gate.flushed(),
            SocketCommand::Close(reason) => self.close_with(reason, ctx),
        }
    }
}

/// Handle with which the session sends to this socket: one bounded sender, since a mailbox counts
/// each of its senders separately.
fn socket_handle(ctx: &Context) -> SocketHandle {
    let address = ctx.address();
    let closer = address.clone();
    let send = move |command| {
        address.try_send(WebSocketCommand(command)).map_err(|error| match error {
            actix::prelude::SendError::Full(_) => SocketSendError::QueueFull,
            actix::prelude::SendError::Closed(_) => SocketSendError::Closed,
        })
    };
    SocketHandle::new(send, move |reason| {
        closer.do_send(WebSocketCommand(SocketCommand::Close(reason)))
    })
}

fn reply(id: Option<u64>, result: &ReplyResult) -> ByteString {
    let id = id.map_or_else(|| "null".to_owned(), |id| id.to_string());
    match result {
        Ok(data) => format!(r#"{{"reply":{id},"data":{data}}}"#).into(),
        Err(error) => {
            let problem_id = RequestId::new().to_string();
            let problem = ApiError::of(Arc::clone(error)).problem(Some(&problem_id));
            let problem = serde_json::to_string(&problem).unwrap_or_default();
            format!(r#"{{"reply":{id},"error":{problem}}}"#).into()
        }
    }
}
