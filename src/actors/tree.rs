//! Who lives, and who restarts whom: children start top to bottom and stop bottom to top.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::backoff::Backoff;
use base::clock::Clock;
use base::ids::NodeId;
use metrics_exporter_prometheus::PrometheusHandle;
use store::Store;

use super::admin::Operators;
use super::bus;
use super::calls::{self as rooms, Calls, Room};
use super::chat::{Lane, Lanes};
use super::expiry::Expiry;
use super::housekeeping::Housekeeping;
use super::jobs::Worker;
use super::media::{self, MEDIA, Port};
use super::membership::{self, Ear, Household, Membership};
use super::peer_nodes::Neighbours;
use super::presence::{Presence, Teller};
use super::scheduler::{self, Scheduler};
use super::sessions::{Living, Session, Switchboard, Ways};
use super::store_health::{StoreHealth, StoreUp};
use super::supervision::{
    ActorRef, Strategy, SupervisionTree, SupervisorSpec, ThreadAffinity, child, dynamic_supervisor,
    supervisor,
};
use super::turn::{self, TURN};
use super::uploads::{Upload, Uploads};
use crate::cluster::{AmqpBus, Bus, NodeLeases, OwnershipDirectory};
use crate::config::Config;
use crate::domain::accounts::TokenSigner;
use crate::domain::calls;
use crate::domain::chat::ChatService;
use crate::domain::files::FileService;
use crate::domain::jobs::JobRunner;

/// What the actors need of the rest.
pub struct Parts {
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
    pub media: media::Settings,
    /// What relays media for those whom nobody can reach, if it is to run here.
    pub turn: Option<turn::Settings>,
    /// What was measured.
    pub metrics: PrometheusHandle,
    /// The way to other nodes.
    pub bus: Arc<dyn Bus>,
    /// What keeps that way open, where it leads to other processes.
    pub drivers: Option<AmqpBus>,
    /// Which node has what.
    pub directory: Arc<dyn OwnershipDirectory>,
    /// This node's word that it lives, where others may be.
    pub leases: Option<NodeLeases>,
    /// The nodes that live.
    pub others: HashSet<NodeId>,
    /// Work that must be done.
    pub jobs: JobRunner,
    /// Files that people send.
    pub files: FileService,
}

/// A tree that is not launched yet, and the ways into it.
pub struct Planted {
    /// The tree without its listeners.
    pub root: SupervisorSpec,
    /// The living side of the service.
    pub living: Living,
    /// To uploads that go on.
    pub uploads: Uploads,
    /// Whether the database answers.
    pub store_up: StoreUp,
    /// What operators see and do.
    pub operators: Operators,
    /// Who knows of the other nodes, where there may be some.
    pub membership: Option<ActorRef<Membership>>,
}

