//! Sockets: the transports under the sessions. A WebSocket actor lives and dies with its socket and
//! cannot be supervised, so it only carries; what it carries to, is. The deprecated crate
//! `actix-web-actors` is named in this file only.

mod engine_io;
mod engine_io_socket;
mod gate;
mod packet;
mod polling;
mod websocket;

pub use engine_io::EngineIoSession;
pub(super) use polling::{poll, push};

use std::any::Any;
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::http::StatusCode;
use actix_web::rt::net::TcpStream;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_web_actors::ws;

use self::websocket::WebSocketConnection;
use super::problem::ApiError;
use super::{AppState, origin};
use crate::actors::supervision::DynamicSupervisor;
use crate::telemetry::metrics::refused;

/// Sockets that speak Socket.IO, by their Engine.IO session id.
pub type Engines = DynamicSupervisor<EngineIoSession>;

/// Ends every socket that speaks Socket.IO, since the node goes away.
pub fn leave(engines: &Engines) {
    for engine in engines.children() {
        let _ = engine.tell_control(engine_io::NodeDraining); // gone already is as good
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

/// Turns a request into a WebSocket, unless a foreign page asks for it.
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
        return Err(super::access::AccessError::Leaving.into());
    }
    if !origin::is_allowed(request, &app.config.http) {
        refused("origin");
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "http/origin-not-allowed",
            "pages of this origin may not connect: see http.allowed_origins",
        ));
    }
    ws::WsResponseBuilder::new(actor, request, payload)
        .frame_size(app.config.sessions.max_frame_bytes)
        .start()
        .map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, "http/upgrade-required", error.to_string())
        })
}

/// A peer that takes nothing for this long is gone, even if it never says so: a socket that is
/// blocked on writing is not polled, so only the kernel can end it.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Settings of each TCP connection.
pub(super) fn on_connect(connection: &dyn Any, _: &mut actix_web::dev::Extensions) {
    let plain = connection.downcast_ref::<TcpStream>();
    let tls = connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0);
    if let Some(stream) = plain.or(tls) {
        let socket = socket2::SockRef::from(stream);
        let set = socket.set_tcp_nodelay(true);
        #[cfg(target_os = "linux")]
        let set = set.and_then(|()| socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT)));
        if let Err(error) = set {
            tracing::debug!(%error, "a connection was gone before its options were set");
        }
    }
}
