//! The composition root: the only file that names every concrete type. A node is opened (settings
//! become parts), launched (parts become a living tree) and, on a signal, brought down in order.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::clock::Clock;
use base::entropy::Entropy;
use base::fault::Fault;
use base::ids::NodeId;
use base::secret::Secret;
use store::Store;

use crate::actors::media::{MEDIA, addresses};
use crate::actors::supervision::{
    self, Exit, Options, Patience, Strategy, Stuck, child, launch, nursery, supervisor,
};
use crate::actors::tree::{Parts, media_threads, tree};
use crate::actors::turn::{self, TURN};
use crate::cluster::{Cache, EmbeddedCache};
use crate::config::{Config, Synchronous};
use crate::domain::accounts::{self, Accounts, Keyring, Passwords};
use crate::domain::calls::{self, Calls, Ice};
use crate::domain::chat::Chat;
use crate::domain::contacts::{Contacts, Rules};
use crate::domain::erasure::Erasure;
use crate::domain::exports::Exports;
use crate::domain::jobs::Jobs;
use crate::domain::shelf::Shelf;
use crate::domain::tokens::Tokens;
use crate::domain::vault::{self, Vault};
use crate::http::listener::Listener;
use crate::http::{Draining, Services, Sockets, socket};
use crate::telemetry;

