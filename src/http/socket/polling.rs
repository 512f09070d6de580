//! `GET` and `POST /socket.io/`: the handshake, polling, and the way to a WebSocket.

mod sid;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::engine_io::{EngineIoSession, FIRST_PIPE, PacketsPosted, PollError, PollRequest};
use super::engine_io_socket::EngineIoSocket;
use super::packet::SEPARATOR;
use super::upgrade;
use crate::actors::supervision::ActorRef;
use crate::cluster::RateLimit;
use crate::http::access::{self, counted};
use crate::http::extract::{QueryParams, source};
use crate::http::problem::ApiError;
use crate::http::{AppState, origin};
use crate::telemetry::metrics::count_rejected;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The query of every request of this protocol; clients add a cache-buster `t` and more.
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
        return Ok(refuse(5, "Unsupported protocol version"));
    }
    // Some clients ask for a WebSocket and still say `transport=polling`.
    if request.headers().contains_key(header::UPGRADE) {
        return websocket(&app, &request, query.sid.as_deref(), payload).await;
    }
    if query.transport.as_deref() != Some("polling") {
        return Ok(refuse(0, "Transport unknown"));
    }
    match query.sid {
        None => handshake(&app, &request).await,
        Some(sid) => match find(&app, &sid) {
            None => Ok(refuse(1, "Session ID unknown")),
            Some(engine) => Ok(wait(&engine).await),
        },
    }
}

async fn handshake(app: &Data<AppState>, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let (_, sid) = engine(app, request).await?;
    Ok(packets(EngineIoSession::handshake(app, &sid, &["websocket"])))
}

/// A new engine, counted against the limits of whoever asks.
async fn engine(
    app: &Data<AppState>,
    request: &HttpRequest,
) -> Result<(ActorRef<EngineIoSession>, String), ApiError> {
    if app.draining.is_on() {
        return Err(access::AccessError::Leaving.into());
    }
    if !origin::is_allowed(request, &app.config.http) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "http/origin-not-allowed",
            "pages of this origin may not connect: see http.allowed_origins",
        ));
    }
    let limits = &app.config.limits;
    let limit = RateLimit::per_second("api", limits.api_per_second, limits.api_burst);
    let key = counted(source(request));
    let taken = limit.allow_uncounted(app.cache.take(limit, &key).await);
    taken.inspect_err(|_| count_rejected(limit.name))?;

    let name = app.accounts.random_id();
    let sid = sid::issue(&name);
    let (services, told) = (app.clone(), sid.clone());
    let factory = move |_: &mut _| EngineIoSession::new(&services, told.clone());
    let started = app.engines.start(&name, factory).await;
    let engine = started.map_err(|_| access::AccessError::Leaving)?;
    Ok((engine, sid))
}

/// The engine of a session id, if it was issued here and the engine lives.
fn find(app: &Data<AppState>, sid: &str) -> Option<ActorRef<EngineIoSession>> {
    app.engines.get(sid::name(sid)?)
}

async fn websocket(
    app: &Data<AppState>,
    request: &HttpRequest,
    sid: Option<&str>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    static NEXT: AtomicU64 = AtomicU64::new(FIRST_PIPE + 1);
    let (engine, number) = match sid {
        None => (engine(app, request).await?.0, FIRST_PIPE),
        Some(sid) => match find(app, sid) {
            None => return Ok(refuse(1, "Session ID unknown")),
            Some(engine) => (engine, NEXT.fetch_add(1, Ordering::Relaxed)),
        },
    };
    let pipe = EngineIoSocket::new(engine, number, app.config.sessions.send_queue_capacity);
    upgrade(app, pipe, request, payload)
}

/// Holds the request until there is something to say.
async fn wait(engine: &ActorRef<EngineIoSession>) -> HttpResponse {
    let (reply, answer) = oneshot::channel();
    if engine.tell(PollRequest(reply)).is_err() {
        return refuse(1, "Session ID unknown");
    }
    match answer.await.unwrap_or(Err(PollError::Unknown)) {
        Ok(body) => packets(body),
        Err(PollError::Bad) => refuse(3, "Bad request"),
        Err(PollError::Unknown) => refuse(1, "Session ID unknown"),
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
        return Ok(refuse(5, "Unsupported protocol version"));
    }
    let Some(sid) = query.sid else { return Ok(refuse(2, "Bad handshake method")) };
    let Some(engine) = find(&app, &sid) else { return Ok(refuse(1, "Session ID unknown")) };
    let most = app.config.sessions.max_frame_bytes;
    let body = read(&request, payload, most).await?;
    let Ok(text) = String::from_utf8(body.to_vec()) else {
        return Ok(refuse(3, "Bad request"));
    };
    // Each packet is a frame to the limits; a body of nothing but separators is a flood.
    if text.matches(SEPARATOR).count() > app.config.limits.events_burst as usize {
        return Ok(refuse(3, "Bad request"));
    }
    match engine.ask(PacketsPosted(text)).await {
        Ok(true) => Ok(HttpResponse::Ok().content_type("text/html").body("ok")),
        Ok(false) => Ok(refuse(3, "Bad request")),
        Err(_) => Ok(refuse(1, "Session ID unknown")),
    }
}

async fn read(request: &HttpRequest, payload: Payload, most: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "http/body-too-large",
            format!("a body has at most {most} bytes"),
        )
    };
    let said = request.headers().get(header::CONTENT_LENGTH);
    let said = said.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    // A body that trickles in would hold its connection for ever.
    let read = tokio::time::timeout(BODY_TIMEOUT, payload.to_bytes_limited(most));
    let Ok(read) = read.await else {
        return Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "http/body-timeout",
            format!("a body comes within {} seconds", BODY_TIMEOUT.as_secs()),
        ));
    };
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            Err(ApiError::new(StatusCode::BAD_REQUEST, "http/invalid-request", error.to_string()))
        }
        Err(_) => Err(too_large()),
    }
}

fn packets(body: String) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=UTF-8").body(body)
}

/// The errors of Engine.IO, as its clients know them.
fn refuse(code: u8, message: &str) -> HttpResponse {
    HttpResponse::BadRequest().json(json!({ "code": code, "message": message }))
}
