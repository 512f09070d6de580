//! An Engine.IO 4 session of one client, on long polling and then a WebSocket, or on a WebSocket
//! from the start. Its state is lost when it ends; the client connects again.

mod messages;
mod socket_handle;
mod upgrade;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, WrapFuture};
use actix_web::web::Data;
use bytestring::ByteString;
pub(super) use messages::{
    EngineSocketFlushed, INITIAL_SOCKET, NodeDraining, PacketsPosted, PollRequest, SocketClosed,
    SocketOpened, SocketPacketReceived,
};
use metrics::counter;
use serde_json::json;
pub(super) use socket_handle::{EngineIoSocketCommand, EngineIoSocketHandle};
use tokio::sync::oneshot;

use self::upgrade::UpgradeProbe;
use super::gate::{AuthOutcome, FrameAction, SocketGate};
use super::packet::{EngineIoPacket, SEPARATOR, SocketIoPacket};
use crate::actors::delivery::{CloseReason, OutboundEvent};
use crate::actors::sessions::{ReplyResult, SocketSendError};
use crate::actors::supervision::SupervisedContext;
use crate::http::AppState;
use crate::http::problem::ApiError;
use crate::limits::{MAX_MISSED_PINGS, MAX_POLL_BYTES};
use crate::protocol::server::ServerEvent;
use crate::telemetry::metrics::SOCKETS_CLOSED;

/// Disconnects the main namespace; clients do not reconnect after it by themselves.
const DISCONNECT: &str = "41";
/// Closes the transport (Engine.IO).
const CLOSE: &str = "1";
/// How long final packets wait for a poll.
const CLOSE_LINGER: Duration = Duration::from_secs(10);

/// The actor of an Engine.IO session.
pub struct EngineIoSession {
    gate: SocketGate,
    /// Session id. It is a credential and must not be logged.
    sid: String,
    transport: EngineIoTransport,
    upgrade_probe: Option<UpgradeProbe>,
    queue: VecDeque<EngineIoOutbound>,
    /// Whether the client has opened the main namespace.
    connected: bool,
    /// Pings without an answer.
    unanswered_pings: u32,
    ended: bool,
}

/// Transport to the client.
enum EngineIoTransport {
    /// Long polling, with the poll request that is waiting for packets.
    Polling(Option<oneshot::Sender<PollReply>>),
    /// A WebSocket, with its number.
    WebSocket(u64, EngineIoSocketHandle),
}

enum EngineIoOutbound {
    Text(ByteString),
    Fence,
}

/// Response to a poll request.
pub(super) type PollReply = Result<String, PollError>;

/// Why a poll request has no packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollError {
    /// The session does not exist or has ended.
    Unknown,
    /// Two polls at once, or a poll after the upgrade.
    BadRequest,
}

crate::actors::supervision::supervised!(EngineIoSession);

impl EngineIoSession {
    pub(super) fn new(app: &Data<AppState>, sid: String) -> Self {
        Self {
            gate: SocketGate::new(app, "socket.io"),
            sid,
            transport: EngineIoTransport::Polling(None),
            upgrade_probe: None,
            queue: VecDeque::new(),
            connected: false,
            unanswered_pings: 0,
            ended: false,
        }
    }

    /// Handshake packet; `upgrades` lists transports the client may switch to.
    pub(super) fn handshake(app: &AppState, sid: &str, upgrades: &[&str]) -> String {
        let config = &app.config.sessions;
        let open = json!({
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": config.ping_interval_seconds * 1000,
            "pingTimeout": config.ping_interval_seconds * 1000,
            "maxPayload": config.max_frame_bytes,
        });
        format!("0{open}")
    }

    /// Queues a packet for the client.
    fn send_packet(&mut self, text: impl Into<ByteString>, ctx: &mut SupervisedContext<Self>) {
        self.enqueue(EngineIoOutbound::Text(text.into()), ctx);
    }

    fn enqueue(&mut self, packet: EngineIoOutbound, ctx: &mut SupervisedContext<Self>) {
        if self.ended {
            return;
        }
        match &self.transport {
            EngineIoTransport::WebSocket(_, socket) => {
                let command = match packet {
                    EngineIoOutbound::Text(text) => EngineIoSocketCommand::Text(text),
                    EngineIoOutbound::Fence => EngineIoSocketCommand::Fence,
                };
                match socket.send(command) {
                    Ok(()) => {}
                    Err(SocketSendError::QueueFull) => {
                        self.close_with(CloseReason::SlowConsumer, ctx)
                    }
                    Err(SocketSendError::Closed) => self.close_with(CloseReason::SessionLost, ctx),
                }
            }
            EngineIoTransport::Polling(_) => {
                if self.queue.len() >= self.gate.app().config.sessions.send_queue_capacity {
                    return self.close_with(CloseReason::SlowConsumer, ctx);
                }
                self.queue.push_back(packet);
                self.flush(ctx);
            }
        }
    }

