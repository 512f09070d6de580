//! The TURN server actor at `/node/turn`.
//!
//! Its only state are the allocations. After a restart it has the same sockets, and clients learn
//! with their next request that they must allocate again.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, WrapFuture};
use base::random::RandomSource;

use super::clients::TurnClients;
use super::context::{RelayPolicy, TurnContext};
use super::listeners::{accept_connections, now, receive_datagrams, receive_from_peers};
use super::peers::PeerPolicy;
use super::proto_relay::ProtoRelay;
use super::quotas::TurnLimits;
use super::sockets::TurnSockets;
use crate::actors::supervision::SupervisedContext;
use crate::config;
use crate::domain::calls::TurnCredentials;

/// Realm of the authentication challenge (RFC 8489 §9.2).
const REALM: &str = "securevox";
/// How often time is advanced for idle clients.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);

/// The configuration of a TURN server.
#[derive(Clone)]
pub struct TurnServerConfig {
    /// The `[turn]` settings.
    pub config: config::TurnConfig,
    /// The addresses under which peers reach this machine.
    pub addresses: Arc<[IpAddr]>,
    /// Verifies the credentials of users.
    pub ice: TurnCredentials,
    /// Source of randomness for relay ports.
    pub random: RandomSource,
    /// The listening sockets.
    pub sockets: Arc<TurnSockets>,
    /// The TLS configuration, if there is a certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl TurnServerConfig {
    fn policy(&self) -> RelayPolicy {
        let config = &self.config;
        RelayPolicy {
            bind: config.bind,
            ports: config.relay_port_min..=config.relay_port_max,
            addresses: Arc::clone(&self.addresses),
            peers: PeerPolicy { allow_private: config.allow_private_peers },
            limits: TurnLimits {
                user_allocations: config.max_allocations_per_user,
                allocations: config.max_allocations,
                user_bps: config.max_bps_per_user,
            },
        }
    }
}

/// The actor of the TURN server.
pub struct TurnServer {
    settings: TurnServerConfig,
}

crate::actors::supervision::supervised!(TurnServer);

impl TurnServer {
    /// A server with this configuration.
    pub const fn new(settings: TurnServerConfig) -> Self {
        Self { settings }
    }
}

impl Actor for TurnServer {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let settings = &self.settings;
        let open = match settings.sockets.open() {
            Ok(open) => open,
            Err(error) => return ctx.fail(format!("TURN cannot listen: {error}")),
        };
        let max_allocations = settings.config.max_allocations;
        let (context, to_read) =
            TurnContext::new(settings.policy(), settings.ice.clone(), settings.random.clone());
        let create_relay =
            Box::new(|client, now| Box::new(ProtoRelay::new(REALM, client, now)) as Box<_>);
        let clients = TurnClients::new(context, create_relay);
        if let (Some(listener), Some(tls)) = (open.tls, settings.tls.clone()) {
            ctx.spawn(
                accept_connections(clients.clone(), listener, Some(tls), max_allocations)
                    .into_actor(self),
            );
        }
        ctx.spawn(
            accept_connections(clients.clone(), open.tcp, None, max_allocations).into_actor(self),
        );
        ctx.spawn(receive_datagrams(clients.clone(), open.udp).into_actor(self));
        ctx.spawn(receive_from_peers(clients.clone(), to_read).into_actor(self));
        ctx.run_interval(EXPIRY_INTERVAL, move |_, _| clients.advance(now()));
    }
}
