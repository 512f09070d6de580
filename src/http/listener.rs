//! The HTTP server as a supervised actor, restarted if it ends.

use std::net::TcpListener;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Running, WrapFuture};
use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};

use super::middleware::handle_request;
use super::openapi::ApiDocuments;
use super::routes::{self, AccessTable};
use super::tls::tls;
use super::{AppState, socket};
use crate::actors::supervision::SupervisedContext;

/// The actor that runs the HTTP server.
pub struct HttpListener {
    app: AppState,
    socket: TcpListener,
    server: Option<ServerHandle>,
}

crate::actors::supervision::supervised!(HttpListener);

impl HttpListener {
    /// Serves on an open listening socket; each incarnation uses a duplicate of it.
    ///
    /// # Panics
    /// If the operating system cannot duplicate the socket; the supervisor retries.
    pub fn new(app: AppState, socket: &TcpListener) -> Self {
        #[expect(clippy::expect_used, reason = "the supervisor restarts the actor")]
        let socket = socket.try_clone().expect("a listening socket can be duplicated");
        Self { app, socket, server: None }
    }

    fn listen(&self) -> std::io::Result<actix_web::dev::Server> {
        let app = Data::new(self.app.clone());
        let table = Data::new(AccessTable::new(&routes::routes()));
        let documents = Data::new(ApiDocuments::new(routes::routes));
        let http = &self.app.config.http;
        let server = HttpServer::new(move || {
            App::new()
                .app_data(app.clone())
                .app_data(table.clone())
                .app_data(documents.clone())
                .wrap(from_fn(handle_request))
                .configure(routes::configure)
        })
        .disable_signals()
        .h1_allow_half_closed(false)
        .shutdown_timeout(3)
        .on_connect(socket::on_connect)
        .client_request_timeout(Duration::from_secs(10))
        .backlog(4096);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let workers = if http.workers == 0 { cores } else { http.workers };
        let server =
            server.workers(workers).max_connections(http.max_connections.div_ceil(workers));
        let socket = self.socket.try_clone()?;
        let server = match tls(http).map_err(std::io::Error::other)? {
            Some(tls) => server.listen_rustls_0_23(socket, tls)?,
            None => server.listen(socket)?,
        };
        Ok(server.run())
    }
}

impl Actor for HttpListener {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        match self.listen() {
            Ok(server) => {
                self.server = Some(server.handle());
                ctx.spawn(server.into_actor(self).map(|outcome, listener, ctx| {
                    if listener.server.is_some() {
                        ctx.fail(format!("HTTP server ended: {outcome:?}"));
                    } else {
                        ctx.stop();
                    }
                }));
            }
            Err(error) => ctx.fail(format!("HTTP listener could not start: {error}")),
        }
    }

    /// Requests in progress finish first; the end of the server then stops the actor.
    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        let Some(server) = self.server.take() else { return Running::Stop };
        ctx.spawn(server.stop(true).into_actor(self));
        Running::Continue
    }
}

impl Drop for HttpListener {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // The stop is requested here; the future only reports completion.
            drop(server.stop(false));
        }
    }
}