/// Puts the tree together; `grown` will hold it once it is launched.
pub fn tree(parts: Parts, config: &Config, grown: Arc<OnceLock<SupervisionTree>>) -> Planted {
    let neighbours = Neighbours::new(parts.bus.clone());
    neighbours.roster(&parts.others); // before the first device comes: nobody is overlooked
    let switchboard = Switchboard::new(neighbours.clone());
    let operators = Operators::new(grown, neighbours.clone());
    let up = StoreUp::default();

    let store = {
        let (store, up) = (parts.store.clone(), up.clone());
        child("store", move |_| StoreHealth::new(store.clone(), up.clone()))
    };
    let (chat, lanes) = chat(&parts, config, &switchboard);
    let sessions = dynamic_supervisor::<Session>("sessions", SESSION_PARTITIONS)
        .temporary()
        .mailbox(config.sessions.queue_frames);
    let rooms = dynamic_supervisor::<Room>("rooms", ROOM_PARTITIONS).transient();
    let calls = Calls::new(rooms::Parts {
        rooms: rooms.handle(),
        switchboard: switchboard.clone(),
        neighbours: neighbours.clone(),
        directory: parts.directory.clone(),
        deeds: parts.calls.clone(),
        media: parts.media.clone(),
    });
    let presence = Presence::new(
        parts.clock.clone(),
        config.chat.presence_grace(),
        config.chat.presence_pause(),
    );
    neighbours.greet_with({
        let presence = presence.clone();
        Box::new(move |user| Box::new(presence.here(user)))
    });
    let teller = {
        let (presence, store) = (presence.clone(), parts.store.clone());
        let switchboard = switchboard.clone();
        child("presence", move |_| {
            Teller::new(presence.clone(), store.clone(), switchboard.clone())
        })
    };
    let living = Living::new(
        sessions.handle(),
        switchboard.clone(),
        Ways { chat: parts.chat.clone(), lanes, calls: calls.clone(), presence: presence.clone() },
        config.sessions.clone(),
        config.database.queue,
    );
    let running = dynamic_supervisor::<Upload>("uploads", UPLOAD_PARTITIONS).temporary();
    let uploads = Uploads::new(running.handle(), parts.files.clone());
    let housekeeping = {
        let (keys, metrics) = (parts.keys.clone(), parts.metrics.clone());
        child("housekeeping", move |_| Housekeeping::new(keys.clone(), metrics.clone()))
    };
    let scheduler = {
        let parts = scheduler::Parts {
            store: parts.store.clone(),
            directory: parts.directory.clone(),
            clock: parts.clock.clone(),
            outbox: config.chat.outbox(),
            calls: calls.clone(),
            files: parts.files.clone(),
        };
        child("scheduler", move |_| Scheduler::new(parts.clone()))
    };
    let membership = parts.leases.clone().map(|leases| {
        let residents = Arc::new(Household {
            calls: calls.clone(),
            switchboard: switchboard.clone(),
            store: parts.store.clone(),
        });
        let parts = membership::Parts { leases, neighbours: neighbours.clone(), residents };
        child("membership", move |_| Membership::new(parts.clone()))
    });
    let member = membership.as_ref().map(|membership| membership.handle());
    if let Some(membership) = member.clone() {
        let operators = operators.clone();
        parts.bus.listen(Arc::new(Ear {
            neighbours,
            switchboard,
            calls,
            presence,
            membership,
            operators,
        }));
    }

    let expiry = {
        let (living, store) = (living.clone(), parts.store.clone());
        let round = config.chat.expiry_round();
        child("expiry", move |_| Expiry::new(living.clone(), store.clone(), round))
    };

    let workers = jobs(&parts, &living);
    let ports = ports(&parts, config);
    let mut node = supervisor("node", Strategy::RestForOne).with(store);
    if let Some(drivers) = &parts.drivers {
        node = node.with(bus::spec(drivers));
    }
    node = node.with(chat).with(ports);
    if let Some(settings) = parts.turn.clone() {
        let turn = child("turn", move |_| turn::Server::new(settings.clone()));
        node = node.with(turn.on(ThreadAffinity::Pool(TURN)));
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
    Planted { root, living, uploads, store_up: up, operators, membership: member }
}

/// Workers take one job each at a time.
fn jobs(parts: &Parts, living: &Living) -> SupervisorSpec {
    (0..WORKERS).fold(supervisor("jobs", Strategy::OneForOne), |spec, n| {
        let (jobs, living) = (parts.jobs.clone(), living.clone());
        let worker =
            child(format!("worker-{n}"), move |_| Worker::new(jobs.clone(), living.clone()));
        spec.with(worker.backoff(Backoff { first: Duration::ZERO, most: Duration::from_secs(5) }))
    })
}

const WORKERS: usize = 2;
const LANES: usize = 8;
const SESSION_PARTITIONS: usize = 4;
const ROOM_PARTITIONS: usize = 2;
const UPLOAD_PARTITIONS: usize = 2;

/// How many threads forward media.
pub fn media_threads(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    if config.media.threads == 0 { cores } else { config.media.threads }
}

/// One port on each media thread.
fn ports(parts: &Parts, config: &Config) -> SupervisorSpec {
    let mut spec = supervisor("media", Strategy::OneForOne);
    for n in 0..media_threads(config) {
        #[expect(clippy::cast_possible_truncation, reason = "the settings were checked")]
        let port = if config.media.port == 0 { 0 } else { config.media.port + n as u16 };
        let addresses = parts.media.addresses.clone();
        let place = media::PortPlace { bind: config.media.bind, port, addresses };
        let port = child(n.to_string(), move |_| Port::new(place.clone()));
        spec = spec.with(port.on(ThreadAffinity::Thread(MEDIA, n)));
    }
    spec
}

fn chat(parts: &Parts, config: &Config, switchboard: &Switchboard) -> (SupervisorSpec, Lanes) {
    let mut spec = supervisor("chat", Strategy::OneForOne);
    let mut refs = Vec::new();
    for n in 0..LANES {
        let (chat, switchboard) = (parts.chat.clone(), switchboard.clone());
        let most = config.chat.queue;
        let lane =
            child(n.to_string(), move |_| Lane::new(chat.clone(), switchboard.clone(), most))
                .mailbox(config.chat.queue)
                .backoff(Backoff { first: Duration::ZERO, most: Duration::from_secs(5) });
        refs.push(lane.handle());
        spec = spec.with(lane);
    }
    (spec, Lanes::new(refs))
}
