//! The composition root: the only file that names every concrete type. A node is opened (settings
//! become services), launched (services become a running supervision tree) and, on a signal,
//! stopped in order.

mod cache;
mod cluster_services;
mod domain_services;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::error::CodedError;
use base::ids::NodeId;
use base::random::RandomSource;
use base::secret::Secret;
use store::NodeLock;

pub use self::cache::shared_cache;
use self::cluster_services::cluster;
pub use self::cluster_services::shared_bus;
use self::domain_services::jobs;
pub use self::domain_services::{DomainServices, open, open_vault, store_config};
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
use crate::domain::calls::{self, CallDomain, TurnCredentials};
use crate::domain::chat::ChatService;
use crate::domain::contacts::{ContactService, DiscoveryLimits};
use crate::domain::files::FileService;
use crate::domain::{accounts, vault};
use crate::http::listener::HttpListener;
use crate::http::{AppState, DrainFlag, SocketLimiter, socket};
use crate::integrations::blob_store;
use crate::telemetry;

/// Why a node cannot start, as a message for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// An obstacle on disk or on the network.
    #[error("{0}")]
    Environment(String),
    /// The database failed.
    #[error("database error: {0}")]
    Store(#[from] store::StoreError),
    /// Accounts or signing keys failed.
    #[error("account error: {0}")]
    Accounts(#[from] accounts::AccountError),
    /// The keys that seal secrets failed.
    #[error("error with sealed secrets: {0}")]
    Vault(#[from] vault::VaultError),
    /// The supervision tree did not start.
    #[error("the supervision tree did not start: {0}")]
    Launch(#[from] supervision::LaunchError),
}

/// A running node with its supervision tree and HTTP listener.
pub struct NodeRuntime {
    tree: supervision::RunningTree,
    services: AppState,
    address: SocketAddr,
    membership: Option<ActorRef<Membership>>,
    /// Held for the node's lifetime; the database releases it when the process ends.
    _lock: Option<Arc<NodeLock>>,
    /// The one-time setup token for the first administrator, if there is none yet.
    pub setup: Option<Secret<String>>,
}

/// Starts a node; on return it accepts requests.
///
/// # Errors
/// [`StartupError`] with a message for the operator.
pub async fn start(config: Config) -> Result<NodeRuntime, StartupError> {
    let config = Arc::new(config);
    let tls = crate::http::tls::tls(&config.http).map_err(StartupError::Environment)?; // reported before anything starts
    let metrics = telemetry::metrics::start().map_err(StartupError::Environment)?;
    let socket = listen(config.http.bind)?;
    let address =
        socket.local_addr().map_err(|error| StartupError::Environment(error.to_string()))?;
    let relays = turn_sockets(&config, tls.is_some())?;
    let domain = open(&config).await?;
    let setup = domain.accounts.setup_token().await?;

    let chat = ChatService::new(
        domain.store.clone(),
        domain.clock.clone(),
        domain.entropy.clone(),
        config.chat.clone(),
    );
    let identity =
        media::DtlsCertificate::generate().map_err(|e| StartupError::Environment(e.to_string()))?;
    let node = NodeId::new();
    let cluster = cluster(&config, &domain, node).await?;
    if cluster.leases.is_none() {
        let open_calls = domain.store.open_calls().await?; // by a previous run
        domain.store.close_calls(open_calls, domain.clock.now()).await?;
    }
    let ice = ice(&config, &domain, relays.as_deref());
    let files = FileService::new(
        domain.store.clone(),
        domain.clock.clone(),
        blob_store::open(&config.storage, &config.node.data_dir)
            .map_err(StartupError::Environment)?,
        &config.storage.directory(&config.node.data_dir),
        config.files.clone(),
    );
    if config.database.url.is_empty() {
        // Nobody else uses this database: whoever claimed blobs has ended.
        domain.store.abandon_claims(domain.clock.now()).await?;
    }
    let (jobs, exports) = jobs(&config, &domain, &files);
    let deps = TreeDeps {
        store: domain.store.clone(),
        keys: domain.keys.clone(),
        chat: chat.clone(),
        calls: calls(&config, &domain, ice.clone(), node),
        media: crate::actors::media::MediaServiceConfig {
            certificate: Arc::new(identity),
            room: room_settings(&config),
            addresses: addresses(&config).into(),
        },
        turn: relays.map(|sockets| turn::TurnServerConfig {
            config: config.turn.clone(),
            addresses: relay_addresses(&config).into(),
            ice,
            random: domain.entropy.clone(),
            sockets,
            tls: tls.map(Arc::new),
        }),
        clock: domain.clock.clone(),
        metrics: metrics.clone(),
        bus: cluster.bus.clone(),
        bus_drivers: cluster.drivers,
        directory: cluster.directory,
        leases: cluster.leases.clone(),
        live_nodes: cluster.live_nodes,
        jobs: jobs.clone(),
        files: files.clone(),
    };
    let tree_cell = Arc::new(OnceLock::new());
    let built = build_tree(deps, &config, tree_cell.clone());
    let engines =
        dynamic_supervisor("socketio", 4).temporary().mailbox(config.sessions.send_queue_capacity);
    let contacts = ContactService::new(
        domain.store.clone(),
        domain.cache.clone(),
        domain.clock.clone(),
        DiscoveryLimits {
            region: config.auth.default_phone_region.as_str().into(),
            requests_per_minute: config.limits.contact_requests_per_minute,
            matches_per_hour: config.limits.address_book_lookups_per_hour,
            find_by_phone: config.chat.discoverable_by_phone,
        },
    );
    let services = AppState {
        config: config.clone(),
        clock: domain.clock.clone(),
        node: node.to_string().into(),
        accounts: domain.accounts.clone(),
        api_tokens: domain.tokens.clone(),
        exports,
        jobs,
        contacts,
        chat,
        files,
        uploads: built.uploads,
        sessions: built.sessions,
        store: domain.store.clone(),
        cache: domain.cache.clone(),
        store_up: built.store_health,
        tree: tree_cell,
        admin: built.admin,
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
    let tree = launch(built.root.with(http), options(&config, domain.entropy.clone())).await?;
    let _ = services.tree.set(tree.tree()); // the only place that sets it
    Ok(NodeRuntime {
        tree,
        services,
        address,
        membership: built.membership,
        _lock: cluster.lock,
        setup,
    })
}

fn turn_sockets(
    config: &Config,
    tls: bool,
) -> Result<Option<Arc<turn::TurnSockets>>, StartupError> {
    if !config.turn.is_embedded_enabled() {
        return Ok(None);
    }
    turn::TurnSockets::bind(&config.turn, tls)
        .map(|s| Some(Arc::new(s)))
        .map_err(StartupError::Environment)
}

fn relay_addresses(config: &Config) -> Vec<IpAddr> {
    let configured = &config.turn.external_relay_addresses;
    if configured.is_empty() { addresses(config) } else { configured.clone() }
}

fn ice(
    config: &Config,
    domain: &DomainServices,
    relays: Option<&turn::TurnSockets>,
) -> TurnCredentials {
    let urls = |sockets| turn::urls(config, &relay_addresses(config), sockets);
    let embedded = relays.map(urls).unwrap_or_default();
    TurnCredentials::new(domain.clock.clone(), &domain.entropy, config.turn.clone(), embedded)
}

fn calls(
    config: &Config,
    domain: &DomainServices,
    ice: TurnCredentials,
    node: NodeId,
) -> CallDomain {
    CallDomain::new(calls::CallDomainDeps {
        store: domain.store.clone(),
        clock: domain.clock.clone(),
        keys: domain.keys.clone(),
        ice,
        config: config.calls.clone(),
        reach: config.chat.direct_conversations_from,
        node,
        cache: domain.cache.clone(),
        rings_per_minute: config.limits.rings_per_callee_per_minute,
    })
}

fn room_settings(config: &Config) -> media::RoomConfig {
    let unlimited_if_zero = |n| if n == 0 { usize::MAX } else { n };
    media::RoomConfig {
        last_n_video: unlimited_if_zero(config.media.last_n_video),
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
        StartupError::Environment(format!("cannot listen on {bind}: {error}{hint}"))
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
    let thresholds = WatchdogThresholds {
        warn_after: s.warn_after(),
        replace_after: s.replace_thread_after(),
        unrecoverable_after: s.exit_after(),
        on_unrecoverable: Arc::new(exit_process),
    };
    LaunchOptions { watchdog: thresholds, random: entropy, ..LaunchOptions::threads(threads) }
        .pool(MEDIA, media_threads(config))
        .pool(TURN, 1)
        .pool(BUS, 1)
}

/// A thread is blocked for good: the process ends, and its service manager restarts it.
fn exit_process(stuck: StuckActor) {
    tracing::error!(
        actor.path = stuck.path,
        actor.message = stuck.message,
        "actor thread blocked for good, process exiting"
    );
    std::process::exit(70); // EX_SOFTWARE of sysexits.h
}

impl NodeRuntime {
    /// The address on which it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The state shared by all HTTP handlers.
    pub const fn services(&self) -> &AppState {
        &self.services
    }

    /// Waits until the supervision tree ends by itself, which happens only when restarting did not
    /// help.
    pub async fn failed(&self) -> ExitReason {
        self.tree.exited().await
    }

    /// Waits until an operator requests that this node leaves the cluster.
    pub async fn wants_to_leave(&self) {
        self.services.admin.drain_requested().await;
    }

    /// Hands every call over to other nodes, if there are any, and keeps the old rooms running
    /// until their devices have moved.
    async fn hand_over_calls(&self) {
        let Some(membership) = &self.membership else { return };
        let _ = membership.tell_control(LeaveCluster); // it ends with the node
        let calls = &self.services.sessions.calls;
        let hand_over = async {
            calls.hand_off_all().await;
            while calls.lingering_rooms() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let timeout = self.services.config.node.shutdown_timeout() / 4;
        let _ = tokio::time::timeout(timeout, hand_over).await; // rooms that no node took over end with this one
    }

    /// Shuts down in order: stops accepting, ends calls, tells every device to reconnect, closes
    /// sockets, then stops the tree from the listener down to the store. Returns the exit reason of
    /// the root.
    pub async fn stop(self) -> ExitReason {
        self.services.draining.begin();
        self.hand_over_calls().await;
        let users = self.services.sessions.event_router.local_connected_users();
        tracing::info!(connected.users = users, "draining connections");
        let deadline = self.services.config.node.shutdown_timeout();
        let remaining = self.services.sessions.calls.end_all_calls(deadline / 4).await;
        if remaining > 0 {
            tracing::warn!(calls = remaining, "call shutdown timed out");
        }
        self.services.sessions.event_router.start_draining(500);
        // Long-polling clients fetch their last messages with one more request.
        let drained = async {
            while self.services.sessions.event_router.local_connected_users() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            socket::close_all(&self.services.engines);
            while self.services.sockets.open() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(deadline / 8, drained).await; // remaining connections are closed below
        let exit = self.tree.shutdown(deadline / 2).await;
        if let Some(leases) = &self.services.leases
            && let Err(error) = leases.leave().await
        {
            tracing::warn!(%error, "cluster leave failed");
        }
        exit
    }
}

/// Formats an error for the command line: its message and its stable code.
pub fn describe_error(error: &(dyn CodedError + Send + Sync)) -> String {
    format!("{error} ({})", error.code())
}
