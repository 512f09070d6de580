//! `GET` and `POST /socket.io/`: handshake, long polling, upgrade to a WebSocket.

mod sid;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::header;
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::engine_io::{EngineIoSession, INITIAL_SOCKET, PacketsPosted, PollError, PollRequest};
use super::engine_io_socket::EngineIoSocket;
use super::packet::SEPARATOR;
use super::upgrade;
use crate::actors::supervision::ActorRef;
use crate::cluster::RateLimit;
use crate::http::access::{self, rate_limit_key};
use crate::http::extract::{QueryParams, client_ip};
use crate::http::http_error::{self, BODY_TOO_LARGE, INVALID_REQUEST, ORIGIN_NOT_ALLOWED};
use crate::http::problem::ApiError;
use crate::http::{AppState, origin};
use crate::telemetry::metrics::count_rejected;

/// Maximum time to receive a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Query of every request; clients add a cache buster `t` and more.
#[derive(Debug, Deserialize)]
pub(crate) struct PollingQuery {
    #[serde(rename = "EIO")]
    protocol: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
}

/// `GET /socket.io/`
pub(crate) async fn poll(
    app: Data<AppState>,
    request: HttpRequest,
    query: QueryParams<PollingQuery>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let query = query.0;
    if query.protocol.as_deref() != Some("4") {
        return Ok(engine_io_error(5, "Unsupported protocol version"));
    }
    // Some clients request a WebSocket with `transport=polling`.
    if request.headers().contains_key(header::UPGRADE) {
        return websocket(&app, &request, query.sid.as_deref(), payload).await;
    }
    if query.transport.as_deref() != Some("polling") {
        return Ok(engine_io_error(0, "Transport unknown"));
    }
    match query.sid {
        None => handshake(&app, &request).await,
        Some(sid) => match find(&app, &sid) {
            None => Ok(engine_io_error(1, "Session ID unknown")),
            Some(session) => Ok(wait_for_packets(&session).await),
        },
    }
}

async fn handshake(app: &Data<AppState>, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let (_, sid) = new_session(app, request).await?;
    Ok(packets(EngineIoSession::handshake(app, &sid, &["websocket"])))
}

/// Creates an Engine.IO session, subject to the rate limit of the client address.
async fn new_session(
    app: &Data<AppState>,
    request: &HttpRequest,
) -> Result<(ActorRef<EngineIoSession>, String), ApiError> {
    if app.draining.is_on() {
        return Err(access::AccessError::Draining.into());
    }
    if !origin::is_allowed(request, &app.config.http) {
        return Err(ApiError::new(ORIGIN_NOT_ALLOWED, ORIGIN_NOT_ALLOWED.text));
    }
    let limits = &app.config.limits;
    let limit = RateLimit::per_second("api", limits.api_per_second, limits.api_burst);
    let key = rate_limit_key(client_ip(request));
    let outcome = limit.allow_uncounted(app.cache.take(limit, &key).await);
    outcome.inspect_err(|_| count_rejected(limit.name))?;

    let name = app.accounts.random_id();
    let sid = sid::issue(&name);
    let (state, session_id) = (app.clone(), sid.clone());
    let factory = move |_: &mut _| EngineIoSession::new(&state, session_id.clone());
    let started = app.engines.start(&name, factory).await;
    let session = started.map_err(|_| access::AccessError::Draining)?;
    Ok((session, sid))
}

/// Finds the Engine.IO session of a session id issued by this node.
fn find(app: &Data<AppState>, sid: &str) -> Option<ActorRef<EngineIoSession>> {
    app.engines.get(sid::name(sid)?)
}

async fn websocket(
    app: &Data<AppState>,
    request: &HttpRequest,
    sid: Option<&str>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    static NEXT_NUMBER: AtomicU64 = AtomicU64::new(INITIAL_SOCKET + 1);
    let (session, number) = match sid {
        None => (new_session(app, request).await?.0, INITIAL_SOCKET),
        Some(sid) => match find(app, sid) {
            None => return Ok(engine_io_error(1, "Session ID unknown")),
            Some(session) => (session, NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)),
        },
    };
    let socket = EngineIoSocket::new(session, number, app.config.sessions.send_queue_capacity);
    upgrade(app, socket, request, payload)
}

/// Waits until the session has packets for the client.
async fn wait_for_packets(session: &ActorRef<EngineIoSession>) -> HttpResponse {
    let (reply_tx, reply_rx) = oneshot::channel();
    if session.tell(PollRequest(reply_tx)).is_err() {
        return engine_io_error(1, "Session ID unknown");
    }
    match reply_rx.await.unwrap_or(Err(PollError::Unknown)) {
        Ok(body) => packets(body),
        Err(PollError::BadRequest) => engine_io_error(3, "Bad request"),
        Err(PollError::Unknown) => engine_io_error(1, "Session ID unknown"),
    }
}

/// `POST /socket.io/`
pub(crate) async fn push(
    app: Data<AppState>,
    request: HttpRequest,
    query: QueryParams<PollingQuery>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let query = query.0;
    if query.protocol.as_deref() != Some("4") {
        return Ok(engine_io_error(5, "Unsupported protocol version"));
    }
    let Some(sid) = query.sid else { return Ok(engine_io_error(2, "Bad handshake method")) };
    let Some(session) = find(&app, &sid) else {
        return Ok(engine_io_error(1, "Session ID unknown"));
    };
    let max_bytes = app.config.sessions.max_frame_bytes;
    let body = read_body(&request, payload, max_bytes).await?;
    let Ok(text) = String::from_utf8(body.to_vec()) else {
        return Ok(engine_io_error(3, "Bad request"));
    };
    // Each packet counts as a frame; a body of only separators would be a flood.
    if text.matches(SEPARATOR).count() > app.config.limits.events_burst as usize {
        return Ok(engine_io_error(3, "Bad request"));
    }
    match session.ask(PacketsPosted(text)).await {
        Ok(true) => Ok(HttpResponse::Ok().content_type("text/html").body("ok")),
        Ok(false) => Ok(engine_io_error(3, "Bad request")),
        Err(_) => Ok(engine_io_error(1, "Session ID unknown")),
    }
}

async fn read_body(
    request: &HttpRequest,
    payload: Payload,
    max_bytes: usize,
) -> Result<Bytes, ApiError> {
    let too_large =
        || ApiError::new(BODY_TOO_LARGE, format!("a body has at most {max_bytes} bytes"));
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > max_bytes) {
        return Err(too_large());
    }
    // Bounded in time, so that a slow body does not hold its connection.
    let read = tokio::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(max_bytes));
    let Ok(read) = read.await else {
        return Err(ApiError::new(
            http_error::BODY_TIMEOUT,
            format!("a body must be received within {} seconds", BODY_TIMEOUT.as_secs()),
        ));
    };
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(ApiError::new(INVALID_REQUEST, error.to_string())),
        Err(_) => Err(too_large()),
    }
}

fn packets(body: String) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(body)
}

/// Error response with an Engine.IO error code.
fn engine_io_error(code: u8, message: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({ "code": code, "message": message }))
}