/// Why a node cannot start or go on, in words for whoever runs it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something on disk or on the network is in the way.
    #[error("{0}")]
    Outside(String),
    /// The database.
    #[error("the database cannot be used: {0}")]
    Store(#[from] store::Error),
    /// Accounts and keys.
    #[error("accounts cannot be used: {0}")]
    Accounts(#[from] accounts::Error),
    /// The keys that seal secrets.
    #[error("sealed secrets cannot be used: {0}")]
    Vault(#[from] vault::Error),
    /// The tree did not come up.
    #[error("the node did not come up: {0}")]
    Launch(#[from] supervision::LaunchError),
}

/// The deeds, without anything that lives: what the command line needs.
pub struct Deeds {
    /// Where things are kept.
    pub store: Store,
    /// Deeds of accounts.
    pub accounts: Accounts,
    /// Deeds of API tokens.
    pub tokens: Tokens,
    /// What seals secrets.
    pub vault: Vault,
    clock: Clock,
    entropy: Entropy,
    cache: Arc<dyn Cache>,
    keys: Keyring,
}

/// Opens the database (and migrates it) and puts the deeds together.
///
/// # Errors
/// [`Error`], in words.
pub async fn open(config: &Config) -> Result<Deeds, Error> {
    let (clock, entropy) = (Clock::wall(), Entropy::system());
    let data = &config.node.data_dir;
    std::fs::create_dir_all(data).map_err(|error| {
        Error::Outside(format!("node.data_dir {} cannot be made: {error}", data.display()))
    })?;
    let store = Store::open(store_config(config)).await?;
    let cache: Arc<dyn Cache> = Arc::new(EmbeddedCache::new(clock.clone(), config.limits.keys));
    let vault = open_vault(config, &entropy)?;
    let issuer = &config.http.public_url;
    let keys = Keyring::open(store.clone(), vault.clone(), clock.clone(), issuer).await?;
    let accounts = Accounts::new(accounts::Parts {
        store: store.clone(),
        cache: cache.clone(),
        keys: keys.clone(),
        vault: vault.clone(),
        passwords: Passwords::start(&config.auth)?,
        clock: clock.clone(),
        entropy: entropy.clone(),
        config: config.auth.clone(),
        limits: config.limits.clone(),
    });
    let tokens = Tokens::new(store.clone(), clock.clone(), entropy.clone());
    Ok(Deeds { store, accounts, tokens, vault, clock, entropy, cache, keys })
}

/// The keys of the settings, or of their file; in the data directory one is made if need be.
///
/// # Errors
/// If there is none, or one cannot be read.
pub fn open_vault(config: &Config, entropy: &Entropy) -> Result<Vault, vault::Error> {
    let secrets = &config.secrets;
    let keys = match secrets.key_file(&config.node.data_dir) {
        Some(file) => vault::read_keys(&file, secrets.file.as_os_str().is_empty(), entropy)?,
        None => secrets.keys.clone(),
    };
    Vault::new(&keys, entropy.clone())
}

/// Work that must be done, and the exports that are part of it.
fn jobs(config: &Config, deeds: &Deeds) -> (Jobs, Exports) {
    let (store, clock) = (deeds.store.clone(), deeds.clock.clone());
    let shelf = Shelf::new(config.node.data_dir.join("exports"));
    let exports = Exports::new(store.clone(), clock.clone(), shelf.clone(), config.auth.export());
    let erasure = Erasure::new(store.clone(), clock.clone(), shelf);
    let works: Vec<Arc<dyn crate::domain::jobs::Work>> =
        vec![Arc::new(exports.clone()), Arc::new(erasure)];
    (Jobs::new(store, clock, deeds.entropy.clone(), works, &config.jobs), exports)
}

/// The store's settings, from ours.
pub fn store_config(config: &Config) -> store::Config {
    let location = config.database.location(&config.node.data_dir);
    let url = if config.database.url.is_empty() { format!("sqlite:{location}") } else { location };
    store::Config {
        url,
        connections: config.database.connections,
        readers: config.database.readers,
        queue: config.database.queue,
        deadline: config.database.deadline(),
        group: config.database.group,
        synchronous: match config.database.synchronous {
            Synchronous::Full => store::Synchronous::Full,
            Synchronous::Normal => store::Synchronous::Normal,
        },
    }
}

/// A living node.
pub struct Node {
    living: supervision::Living,
    services: Services,
    address: SocketAddr,
    /// The one-time link for the first administrator, if there is none yet.
    pub setup: Option<Secret<String>>,
}

/// Brings a node up; when it answers, it takes requests.
///
/// # Errors
/// [`Error`], in words.
pub async fn start(config: Config) -> Result<Node, Error> {
    let config = Arc::new(config);
    let tls = crate::http::tls::tls(&config.http).map_err(Error::Outside)?; // said before anything starts
    let metrics = telemetry::metrics::start().map_err(Error::Outside)?;
    let socket = listen(config.http.bind)?;
    let address = socket.local_addr().map_err(|error| Error::Outside(error.to_string()))?;
    let relays = turn_sockets(&config, tls.is_some())?;
    let deeds = open(&config).await?;
    let setup = deeds.accounts.setup_token().await?;

    let chat = Chat::new(
        deeds.store.clone(),
        deeds.clock.clone(),
        deeds.entropy.clone(),
        config.chat.clone(),
    );
    let left = deeds.store.open_calls().await?; // by a life before
    deeds.store.close_calls(left, deeds.clock.now()).await?;
    let identity = media::Identity::generate().map_err(|e| Error::Outside(e.to_string()))?;
    let node = NodeId::new();
    let ice = ice(&config, &deeds, relays.as_deref());
    let (jobs, exports) = jobs(&config, &deeds);
    let parts = Parts {
        store: deeds.store.clone(),
        keys: deeds.keys.clone(),
        chat: chat.clone(),
        calls: calls(&config, &deeds, ice.clone(), node),
        media: crate::actors::media::Settings {
            identity: Arc::new(identity),
            room: room_settings(&config),
            addresses: addresses(&config).into(),
        },
        turn: relays.map(|sockets| turn::Settings {
            config: config.turn.clone(),
            addresses: relay_addresses(&config).into(),
            ice,
            entropy: deeds.entropy.clone(),
            sockets,
            tls: tls.map(Arc::new),
        }),
        clock: deeds.clock.clone(),
        metrics: metrics.clone(),
        jobs: jobs.clone(),
    };
    let (root, living, store_up) = tree(&parts, &config);
    let engines = nursery("socketio", 4).temporary().mailbox(config.sessions.queue_frames);
    let contacts = Contacts::new(
        deeds.store.clone(),
        deeds.cache.clone(),
        deeds.clock.clone(),
        Rules {
            region: config.auth.default_region.as_str().into(),
            requests_per_minute: config.limits.contact_requests_per_minute,
            matches_per_hour: config.limits.contact_matches_per_hour,
            find_by_phone: config.chat.find_by_phone,
        },
    );
    let services = Services {
        config: config.clone(),
        clock: deeds.clock.clone(),
        node: node.to_string().into(),
        accounts: deeds.accounts.clone(),
        tokens: deeds.tokens.clone(),
        exports,
        jobs,
        contacts,
        chat,
        living,
        store: deeds.store.clone(),
        cache: deeds.cache.clone(),
        store_up,
        tree: Arc::new(OnceLock::new()),
        engines: engines.handle(),
        sockets: Sockets::default(),
        metrics,
        draining: Draining::default(),
    };
    let listener = {
        let services = services.clone();
        child("listener", move |_| Listener::new(services.clone(), &socket))
            .shutdown(Duration::from_secs(5))
    };
    let http = supervisor("http", Strategy::RestForOne).with(engines).with(listener);
    let living = launch(root.with(http), options(&config, deeds.entropy.clone())).await?;
    let _ = services.tree.set(living.tree()); // set here only, once
    Ok(Node { living, services, address, setup })
}

fn turn_sockets(config: &Config, tls: bool) -> Result<Option<Arc<turn::Sockets>>, Error> {
    if !config.turn.runs() {
        return Ok(None);
    }
    turn::Sockets::bind(&config.turn, tls).map(|s| Some(Arc::new(s))).map_err(Error::Outside)
}

fn relay_addresses(config: &Config) -> Vec<IpAddr> {
    let own = &config.turn.relay_addresses;
    if own.is_empty() { addresses(config) } else { own.clone() }
}

fn ice(config: &Config, deeds: &Deeds, relays: Option<&turn::Sockets>) -> Ice {
    let urls = |sockets| turn::urls(config, &relay_addresses(config), sockets);
    let embedded = relays.map(urls).unwrap_or_default();
    Ice::new(deeds.clock.clone(), &deeds.entropy, config.turn.clone(), embedded)
}

fn calls(config: &Config, deeds: &Deeds, ice: Ice, node: NodeId) -> Calls {
    Calls::new(calls::Parts {
        store: deeds.store.clone(),
        clock: deeds.clock.clone(),
        keys: deeds.keys.clone(),
        ice,
        config: config.calls.clone(),
        reach: config.chat.direct,
        node,
    })
}

fn room_settings(config: &Config) -> media::Settings {
    let all = |n| if n == 0 { usize::MAX } else { n };
    media::Settings {
        last_n_video: all(config.media.last_n_video),
        last_n_audio: config.media.last_n_audio,
        most_up: config.media.max_up_bps,
        ..media::Settings::default()
    }
}

fn listen(bind: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |error: std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => ": another program listens there; set http.bind",
            std::io::ErrorKind::PermissionDenied => ": ports below 1024 need a privilege",
            _ => "",
        };
        Error::Outside(format!("cannot listen on {bind}: {error}{hint}"))
    };
    let domain = socket2::Domain::for_address(bind);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).map_err(failed)?;
    socket.set_reuse_address(true).map_err(failed)?; // a restart must not wait for old sockets
    socket.bind(&bind.into()).map_err(failed)?;
    socket.listen(4096).map_err(failed)?;
    Ok(socket.into())
}

