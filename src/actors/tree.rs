//! Who lives, and who restarts whom: children start top to bottom and stop bottom to top.

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
use super::expiry::MessageExpirer;
use super::housekeeping::HousekeepingActor;
use super::jobs::JobWorker;
use super::media::{self, IceMux, MEDIA};
use super::membership::{self, ClusterEventHandler, LocalNodeServices, Membership};
use super::peer_nodes::PeerNodes;
use super::presence::{PresenceActor, PresenceHandle};
use super::scheduler::{self, Scheduler};
use super::sessions::{EventRouter, SessionActor, SessionDeps, SessionService};
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

/// What the actors need of the rest.
pub struct TreeDeps {
    /// Where things are kept.
    pub store: Store,
    /// What signs access tokens.
    pub keys: TokenSigner,
    /// The deeds of chat.
    pub chat: ChatService,
    /// The time.
    pub clock: Clock,
    /// The deeds of calls.
    pub calls: calls::CallDomain,
    /// What rooms of calls share.
    pub media: media::MediaServiceConfig,
    /// What relays media for those whom nobody can reach, if it is to run here.
    pub turn: Option<turn::TurnServerConfig>,
    /// What was measured.
    pub metrics: PrometheusHandle,
    /// The way to other nodes.
    pub bus: Arc<dyn Bus>,
    /// What keeps that way open, where it leads to other processes.
    pub bus_drivers: Option<AmqpBus>,
    /// Which node has what.
    pub directory: Arc<dyn OwnershipDirectory>,
    /// This node's word that it lives, where others may be.
    pub leases: Option<NodeLeases>,
    /// The nodes that live.
    pub live_nodes: HashSet<NodeId>,
    /// Work that must be done.
    pub jobs: JobRunner,
    /// Files that people send.
    pub files: FileService,
}

/// A tree that is not launched yet, and the ways into it.
pub struct BuiltTree {
    /// The tree without its listeners.
    pub root: SupervisorSpec,
    /// The living side of the service.
    pub sessions: SessionService,
    /// To uploads that go on.
    pub uploads: UploadRegistry,
    /// Whether the database answers.
    pub store_health: StoreHealthFlag,
    /// What operators see and do.
    pub admin: AdminService,
    /// Who knows of the other nodes, where there may be some.
    pub membership: Option<ActorRef<Membership>>,
}

/// Puts the tree together; `grown` will hold it once it is launched.
pub fn build_tree(
    parts: TreeDeps,
    config: &Config,
    grown: Arc<OnceLock<SupervisionTree>>,
) -> BuiltTree {
    let neighbours = PeerNodes::new(parts.bus.clone());
    neighbours.set_members(&parts.live_nodes); // before the first device comes: nobody is overlooked
    let switchboard = EventRouter::new(neighbours.clone());
    let operators = AdminService::new(grown, neighbours.clone());
    let up = StoreHealthFlag::default();

    let store = {
        let (store, up) = (parts.store.clone(), up.clone());
        child("store", move |_| StoreHealthMonitor::new(store.clone(), up.clone()))
    };
    let (chat, lanes) = chat(&parts, config, &switchboard);
    let sessions = dynamic_supervisor::<SessionActor>("sessions", SESSION_PARTITIONS)
        .temporary()
        .mailbox(config.sessions.send_queue_capacity);
    let rooms = dynamic_supervisor::<CallRoom>("rooms", ROOM_PARTITIONS).transient();
    let calls = CallService::new(rooms::CallServiceDeps {
        rooms: rooms.handle(),
        event_router: switchboard.clone(),
        peer_nodes: neighbours.clone(),
        directory: parts.directory.clone(),
        domain: parts.calls.clone(),
        media: parts.media.clone(),
    });
    let presence = PresenceHandle::new(
        parts.clock.clone(),
        config.chat.presence_grace(),
        config.chat.presence_pause(),
    );
    neighbours.set_presence_hook({
        let presence = presence.clone();
        Box::new(move |user| Box::new(presence.connect(user)))
    });
    let teller = {
        let (presence, store) = (presence.clone(), parts.store.clone());
        let switchboard = switchboard.clone();
        child("presence", move |_| {
            PresenceActor::new(presence.clone(), store.clone(), switchboard.clone())
        })
    };
    let living = SessionService::new(
        sessions.handle(),
        switchboard.clone(),
        SessionDeps {
            chat: parts.chat.clone(),
            chat_shards: lanes,
            calls: calls.clone(),
            presence: presence.clone(),
        },
        config.sessions.clone(),
        config.database.queue_capacity,
    );
    let running = dynamic_supervisor::<UploadActor>("uploads", UPLOAD_PARTITIONS).temporary();
    let uploads = UploadRegistry::new(running.handle(), parts.files.clone());
    let housekeeping = {
        let (keys, metrics) = (parts.keys.clone(), parts.metrics.clone());
        child("housekeeping", move |_| HousekeepingActor::new(keys.clone(), metrics.clone()))
    };
    let scheduler = {
        let parts = scheduler::SchedulerDeps {
            store: parts.store.clone(),
            directory: parts.directory.clone(),
            clock: parts.clock.clone(),
            outbox_retention: config.chat.outbox(),
            calls: calls.clone(),
            files: parts.files.clone(),
        };
        child("scheduler", move |_| Scheduler::new(parts.clone()))
    };
    let membership = parts.leases.clone().map(|leases| {
        let residents = Arc::new(LocalNodeServices {
            calls: calls.clone(),
            event_router: switchboard.clone(),
            store: parts.store.clone(),
        });
        let parts = membership::MembershipDeps {
            leases,
            peer_nodes: neighbours.clone(),
            services: residents,
        };
        child("membership", move |_| Membership::new(parts.clone()))
    });
    let member = membership.as_ref().map(|membership| membership.handle());
    if let Some(membership) = member.clone() {
        let operators = operators.clone();
        parts.bus.listen(Arc::new(ClusterEventHandler {
            peer_nodes: neighbours,
            event_router: switchboard,
            calls,
            presence,
            membership,
            admin: operators,
        }));
    }

    let expiry = {
        let (living, store) = (living.clone(), parts.store.clone());
        let round = config.chat.expiry_round();
        child("expiry", move |_| MessageExpirer::new(living.clone(), store.clone(), round))
    };

    let workers = jobs(&parts, &living);
    let ports = ports(&parts, config);
    let mut node = supervisor("node", Strategy::RestForOne).with(store);
    if let Some(drivers) = &parts.bus_drivers {
        node = node.with(bus::spec(drivers));
    }
    node = node.with(chat).with(ports);
    if let Some(settings) = parts.turn.clone() {
        let turn = child("turn", move |_| turn::TurnServer::new(settings.clone()));
        node = node.with(turn.on_threads(ThreadAffinity::Pool(TURN)));
    }
    let node = node
        .with(rooms)
        .with(sessions)
        .with(running)
        .with(teller)
        .with(workers.with(expiry).with(housekeeping))
        .with(scheduler);
    let root = match membership {
        Some(membership) => node.with(membership),
        None => node,
    };
    BuiltTree {
        root,
        sessions: living,
        uploads,
        store_health: up,
        admin: operators,
        membership: member,
    }
}

