//! The supervision tree: children start top to bottom and stop bottom to top.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::backoff::Backoff;
use base::clock::Clock;
use base::ids::NodeId;
use metrics_exporter_prometheus::PrometheusHandle;
use store::Store;

use super::admin::AdminService;
use super::bus;
use super::calls::{self as rooms, CallRoom, CallService};
use super::chat::{ChatShard, ChatShards};
use super::delivery::EventRouter;
use super::expiry::MessageExpirer;
use super::housekeeping::HousekeepingActor;
use super::jobs::JobWorker;
use super::media::{self, IceMux, MEDIA};
use super::membership::{self, ClusterEventHandler, LocalNodeServices, Membership};
use super::peer_nodes::PeerNodes;
use super::presence::{PresenceActor, PresenceHandle};
use super::scheduler::{self, Scheduler};
use super::sessions::{SessionActor, SessionDeps, SessionService};
use super::store_health::{StoreHealthFlag, StoreHealthMonitor};
use super::supervision::{
    ActorRef, Strategy, SupervisionTree, SupervisorSpec, ThreadAffinity, child, dynamic_supervisor,
    supervisor,
};
use super::turn::{self, TURN};
use super::uploads::{UploadActor, UploadRegistry};
use crate::cluster::{AmqpBus, Bus, NodeLeases, OwnershipDirectory};
use crate::config::Config;
use crate::domain::accounts::TokenSigner;
use crate::domain::calls;
use crate::domain::chat::ChatService;
use crate::domain::files::FileService;
use crate::domain::jobs::JobRunner;

/// The dependencies of the actors.
pub struct TreeDeps {
    /// The database of the server.
    pub store: Store,
    /// The signer of access tokens.
    pub keys: TokenSigner,
    /// The chat domain.
    pub chat: ChatService,
    /// Clock of the server.
    pub clock: Clock,
    /// The call domain.
    pub calls: calls::CallDomain,
    /// What the SFU rooms share.
    pub media: media::MediaServiceConfig,
    /// The configuration of the embedded TURN server, if it is enabled.
    pub turn: Option<turn::TurnServerConfig>,
    /// The Prometheus recorder.
    pub metrics: PrometheusHandle,
    /// The event bus to other nodes.
    pub bus: Arc<dyn Bus>,
    /// The driver of the AMQP connection, if the bus leads to other processes.
    pub bus_drivers: Option<AmqpBus>,
    /// The ownership directory.
    pub directory: Arc<dyn OwnershipDirectory>,
    /// The heartbeat lease of this node, in a cluster.
    pub leases: Option<NodeLeases>,
    /// The nodes that are alive at startup.
    pub live_nodes: HashSet<NodeId>,
    /// Runs background jobs.
    pub jobs: JobRunner,
    /// The file domain.
    pub files: FileService,
}

/// A tree that is not launched yet, and the handles to its actors.
pub struct BuiltTree {
    /// The root supervisor without the HTTP listeners.
    pub root: SupervisorSpec,
    /// The realtime side of the server.
    pub sessions: SessionService,
    /// The registry of uploads in progress.
    pub uploads: UploadRegistry,
    /// Whether the database answers.
    pub store_health: StoreHealthFlag,
    /// Administration of all nodes.
    pub admin: AdminService,
    /// The membership actor, in a cluster.
    pub membership: Option<ActorRef<Membership>>,
}