    /// Answers the waiting poll if there are packets. If the client gave its poll up, packets may
    /// be lost, so it has to connect again.
    fn flush(&mut self, ctx: &mut SupervisedContext<Self>) {
        let EngineIoTransport::Polling(poll) = &mut self.transport else { return };
        if self.queue.is_empty() {
            return;
        }
        let Some(reply) = poll.take() else { return };
        if reply.is_closed() {
            return self.close_with(CloseReason::SessionLost, ctx);
        }
        let mut body = String::new();
        let mut fenced = false;
        while let Some(packet) = self.queue.pop_front() {
            match packet {
                EngineIoOutbound::Fence => fenced = true,
                // Clients process a close at once but earlier packets of the same body a tick
                // later, which is too late. So a close is sent in a body of its own.
                EngineIoOutbound::Text(text) if &*text == CLOSE && !body.is_empty() => {
                    self.queue.push_front(EngineIoOutbound::Text(text));
                    break;
                }
                EngineIoOutbound::Text(text) => {
                    if !body.is_empty() {
                        body.push(SEPARATOR);
                    }
                    body.push_str(&text);
                    if body.len() >= MAX_POLL_BYTES {
                        break;
                    }
                }
            }
        }
        if body.is_empty() {
            // Only a fence: nothing to send, so the poll keeps waiting.
            *poll = Some(reply);
        } else if reply.send(Ok(body)).is_err() {
            return self.close_with(CloseReason::SessionLost, ctx);
        }
        if fenced {
            self.gate.flushed();
        }
    }

    fn on_packet(&mut self, text: &str, ctx: &mut SupervisedContext<Self>) {
        match EngineIoPacket::parse(text) {
            Some(EngineIoPacket::Message(text)) => self.on_message(text, ctx),
            Some(EngineIoPacket::Pong) if self.unanswered_pings > 0 => self.unanswered_pings = 0,
            Some(EngineIoPacket::Close) => self.on_client_close(ctx),
            Some(
                EngineIoPacket::Ping(_)
                | EngineIoPacket::Pong
                | EngineIoPacket::Noop
                | EngineIoPacket::Upgrade,
            ) => {
                self.admit_packet(ctx);
            }
            None => self.close_with(CloseReason::InvalidFrame, ctx),
        }
    }

    fn on_message(&mut self, text: &str, ctx: &mut SupervisedContext<Self>) {
        match SocketIoPacket::parse(text) {
            Some(SocketIoPacket::Event { ack, name, data }) if self.connected => {
                let action = self.gate.on_event(ack, &name, data);
                self.perform(action, ctx);
            }
            // The only namespace is closed: the transport has no further use.
            Some(SocketIoPacket::Disconnect("/")) => self.on_client_close(ctx),
            Some(SocketIoPacket::Connect(namespace)) => {
                if self.admit_packet(ctx) {
                    self.on_connect(namespace, ctx);
                }
            }
            Some(SocketIoPacket::Disconnect(_)) => {
                self.admit_packet(ctx);
            }
            Some(SocketIoPacket::Ack) if self.connected => {
                self.admit_packet(ctx);
            }
            _ => self.close_with(CloseReason::InvalidFrame, ctx),
        }
    }

    fn on_connect(&mut self, namespace: &str, ctx: &mut SupervisedContext<Self>) {
        if namespace == "/" {
            self.connected = true;
            let sid = self.gate.app().accounts.random_id();
            self.send_packet(format!("40{}", json!({ "sid": sid })), ctx);
        } else {
            let error = json!({ "message": "Invalid namespace" });
            self.send_packet(format!("44{namespace},{error}"), ctx);
        }
    }

    /// Counts a packet that is not an event against the rate limit; `true` if it is to be
    /// processed.
    fn admit_packet(&mut self, ctx: &mut SupervisedContext<Self>) -> bool {
        match self.gate.count_non_event() {
            None => true,
            Some(action) => {
                self.perform(action, ctx);
                false
            }
        }
    }

    fn perform(&mut self, action: FrameAction, ctx: &mut SupervisedContext<Self>) {
        match action {
            FrameAction::Wait => {}
            FrameAction::Reply(ack, reply) => self.reply(ack, &reply, ctx),
            FrameAction::Close(reason) => self.close_with(reason, ctx),
            FrameAction::Authenticate(ack, token) => {
                let authentication = self.gate.authenticate(token, messages::socket_handle(ctx));
                ctx.spawn(authentication.into_actor(self).map(move |outcome, session, ctx| {
                    session.on_authenticated(ack, outcome, ctx);
                }));
            }
        }
    }

