//! The listener's place in the tree: an HTTP server that is started again if it ends.

use std::net::TcpListener;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Running, WrapFuture};
use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};

use super::middleware::entry;
use super::routes::{self, AccessTable};
use super::tls::tls;
use super::{AppState, socket};
use crate::actors::supervision::SupervisedContext;

/// The actor.
pub struct HttpListener {
    services: AppState,
    socket: TcpListener,
    server: Option<ServerHandle>,
}

crate::actors::supervision::supervised!(HttpListener);

impl HttpListener {
    /// Answers on an open socket, of which each incarnation uses a duplicate.
    ///
    /// # Panics
    /// If the operating system does not duplicate the socket; the supervisor tries again.
    pub fn new(services: AppState, socket: &TcpListener) -> Self {
        #[expect(clippy::expect_used, reason = "the supervisor is told, and tries again")]
        let socket = socket.try_clone().expect("a listening socket can be duplicated");
        Self { services, socket, server: None }
    }

    fn listen(&self) -> std::io::Result<actix_web::dev::Server> {
        let services = Data::new(self.services.clone());
        let table = Data::new(AccessTable::new(&routes::routes()));
        let http = &self.services.config.http;
        let server = HttpServer::new(move || {
            App::new()
                .app_data(services.clone())
                .app_data(table.clone())
                .wrap(from_fn(entry))
                .configure(routes::serve)
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
                ctx.spawn(server.into_actor(self).map(|ended, listener, ctx| {
                    if listener.server.is_some() {
                        ctx.fail(format!("the server ended: {ended:?}"));
                    } else {
                        ctx.stop();
                    }
                }));
            }
            Err(error) => ctx.fail(format!("cannot listen: {error}")),
        }
    }

    /// Answers that are on their way are let out first; the server's end then stops the actor.
    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        let Some(server) = self.server.take() else { return Running::Stop };
        ctx.spawn(server.stop(true).into_actor(self));
        Running::Continue
    }
}

impl Drop for HttpListener {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            drop(server.stop(false)); // the order is given here; its future only tells the end
        }
    }
}
