//! An Engine.IO 4 session: one client, first on polling and then on a WebSocket, or on a WebSocket
//! from the start. It forgets everything when it ends; the client connects again.

mod messages;
mod upgrade;

pub(super) use messages::{
    EngineSocketFlushed, FIRST_PIPE, NodeDraining, PacketsPosted, PollRequest, SocketClosed,
    SocketOpened, SocketPacketReceived,
};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, WrapFuture};
use actix_web::web::Data;
use bytestring::ByteString;
use metrics::counter;
use serde_json::json;
use tokio::sync::oneshot;

use self::upgrade::UpgradeProbe;
use super::engine_io_socket::{EngineIoSocketCommand, EngineIoSocketHandle};
use super::gate::{AuthOutcome, FrameAction, SocketGate};
use super::packet::{EngineIoPacket, SEPARATOR, SocketIoPacket};
use crate::actors::sessions::{CloseReason, OutboundEvent, ReplyResult, SocketSendError};
use crate::actors::supervision::SupervisedContext;
use crate::http::AppState;
use crate::http::problem::ApiError;
use crate::protocol::server::ServerEvent;
use crate::telemetry::metrics::SOCKETS_CLOSED;

/// Bytes handed to one poll at most, so that an answer stays bounded.
const POLL_BYTES: usize = 256 * 1024;

/// Leaves the main namespace: a client does not come back after it by itself.
const DISCONNECT: &str = "41";
/// Ends the transport (Engine.IO).
const CLOSE: &str = "1";
/// So many pings in a row without an answer end the transport.
const MAX_MISSED_PINGS: u32 = 2;
/// How long last words wait for a poll.
const CLOSE_LINGER: Duration = Duration::from_secs(10);

/// The actor.
pub struct EngineIoSession {
    gate: SocketGate,
    /// A credential: it never enters the log.
    sid: String,
    way: EngineIoTransport,
    candidate: Option<UpgradeProbe>,
    waiting: VecDeque<EngineIoOutbound>,
    /// The namespace is open.
    connected: bool,
    /// Pings that wait for an answer.
    unanswered: u32,
    ended: bool,
}

/// How packets reach the client.
enum EngineIoTransport {
    /// When it asks; the one request that waits for something to be said.
    Polling(Option<oneshot::Sender<PollReply>>),
    /// On a WebSocket.
    Pipe(u64, EngineIoSocketHandle),
}

enum EngineIoOutbound {
    Text(ByteString),
    Fence,
}

/// What a poll is answered with.
pub(super) type PollReply = Result<String, PollError>;

/// Why a poll is not answered with packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PollError {
    /// There is no such session, or it ended.
    Unknown,
    /// Two polls at once, or one after the upgrade.
    Bad,
}

crate::actors::supervision::supervised!(EngineIoSession);

impl EngineIoSession {
    pub(super) fn new(services: &Data<AppState>, sid: String) -> Self {
        Self {
            gate: SocketGate::new(services, "socket.io"),
            sid,
            way: EngineIoTransport::Polling(None),
            candidate: None,
            waiting: VecDeque::new(),
            connected: false,
            unanswered: 0,
            ended: false,
        }
    }