    fn on_authenticated(
        &mut self,
        ack: Option<u64>,
        outcome: AuthOutcome,
        ctx: &mut SupervisedContext<Self>,
    ) {
        match self.gate.on_authenticated(outcome) {
            Ok(event) => {
                if let (Some(ack), ServerEvent::Authenticated(data)) = (ack, &event) {
                    self.send_packet(format!("43{ack}{}", json!([{ "data": data }])), ctx);
                }
                self.send_packet(OutboundEvent::new(&event).socket_io_frame(), ctx);
            }
            Err(error) => self.reply(ack, &Err(error), ctx),
        }
    }

    /// Sends the acknowledgement. A failure of an event without acknowledgement becomes the event
    /// `error`.
    fn reply(&mut self, ack: Option<u64>, result: &ReplyResult, ctx: &mut SupervisedContext<Self>) {
        let text = match (ack, result) {
            (Some(ack), Ok(data)) => format!(r#"43{ack}[{{"data":{data}}}]"#),
            (Some(ack), Err(error)) => {
                let problem = ApiError::of(Arc::clone(error)).problem(None);
                format!("43{ack}{}", json!([{ "error": problem }]))
            }
            // Events mean nothing to a client that has not opened the namespace.
            (None, Err(_)) if !self.connected => return,
            (None, Err(error)) => {
                let problem = ApiError::of(Arc::clone(error)).problem(None);
                format!("42{}", json!(["error", problem]))
            }
            (None, Ok(_)) => return,
        };
        self.send_packet(text, ctx);
    }

    /// Closes the transport. A client that may reconnect only sees the transport close; one that
    /// may not is disconnected from the namespace first, which stops its attempts.
    fn close_with(&mut self, reason: CloseReason, ctx: &mut SupervisedContext<Self>) {
        if self.ended {
            return;
        }
        counter!(SOCKETS_CLOSED, "reason" => reason.reason()).increment(1);
        let is_final = matches!(
            reason,
            CloseReason::SignedOut
                | CloseReason::TooManySessions
                | CloseReason::NotAuthenticated
                | CloseReason::Abuse
        );
        match &self.transport {
            EngineIoTransport::WebSocket(_, socket) => {
                if is_final && self.connected {
                    // Closed below anyway.
                    let _ = socket.send(EngineIoSocketCommand::Text(DISCONNECT.into()));
                }
                socket.close(reason);
            }
            EngineIoTransport::Polling(_) => {
                if reason == CloseReason::SlowConsumer {
                    self.queue.clear();
                }
                if is_final && self.connected {
                    self.queue.push_back(EngineIoOutbound::Text(DISCONNECT.into()));
                }
            }
        }
        if let Some(probe) = self.upgrade_probe.take() {
            probe.socket.close(reason);
        }
        self.finish_session(ctx);
    }

    /// The client closed the transport.
    fn on_client_close(&mut self, ctx: &mut SupervisedContext<Self>) {
        if self.ended {
            return;
        }
        if let EngineIoTransport::WebSocket(_, socket) = &self.transport {
            socket.close_normally();
        }
        self.finish_session(ctx);
    }

    /// Stops accepting and sending. Final packets wait for one more poll, at most [`CLOSE_LINGER`].
    fn finish_session(&mut self, ctx: &mut SupervisedContext<Self>) {
        if matches!(self.transport, EngineIoTransport::Polling(_)) {
            self.queue.push_back(EngineIoOutbound::Text(CLOSE.into()));
        }
        self.upgrade_probe = None;
        self.ended = true;
        self.gate.end();
        self.stop_when_flushed(ctx);
    }

    /// Stops the actor once the final packets were fetched.
    fn stop_when_flushed(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.flush(ctx);
        if matches!(self.transport, EngineIoTransport::WebSocket(..)) || self.queue.is_empty() {
            ctx.stop();
        } else {
            ctx.run_later(CLOSE_LINGER, |_, ctx| ctx.stop());
        }
    }
}

impl Actor for EngineIoSession {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let config = self.gate.app().config.clone();
        ctx.run_interval(config.sessions.authenticate_timeout(), |session, ctx| {
            if session.gate.is_unauthenticated() {
                session.close_with(CloseReason::NotAuthenticated, ctx);
            }
        });
        ctx.run_interval(config.sessions.ping_interval(), |session, ctx| {
            if session.unanswered_pings >= MAX_MISSED_PINGS {
                return session.close_with(CloseReason::PingTimeout, ctx);
            }
            session.unanswered_pings += 1;
            session.send_packet("2", ctx);
        });
    }
}
