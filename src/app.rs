//! The composition root: the only file that names every concrete type. A node is opened (settings
//! become parts), launched (parts become a living tree) and, on a signal, brought down in order.

mod cluster_services;
mod domain_services;

pub use self::cluster_services::{shared_bus, shared_cache};
pub use self::domain_services::{DomainServices, open, open_vault, store_config};

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::error::CodedError;
use base::ids::NodeId;
use base::random::RandomSource;
use base::secret::Secret;
use store::NodeLock;

use self::cluster_services::cluster;
use self::domain_services::jobs;
use crate::actors::bus::BUS;
use crate::actors::media::{MEDIA, addresses};
use crate::actors::membership::{LeaveCluster, Membership};
use crate::actors::supervision::{
    self, ActorRef, ExitReason, LaunchOptions, Strategy, StuckActor, WatchdogThresholds, child,
    dynamic_supervisor, launch, supervisor,
};
use crate::actors::tree::{TreeDeps, build_tree, media_threads};
use crate::actors::turn::{self, TURN};
use crate::config::Config;
use crate::domain::accounts;
use crate::domain::calls::{self, CallDomain, TurnCredentials};
use crate::domain::chat::ChatService;
use crate::domain::contacts::{ContactService, DiscoveryLimits};
use crate::domain::files::FileService;
use crate::domain::vault;
use crate::http::listener::HttpListener;
use crate::http::{AppState, DrainFlag, SocketLimiter, socket};
use crate::integrations::blob_store;
use crate::telemetry;