    /// The handshake packet; `upgrades` names what the client may move to.
    pub(super) fn handshake(services: &AppState, sid: &str, upgrades: &[&str]) -> String {
        let config = &services.config.sessions;
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
    fn say(&mut self, text: impl Into<ByteString>, ctx: &mut SupervisedContext<Self>) {
        self.out(EngineIoOutbound::Text(text.into()), ctx);
    }

    fn out(&mut self, out: EngineIoOutbound, ctx: &mut SupervisedContext<Self>) {
        if self.ended {
            return;
        }
        match &self.way {
            EngineIoTransport::Pipe(_, pipe) => {
                let push = match out {
                    EngineIoOutbound::Text(text) => EngineIoSocketCommand::Text(text),
                    EngineIoOutbound::Fence => EngineIoSocketCommand::Fence,
                };
                match pipe.send(push) {
                    Ok(()) => {}
                    Err(SocketSendError::QueueFull) => self.end(CloseReason::SlowConsumer, ctx),
                    Err(SocketSendError::Closed) => self.end(CloseReason::SessionLost, ctx),
                }
            }
            EngineIoTransport::Polling(_) => {
                if self.waiting.len() >= self.gate.services().config.sessions.send_queue_capacity {
                    return self.end(CloseReason::SlowConsumer, ctx);
                }
                self.waiting.push_back(out);
                self.flush(ctx);
            }
        }
    }

    /// Answers the waiting poll, if there is one and something to say. A client that gave its poll
    /// up may have missed packets: it has to connect again.
    fn flush(&mut self, ctx: &mut SupervisedContext<Self>) {
        let EngineIoTransport::Polling(poll) = &mut self.way else { return };
        if self.waiting.is_empty() {
            return;
        }
        let Some(reply) = poll.take() else { return };
        if reply.is_closed() {
            return self.end(CloseReason::SessionLost, ctx);
        }
        let mut body = String::new();
        let mut fenced = false;
        while let Some(out) = self.waiting.pop_front() {
            match out {
                EngineIoOutbound::Fence => fenced = true,
                // A client takes a close at once and what stands before it in the same body a tick
                // later, when it is too late: a close travels alone.
                EngineIoOutbound::Text(text) if &*text == CLOSE && !body.is_empty() => {
                    self.waiting.push_front(EngineIoOutbound::Text(text));
                    break;
                }
                EngineIoOutbound::Text(text) => {
                    if !body.is_empty() {
                        body.push(SEPARATOR);
                    }
                    body.push_str(&text);
                    if body.len() >= POLL_BYTES {
                        break;
                    }
                }
            }
        }
        if body.is_empty() {
            // Only a fence: nothing to carry, so the poll waits on.
            *poll = Some(reply);
        } else if reply.send(Ok(body)).is_err() {
            return self.end(CloseReason::SessionLost, ctx);
        }
        if fenced {
            self.gate.flushed();
        }
    }

    fn packet(&mut self, text: &str, ctx: &mut SupervisedContext<Self>) {
        match EngineIoPacket::parse(text) {
            Some(EngineIoPacket::Message(text)) => self.message(text, ctx),
            Some(EngineIoPacket::Pong) if self.unanswered > 0 => self.unanswered = 0,
            Some(EngineIoPacket::Close) => self.left(ctx),
            Some(
                EngineIoPacket::Ping(_)
                | EngineIoPacket::Pong
                | EngineIoPacket::Noop
                | EngineIoPacket::Upgrade,
            ) => {
                self.counts(ctx);
            }
            None => self.end(CloseReason::InvalidFrame, ctx),
        }
    }

    fn message(&mut self, text: &str, ctx: &mut SupervisedContext<Self>) {
        match SocketIoPacket::parse(text) {
            Some(SocketIoPacket::Event { ack, name, data }) if self.connected => {
                let step = self.gate.take(ack, &name, data);
                self.step(step, ctx);
            }
            // The only namespace is left: nothing remains to be said on this transport.
            Some(SocketIoPacket::Disconnect("/")) => self.left(ctx),
            Some(SocketIoPacket::Connect(namespace)) => {
                if self.counts(ctx) {
                    self.connect(namespace, ctx);
                }
            }
            Some(SocketIoPacket::Disconnect(_)) => {
                self.counts(ctx);
            }
            Some(SocketIoPacket::Ack) if self.connected => {
                self.counts(ctx);
            }
            _ => self.end(CloseReason::InvalidFrame, ctx),
        }
    }

    fn connect(&mut self, namespace: &str, ctx: &mut SupervisedContext<Self>) {
        if namespace == "/" {
            self.connected = true;
            let sid = self.gate.services().accounts.random_id();
            self.say(format!("40{}", json!({ "sid": sid })), ctx);
        } else {
            let why = json!({ "message": "Invalid namespace" });
            self.say(format!("44{namespace},{why}"), ctx);
        }
    }

    /// Counts a packet that is no event, since it costs as much; whether it is to be looked at.
    fn counts(&mut self, ctx: &mut SupervisedContext<Self>) -> bool {
        match self.gate.noise() {
            None => true,
            Some(step) => {
                self.step(step, ctx);
                false
            }
        }
    }

    fn step(&mut self, step: FrameAction, ctx: &mut SupervisedContext<Self>) {
        match step {
            FrameAction::Wait => {}
            FrameAction::Reply(ack, answer) => self.reply(ack, &answer, ctx),
            FrameAction::Shut(why) => self.end(why, ctx),
            FrameAction::Check(ack, token) => {
                let check = self.gate.check(token, messages::line(ctx));
                ctx.spawn(check.into_actor(self).map(move |outcome, engine, ctx| {
                    engine.checked(ack, outcome, ctx);
                }));
            }
        }
    }

    fn checked(
        &mut self,
        ack: Option<u64>,
        outcome: AuthOutcome,
        ctx: &mut SupervisedContext<Self>,
    ) {
        match self.gate.checked(outcome) {
            Ok(event) => {
                if let (Some(ack), ServerEvent::Authenticated(data)) = (ack, &event) {
                    self.say(format!("43{ack}{}", json!([{ "data": data }])), ctx);
                }
                self.say(OutboundEvent::new(&event).socket_io_frame(), ctx);
            }
            Err(error) => self.reply(ack, &Err(error), ctx),
        }
    }

    /// The acknowledgement; a failure nobody asked to be told of becomes the event `error`.
    fn reply(&mut self, ack: Option<u64>, answer: &ReplyResult, ctx: &mut SupervisedContext<Self>) {
        let text = match (ack, answer) {
            (Some(ack), Ok(data)) => format!(r#"43{ack}[{{"data":{data}}}]"#),
            (Some(ack), Err(error)) => {
                let problem = ApiError::of(Arc::clone(error)).problem(None);
                format!("43{ack}{}", json!([{ "error": problem }]))
            }
            // An event means nothing to a client that has not opened the namespace.
            (None, Err(_)) if !self.connected => return,
            (None, Err(error)) => {
                let problem = ApiError::of(Arc::clone(error)).problem(None);
                format!("42{}", json!(["error", problem]))
            }
            (None, Ok(_)) => return,
        };
        self.say(text, ctx);
    }

    /// Ends the transport. A client that may come back sees the transport close; one that may not
    /// is disconnected from the namespace first, which ends its attempts.
    fn end(&mut self, why: CloseReason, ctx: &mut SupervisedContext<Self>) {
        if self.ended {
            return;
        }
        counter!(SOCKETS_CLOSED, "reason" => why.reason()).increment(1);
        let final_word = matches!(
            why,
            CloseReason::SignedOut
                | CloseReason::TooManySessions
                | CloseReason::NotAuthenticated
                | CloseReason::Abuse
        );
        match &self.way {
            EngineIoTransport::Pipe(_, pipe) => {
                if final_word && self.connected {
                    let _ = pipe.send(EngineIoSocketCommand::Text(DISCONNECT.into())); // it is closed at once anyway
                }
                pipe.close(why);
            }
            EngineIoTransport::Polling(_) => {
                if why == CloseReason::SlowConsumer {
                    self.waiting.clear();
                }
                if final_word && self.connected {
                    self.waiting.push_back(EngineIoOutbound::Text(DISCONNECT.into()));
                }
            }
        }
        if let Some(candidate) = self.candidate.take() {
            candidate.pipe.close(why);
        }
        self.over(ctx);
    }

    /// The client says that it goes.
    fn left(&mut self, ctx: &mut SupervisedContext<Self>) {
        if self.ended {
            return;
        }
        if let EngineIoTransport::Pipe(_, pipe) = &self.way {
            pipe.bye();
        }
        self.over(ctx);
    }

    /// Nothing more is taken or said, but for the last words, which wait for the poll that fetches
    /// them for a while.
    fn over(&mut self, ctx: &mut SupervisedContext<Self>) {
        if matches!(self.way, EngineIoTransport::Polling(_)) {
            self.waiting.push_back(EngineIoOutbound::Text(CLOSE.into()));
        }
        self.candidate = None;
        self.ended = true;
        self.gate.leave();
        self.finish(ctx);
    }

    /// Stops once the last words are fetched.
    fn finish(&mut self, ctx: &mut SupervisedContext<Self>) {
        self.flush(ctx);
        if matches!(self.way, EngineIoTransport::Pipe(..)) || self.waiting.is_empty() {
            ctx.stop();
        } else {
            ctx.run_later(CLOSE_LINGER, |_, ctx| ctx.stop());
        }
    }
}

impl Actor for EngineIoSession {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let config = self.gate.services().config.clone();
        ctx.run_interval(config.sessions.authenticate(), |engine, ctx| {
            if engine.gate.is_nameless() {
                engine.end(CloseReason::NotAuthenticated, ctx);
            }
        });
        ctx.run_interval(config.sessions.ping(), |engine, ctx| {
            if engine.unanswered >= MAX_MISSED_PINGS {
                return engine.end(CloseReason::PingTimeout, ctx);
            }
            engine.unanswered += 1;
            engine.say("2", ctx);
        });
    }
}