/// Workers take one job each at a time.
fn jobs(parts: &TreeDeps, living: &SessionService) -> SupervisorSpec {
    (0..JOB_WORKERS).fold(supervisor("jobs", Strategy::OneForOne), |spec, n| {
        let (jobs, living) = (parts.jobs.clone(), living.clone());
        let worker =
            child(format!("worker-{n}"), move |_| JobWorker::new(jobs.clone(), living.clone()));
        spec.with(worker.backoff(Backoff { initial: Duration::ZERO, max: Duration::from_secs(5) }))
    })
}

const JOB_WORKERS: usize = 2;
const CHAT_SHARDS: usize = 8;
const SESSION_PARTITIONS: usize = 4;
const ROOM_PARTITIONS: usize = 2;
const UPLOAD_PARTITIONS: usize = 2;

/// How many threads forward media.
pub fn media_threads(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    if config.media.threads == 0 { cores } else { config.media.threads }
}

/// One port on each media thread.
fn ports(parts: &TreeDeps, config: &Config) -> SupervisorSpec {
    let mut spec = supervisor("media", Strategy::OneForOne);
    for n in 0..media_threads(config) {
        #[expect(clippy::cast_possible_truncation, reason = "the settings were checked")]
        let port = if config.media.port_base == 0 { 0 } else { config.media.port_base + n as u16 };
        let addresses = parts.media.addresses.clone();
        let place = media::PortPlace { bind: config.media.bind, port, addresses };
        let port = child(n.to_string(), move |_| IceMux::new(place.clone()));
        spec = spec.with(port.on_threads(ThreadAffinity::Thread(MEDIA, n)));
    }
    spec
}

fn chat(
    parts: &TreeDeps,
    config: &Config,
    switchboard: &EventRouter,
) -> (SupervisorSpec, ChatShards) {
    let mut spec = supervisor("chat", Strategy::OneForOne);
    let mut refs = Vec::new();
    for n in 0..CHAT_SHARDS {
        let (chat, switchboard) = (parts.chat.clone(), switchboard.clone());
        let most = config.chat.shard_queue_capacity;
        let lane =
            child(n.to_string(), move |_| ChatShard::new(chat.clone(), switchboard.clone(), most))
                .mailbox(config.chat.shard_queue_capacity)
                .backoff(Backoff { initial: Duration::ZERO, max: Duration::from_secs(5) });
        refs.push(lane.handle());
        spec = spec.with(lane);
    }
    (spec, ChatShards::new(refs))
}