/// Why a node cannot start or go on, in words for whoever runs it.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// Something on disk or on the network is in the way.
    #[error("{0}")]
    Outside(String),
    /// The database.
    #[error("the database cannot be used: {0}")]
    Store(#[from] store::StoreError),
    /// Accounts and keys.
    #[error("accounts cannot be used: {0}")]
    Accounts(#[from] accounts::AccountError),
    /// The keys that seal secrets.
    #[error("sealed secrets cannot be used: {0}")]
    Vault(#[from] vault::VaultError),
    /// The tree did not come up.
    #[error("the node did not come up: {0}")]
    Launch(#[from] supervision::LaunchError),
}

/// A living node.
pub struct NodeRuntime {
    living: supervision::RunningTree,
    services: AppState,
    address: SocketAddr,
    membership: Option<ActorRef<Membership>>,
    /// Free once the process is gone, however it goes.
    _lock: Option<Arc<NodeLock>>,
    /// The one-time link for the first administrator, if there is none yet.
    pub setup: Option<Secret<String>>,
}

/// Brings a node up; when it answers, it takes requests.
///
/// # Errors
/// [`StartupError`], in words.
pub async fn start(config: Config) -> Result<NodeRuntime, StartupError> {
    let config = Arc::new(config);
    let tls = crate::http::tls::tls(&config.http).map_err(StartupError::Outside)?; // said before anything starts
    let metrics = telemetry::metrics::start().map_err(StartupError::Outside)?;
    let socket = listen(config.http.bind)?;
    let address = socket.local_addr().map_err(|error| StartupError::Outside(error.to_string()))?;
    let relays = turn_sockets(&config, tls.is_some())?;
    let deeds = open(&config).await?;
    let setup = deeds.accounts.setup_token().await?;

    let chat = ChatService::new(
        deeds.store.clone(),
        deeds.clock.clone(),
        deeds.entropy.clone(),
        config.chat.clone(),
    );
    let identity =
        media::DtlsCertificate::generate().map_err(|e| StartupError::Outside(e.to_string()))?;
    let node = NodeId::new();
    let cluster = cluster(&config, &deeds, node).await?;
    if cluster.leases.is_none() {
        let left = deeds.store.open_calls().await?; // by a life before
        deeds.store.close_calls(left, deeds.clock.now()).await?;
    }
    let ice = ice(&config, &deeds, relays.as_deref());
    let files = FileService::new(
        deeds.store.clone(),
        deeds.clock.clone(),
        blob_store::open(&config.storage, &config.node.data_dir).map_err(StartupError::Outside)?,
        &config.storage.place(&config.node.data_dir),
        config.files.clone(),
    );
    if config.database.url.is_empty() {
        // Nobody else uses this database: whoever was putting bytes into storage has ended.
        deeds.store.abandon_claims(deeds.clock.now()).await?;
    }
    let (jobs, exports) = jobs(&config, &deeds, &files);
    let parts = TreeDeps {
        store: deeds.store.clone(),
        keys: deeds.keys.clone(),
        chat: chat.clone(),
        calls: calls(&config, &deeds, ice.clone(), node),
        media: crate::actors::media::MediaServiceConfig {
            certificate: Arc::new(identity),
            room: room_settings(&config),
            addresses: addresses(&config).into(),
        },
        turn: relays.map(|sockets| turn::TurnServerConfig {
            config: config.turn.clone(),
            addresses: relay_addresses(&config).into(),
            ice,
            random: deeds.entropy.clone(),
            sockets,
            tls: tls.map(Arc::new),
        }),
        clock: deeds.clock.clone(),
        metrics: metrics.clone(),
        bus: cluster.bus.clone(),
        bus_drivers: cluster.drivers,
        directory: cluster.directory,
        leases: cluster.leases.clone(),
        live_nodes: cluster.others,
        jobs: jobs.clone(),
        files: files.clone(),
    };
    let grown = Arc::new(OnceLock::new());
    let planted = build_tree(parts, &config, grown.clone());
    let engines =
        dynamic_supervisor("socketio", 4).temporary().mailbox(config.sessions.send_queue_capacity);
    let contacts = ContactService::new(
        deeds.store.clone(),
        deeds.cache.clone(),
        deeds.clock.clone(),
        DiscoveryLimits {
            region: config.auth.default_phone_region.as_str().into(),
            requests_per_minute: config.limits.contact_requests_per_minute,
            matches_per_hour: config.limits.address_book_lookups_per_hour,
            find_by_phone: config.chat.discoverable_by_phone,
        },
    );
    let services = AppState {
        config: config.clone(),
        clock: deeds.clock.clone(),
        node: node.to_string().into(),
        accounts: deeds.accounts.clone(),
        tokens: deeds.tokens.clone(),
        exports,
        jobs,
        contacts,
        chat,
        files,
        uploads: planted.uploads,
        living: planted.sessions,
        store: deeds.store.clone(),
        cache: deeds.cache.clone(),
        store_up: planted.store_health,
        tree: grown,
        operators: planted.admin,
        bus: cluster.bus,
        leases: cluster.leases,
        engines: engines.handle(),
        sockets: SocketLimiter::new(config.database.queue_capacity),
        metrics,
        draining: DrainFlag::default(),
    };
    let listener = {
        let services = services.clone();
        child("listener", move |_| HttpListener::new(services.clone(), &socket))
            .shutdown(Duration::from_secs(5))
    };
    let http = supervisor("http", Strategy::RestForOne).with(engines).with(listener);
    let living = launch(planted.root.with(http), options(&config, deeds.entropy.clone())).await?;
    let _ = services.tree.set(living.tree()); // set here only, once
    Ok(NodeRuntime {
        living,
        services,
        address,
        membership: planted.membership,
        _lock: cluster.lock,
        setup,
    })
}

fn turn_sockets(
    config: &Config,
    tls: bool,
) -> Result<Option<Arc<turn::TurnSockets>>, StartupError> {
    if !config.turn.runs() {
        return Ok(None);
    }
    turn::TurnSockets::bind(&config.turn, tls)
        .map(|s| Some(Arc::new(s)))
        .map_err(StartupError::Outside)
}

fn relay_addresses(config: &Config) -> Vec<IpAddr> {
    let own = &config.turn.external_relay_addresses;
    if own.is_empty() { addresses(config) } else { own.clone() }
}

fn ice(
    config: &Config,
    deeds: &DomainServices,
    relays: Option<&turn::TurnSockets>,
) -> TurnCredentials {
    let urls = |sockets| turn::urls(config, &relay_addresses(config), sockets);
    let embedded = relays.map(urls).unwrap_or_default();
    TurnCredentials::new(deeds.clock.clone(), &deeds.entropy, config.turn.clone(), embedded)
}

fn calls(
    config: &Config,
    deeds: &DomainServices,
    ice: TurnCredentials,
    node: NodeId,
) -> CallDomain {
    CallDomain::new(calls::CallDomainDeps {
        store: deeds.store.clone(),
        clock: deeds.clock.clone(),
        keys: deeds.keys.clone(),
        ice,
        config: config.calls.clone(),
        reach: config.chat.direct_conversations_from,
        node,
        cache: deeds.cache.clone(),
        rings_per_minute: config.limits.rings_per_callee_per_minute,
    })
}

fn room_settings(config: &Config) -> media::RoomConfig {
    let all = |n| if n == 0 { usize::MAX } else { n };
    media::RoomConfig {
        last_n_video: all(config.media.last_n_video),
        last_n_audio: config.media.last_n_audio,
        max_uplink_bps: config.media.max_uplink_bps,
        ..media::RoomConfig::default()
    }
}

fn listen(bind: SocketAddr) -> Result<TcpListener, StartupError> {
    let failed = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => ": another program listens there; set http.bind",
            std::io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege",
            _ => "",
        };
        StartupError::Outside(format!("cannot listen on {bind}: {error}{hint}"))
    };
    let domain = socket2::Domain::for_address(bind);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?; // a restart must not wait for old sockets
    socket.bind(&bind.into()).map_err(failed)?;
    socket.listen(4096).map_err(failed)?;
    Ok(socket.into())
}

fn options(config: &Config, entropy: RandomSource) -> LaunchOptions {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let threads = if config.node.actor_threads == 0 { cores } else { config.node.actor_threads };
    let s = &config.supervision;
    let patience = WatchdogThresholds {
        warn_after: s.warn(),
        replace_after: s.lost(),
        unrecoverable_after: s.exit(),
        on_unrecoverable: Arc::new(despair),
    };
    LaunchOptions { watchdog: patience, random: entropy, ..LaunchOptions::threads(threads) }
        .pool(MEDIA, media_threads(config))
        .pool(TURN, 1)
        .pool(BUS, 1)
}

/// A thread never came back: whoever keeps this process starts it again.
fn despair(stuck: StuckActor) {
    tracing::error!(
        actor.path = stuck.path,
        actor.message = stuck.message,
        "an actor holds its thread for good: the process ends"
    );
    std::process::exit(70); // EX_SOFTWARE of sysexits.h
}

impl NodeRuntime {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was put together of.
    pub const fn services(&self) -> &AppState {
        &self.services
    }

    /// Waits until the tree ends by itself, which it does only when restarting did not help.
    pub async fn failed(&self) -> ExitReason {
        self.living.exited().await
    }

    /// Waits until an operator wishes that this node leaves.
    pub async fn wants_to_leave(&self) {
        self.services.operators.drain_requested().await;
    }

    /// Hands every call over to other nodes, where there are some, and lets the old rooms play until
    /// their devices have moved.
    async fn hand_over(&self) {
        let Some(membership) = &self.membership else { return };
        let _ = membership.tell_control(LeaveCluster); // it ends with the node
        let calls = &self.services.living.calls;
        let handed = async {
            calls.hand_off_all().await;
            while calls.lingering_rooms() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let patience = self.services.config.node.shutdown() / 4;
        let _ = tokio::time::timeout(patience, handed).await; // what nobody took ends with the node
    }

    /// Goes down in order: takes nothing new, ends calls, tells every device to come back, ends sockets,
    /// then the tree from the listener down to the store. Gives how the root ended.
    pub async fn stop(self) -> ExitReason {
        self.services.draining.begin();
        self.hand_over().await;
        let people = self.services.living.event_router.local_connected_users();
        tracing::info!(connected.users = people, "draining connections");
        let deadline = self.services.config.node.shutdown();
        let going_on = self.services.living.calls.end_all_calls(deadline / 4).await;
        if going_on > 0 {
            tracing::warn!(calls = going_on, "call shutdown timed out");
        }
        self.services.living.event_router.start_draining(500);
        // Those who poll fetch their last words with one more request.
        let settled = async {
            while self.services.living.event_router.local_connected_users() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            socket::leave(&self.services.engines);
            while self.services.sockets.open() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(deadline / 8, settled).await; // the rest is cut off below
        let exit = self.living.shutdown(deadline / 2).await;
        if let Some(leases) = &self.services.leases
            && let Err(error) = leases.leave().await
        {
            tracing::warn!(%error, "cluster leave failed");
        }
        exit
    }
}

/// How an error is told on the command line: its words, and for faults its stable code.
pub fn told(error: &(dyn CodedError + Send + Sync)) -> String {
    format!("{error} ({})", error.code())
}