fn options(config: &Config, entropy: Entropy) -> Options {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let threads = if config.node.actor_threads == 0 { cores } else { config.node.actor_threads };
    let s = &config.supervision;
    let patience = Patience {
        warn: s.warn(),
        give_up: s.lost(),
        despair: s.exit(),
        last_resort: Arc::new(despair),
    };
    Options { patience, entropy, ..Options::threads(threads) }
        .pool(MEDIA, media_threads(config))
        .pool(TURN, 1)
}

/// A thread never came back: whoever keeps this process starts it again.
fn despair(stuck: Stuck) {
    tracing::error!(
        actor.path = stuck.path,
        actor.message = stuck.message,
        "an actor holds its thread for good: the process ends"
    );
    std::process::exit(70); // EX_SOFTWARE of sysexits.h
}

impl Node {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it was put together of.
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// Waits until the tree ends by itself, which it does only when restarting did not help.
    pub async fn failed(&self) -> Exit {
        self.living.exited().await
    }

    /// Goes down in order: takes nothing new, tells every device to come back, ends sockets, then
    /// the tree from the listener down to the store. Gives how the root ended.
    pub async fn stop(self) -> Exit {
        self.services.draining.begin();
        let people = self.services.living.switchboard.connected();
        tracing::info!(connected.users = people, "stopping: devices are told to come back");
        self.services.living.switchboard.leave(500);
        let deadline = self.services.config.node.shutdown();
        // Those who poll fetch their last words with one more request.
        let settled = async {
            while self.services.living.switchboard.connected() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            socket::leave(&self.services.engines);
            while self.services.sockets.open() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(deadline / 8, settled).await; // the rest is cut off below
        self.living.shutdown(deadline).await
    }
}

/// How an error is told on the command line: its words, and for faults its stable code.
pub fn told(error: &(dyn Fault + Send + Sync)) -> String {
    format!("{error} ({})", error.code())
}