/// Builds the tree; `tree` is set once it is launched.
pub fn build_tree(
    deps: TreeDeps,
    config: &Config,
    tree: Arc<OnceLock<SupervisionTree>>,
) -> BuiltTree {
    let peer_nodes = PeerNodes::new(deps.bus.clone());
    // before the first device connects, so that no user is missed
    peer_nodes.set_members(&deps.live_nodes);
    let event_router = EventRouter::new(peer_nodes.clone());
    let admin = AdminService::new(tree, peer_nodes.clone());
    let store_health_flag = StoreHealthFlag::default();

    let store = {
        let (store, store_health_flag) = (deps.store.clone(), store_health_flag.clone());
        child("store", move |_| StoreHealthMonitor::new(store.clone(), store_health_flag.clone()))
    };
    let (chat, chat_shards) = chat(&deps, config, &event_router);
    let sessions = dynamic_supervisor::<SessionActor>("sessions", SESSION_PARTITIONS)
        .temporary()
        .mailbox(config.sessions.send_queue_capacity);
    let rooms = dynamic_supervisor::<CallRoom>("rooms", ROOM_PARTITIONS).transient();
    let calls = CallService::new(rooms::CallServiceDeps {
        rooms: rooms.handle(),
        event_router: event_router.clone(),
        peer_nodes: peer_nodes.clone(),
        directory: deps.directory.clone(),
        domain: deps.calls.clone(),
        media: deps.media.clone(),
    });
    let presence = PresenceHandle::new(
        deps.clock.clone(),
        config.chat.presence_offline_delay(),
        config.chat.presence_min_interval(),
    );
    peer_nodes.set_presence_hook({
        let presence = presence.clone();
        Box::new(move |user| Box::new(presence.connect(user)))
    });
    let presence_actor = {
        let (presence, store) = (presence.clone(), deps.store.clone());
        let event_router = event_router.clone();
        child("presence", move |_| {
            PresenceActor::new(presence.clone(), store.clone(), event_router.clone())
        })
    };
    let session_service = SessionService::new(
        sessions.handle(),
        event_router.clone(),
        SessionDeps {
            chat: deps.chat.clone(),
            chat_shards,
            calls: calls.clone(),
            presence: presence.clone(),
        },
        config.sessions.clone(),
        config.database.queue_capacity,
    );
    let upload_supervisor =
        dynamic_supervisor::<UploadActor>("uploads", UPLOAD_PARTITIONS).temporary();
    let uploads = UploadRegistry::new(upload_supervisor.handle(), deps.files.clone());
    let housekeeping = {
        let (keys, metrics) = (deps.keys.clone(), deps.metrics.clone());
        child("housekeeping", move |_| HousekeepingActor::new(keys.clone(), metrics.clone()))
    };
    let scheduler = {
        let deps = scheduler::SchedulerDeps {
            store: deps.store.clone(),
            directory: deps.directory.clone(),
            clock: deps.clock.clone(),
            outbox_retention: config.chat.notification_retention(),
            calls: calls.clone(),
            files: deps.files.clone(),
        };
        child("scheduler", move |_| Scheduler::new(deps.clone()))
    };
    let membership = deps.leases.clone().map(|leases| {
        let services = Arc::new(LocalNodeServices {
            calls: calls.clone(),
            event_router: event_router.clone(),
            store: deps.store.clone(),
        });
        let deps = membership::MembershipDeps { leases, peer_nodes: peer_nodes.clone(), services };
        child("membership", move |_| Membership::new(deps.clone()))
    });
    let membership_ref = membership.as_ref().map(|membership| membership.handle());
    if let Some(membership) = membership_ref.clone() {
        let admin = admin.clone();
        deps.bus.set_handler(Arc::new(ClusterEventHandler {
            peer_nodes,
            event_router,
            calls,
            presence,
            membership,
            admin,
        }));
    }

    let expiry = {
        let (session_service, store) = (session_service.clone(), deps.store.clone());
        let interval = config.chat.expiry_interval();
        child("expiry", move |_| {
            MessageExpirer::new(session_service.clone(), store.clone(), interval)
        })
    };

    let job_workers = jobs(&deps, &session_service);
    let ice_muxes = ice_muxes(&deps, config);
    let mut node = supervisor("node", Strategy::RestForOne).with(store);
    if let Some(drivers) = &deps.bus_drivers {
        node = node.with(bus::spec(drivers));
    }
    node = node.with(chat).with(ice_muxes);
    if let Some(turn_config) = deps.turn.clone() {
        let turn = child("turn", move |_| turn::TurnServer::new(turn_config.clone()));
        node = node.with(turn.on_threads(ThreadAffinity::Pool(TURN)));
    }
    let node = node
        .with(rooms)
        .with(sessions)
        .with(upload_supervisor)
        .with(presence_actor)
        .with(job_workers.with(expiry).with(housekeeping))
        .with(scheduler);
    let root = match membership {
        Some(membership) => node.with(membership),
        None => node,
    };
    BuiltTree {
        root,
        sessions: session_service,
        uploads,
        store_health: store_health_flag,
        admin,
        membership: membership_ref,
    }
}

/// The supervisor of the job workers; each runs one job at a time.
fn jobs(deps: &TreeDeps, session_service: &SessionService) -> SupervisorSpec {
    (0..JOB_WORKERS).fold(supervisor("jobs", Strategy::OneForOne), |spec, n| {
        let (jobs, session_service) = (deps.jobs.clone(), session_service.clone());
        let worker = child(format!("worker-{n}"), move |_| {
            JobWorker::new(jobs.clone(), session_service.clone())
        });
        spec.with(worker.backoff(Backoff { initial: Duration::ZERO, max: Duration::from_secs(5) }))
    })
}

const JOB_WORKERS: usize = 2;
const CHAT_SHARDS: usize = 8;
const SESSION_PARTITIONS: usize = 4;
const ROOM_PARTITIONS: usize = 2;
const UPLOAD_PARTITIONS: usize = 2;

/// Number of threads that forward media.
pub fn media_threads(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    if config.media.threads == 0 { cores } else { config.media.threads }
}

/// The supervisor of the ICE muxes, one on each media thread.
fn ice_muxes(deps: &TreeDeps, config: &Config) -> SupervisorSpec {
    let mut spec = supervisor("media", Strategy::OneForOne);
    for n in 0..media_threads(config) {
        #[expect(clippy::cast_possible_truncation, reason = "the settings were checked")]
        let port = if config.media.port_base == 0 { 0 } else { config.media.port_base + n as u16 };
        let addresses = deps.media.addresses.clone();
        let mux_config = media::IceMuxConfig { bind: config.media.bind, port, addresses };
        let port = child(n.to_string(), move |_| IceMux::new(mux_config.clone()));
        spec = spec.with(port.on_threads(ThreadAffinity::Thread(MEDIA, n)));
    }
    spec
}

fn chat(
    deps: &TreeDeps,
    config: &Config,
    event_router: &EventRouter,
) -> (SupervisorSpec, ChatShards) {
    let mut spec = supervisor("chat", Strategy::OneForOne);
    let mut shard_refs = Vec::new();
    for n in 0..CHAT_SHARDS {
        let (chat, event_router) = (deps.chat.clone(), event_router.clone());
        let max_queued = config.chat.shard_queue_capacity;
        let shard = child(n.to_string(), move |_| {
            ChatShard::new(chat.clone(), event_router.clone(), max_queued)
        })
        .mailbox(config.chat.shard_queue_capacity)
        .backoff(Backoff { initial: Duration::ZERO, max: Duration::from_secs(5) });
        shard_refs.push(shard.handle());
        spec = spec.with(shard);
    }
    (spec, ChatShards::new(shard_refs))
}
