//! The server of TURN, supervised: `/node/turn`.
//!
//! It keeps allocations and nothing else. After a restart its sockets are the same, and clients
//! learn with their next request that they have to allocate anew.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, WrapFuture};
use base::random::RandomSource;

use super::clients::TurnClients;
use super::context::{RelayPolicy, TurnContext};
use super::listeners::{connections, datagrams, now, ports};
use super::peers::PeerPolicy;
use super::proto_relay::ProtoRelay;
use super::quotas::TurnLimits;
use super::sockets::TurnSockets;
use crate::actors::supervision::SupervisedContext;
use crate::config;
use crate::domain::calls::TurnCredentials;

/// What the server calls itself in challenges (RFC 8489 §9.2).
const REALM: &str = "securevox";
/// How often time passes for those who say nothing.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(1);

/// What a server is made of.
#[derive(Clone)]
pub struct TurnServerConfig {
    /// `[turn]`.
    pub config: config::TurnConfig,
    /// As what peers know this machine.
    pub addresses: Arc<[IpAddr]>,
    /// Knows the passwords of users.
    pub ice: TurnCredentials,
    /// Chooses ports.
    pub entropy: RandomSource,
    /// Where it listens.
    pub sockets: Arc<TurnSockets>,
    /// The server's certificate, if it has one.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

impl TurnServerConfig {
    fn rules(&self) -> RelayPolicy {
        let config = &self.config;
        RelayPolicy {
            bind: config.bind,
            ports: config.relay_port_min..=config.relay_port_max,
            addresses: Arc::clone(&self.addresses),
            peers: PeerPolicy { private: config.allow_private_peers },
            limits: TurnLimits {
                user_allocations: config.max_allocations_per_user,
                allocations: config.max_allocations,
                user_bps: config.max_bps_per_user,
            },
        }
    }
}

/// The actor.
pub struct TurnServer {
    settings: TurnServerConfig,
}

crate::actors::supervision::supervised!(TurnServer);

impl TurnServer {
    /// A server with these settings.
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
        let most = settings.config.max_allocations;
        let (ground, new) =
            TurnContext::new(settings.rules(), settings.ice.clone(), settings.entropy.clone());
        let make = Box::new(|client, now| Box::new(ProtoRelay::new(REALM, client, now)) as Box<_>);
        let clients = TurnClients::new(ground, make);
        if let (Some(listener), Some(tls)) = (open.tls, settings.tls.clone()) {
            ctx.spawn(connections(clients.clone(), listener, Some(tls), most).into_actor(self));
        }
        ctx.spawn(connections(clients.clone(), open.tcp, None, most).into_actor(self));
        ctx.spawn(datagrams(clients.clone(), open.udp).into_actor(self));
        ctx.spawn(ports(clients.clone(), new).into_actor(self));
        ctx.run_interval(EXPIRY_INTERVAL, move |_, _| clients.pass(now()));
    }
}
