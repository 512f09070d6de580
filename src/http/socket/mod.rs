//! Sockets: the transports of sessions. A WebSocket actor ends with its socket and cannot be
//! supervised, so it only forwards to supervised actors. The deprecated crate `actix-web-actors` is
//! used in this module only.

mod engine_io;
mod engine_io_socket;
mod gate;
mod packet;
mod polling;
mod websocket;

use std::any::Any;
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::rt::net::TcpStream;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::ws;
pub use engine_io::EngineIoSession;
pub(super) use gate::FrameError;
pub(super) use polling::{poll, push};

use self::websocket::WebSocketConnection;
use super::access::{AccessRule, RateClass};
use super::http_error::{ORIGIN_NOT_ALLOWED, UPGRADE_REQUIRED};
use super::problem::ApiError;
use super::route::Route;
use super::{AppState, origin};
use crate::actors::supervision::DynamicSupervisor;
use crate::telemetry::metrics::count_rejected;

/// The routes of the sockets.
#[rustfmt::skip]
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/ws", connect_websocket, AccessRule::Anyone).summary("WebSocket; see the AsyncAPI document for events").empty_response(101),
        Route::get("/socket.io/", poll, AccessRule::Anyone).rate(RateClass::Probe).summary("Socket.IO: handshake, polling, upgrade").hidden(),
        Route::post("/socket.io/", push, AccessRule::Anyone).rate(RateClass::Probe).summary("Socket.IO: polling").hidden(),
    ]
}

/// Engine.IO sessions of this node by their name.
pub type Engines = DynamicSupervisor<EngineIoSession>;

/// Closes all Engine.IO sessions because the node is draining.
pub fn close_all(engines: &Engines) {
    for engine in engines.children() {
        let _ = engine.tell_control(engine_io::NodeDraining); // the session may have ended
    }
}

/// `GET /ws`
pub(super) async fn connect_websocket(
    app: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let actor = WebSocketConnection::new(&app);
    upgrade(&app, actor, &request, payload)
}

/// Upgrades a request to a WebSocket, unless the origin is not allowed.
fn upgrade<A>(
    app: &AppState,
    actor: A,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError>
where
    A: actix::Actor<Context = ws::WebsocketContext<A>>
        + actix::StreamHandler<Result<ws::Message, ws::ProtocolError>>,
{
    if app.draining.is_on() {
        return Err(super::access::AccessError::Draining.into());
    }
    if !origin::is_allowed(request, &app.config.http) {
        count_rejected("origin");
        return Err(ApiError::new(ORIGIN_NOT_ALLOWED, ORIGIN_NOT_ALLOWED.text));
    }
    ws::WsResponseBuilder::new(actor, request, payload)
        .frame_size(app.config.sessions.max_frame_bytes)
        .start()
        .map_err(|error| ApiError::new(UPGRADE_REQUIRED, error.to_string()))
}

/// A peer that acknowledges nothing for this long is disconnected by the kernel. A socket blocked
/// on writing is not polled, so the server itself would not notice.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Sets options of each TCP connection.
pub(super) fn on_connect(connection: &dyn Any, _: &mut actix_web::dev::Extensions) {
    let plain = connection.downcast_ref::<TcpStream>();
    let tls = connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0);
    if let Some(stream) = plain.or(tls) {
        let socket = socket2::SockRef::from(stream);
        let outcome = socket.set_tcp_nodelay(true);
        #[cfg(target_os = "linux")]
        let outcome = outcome.and_then(|()| socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)));
        if let Err(error) = outcome {
            tracing::debug!(%error, "connection closed before socket options were set");
        }
    }
}
