//! Who lives, and who restarts whom: children start top to bottom and stop bottom to top.

use std::time::Duration;

use base::backoff::Backoff;
use base::clock::Clock;
use metrics_exporter_prometheus::PrometheusHandle;
use store::Store;

use super::calls::{Calls, Room};
use super::chat::{Lane, Lanes};
use super::expiry::Expiry;
use super::housekeeping::Housekeeping;
use super::jobs::Worker;
use super::media::{self, MEDIA, Port};
use super::presence::{Presence, Teller};
use super::sessions::{Living, Session, Switchboard, Ways};
use super::store_health::{StoreHealth, StoreUp};
use super::supervision::{Place, Strategy, SupervisorSpec, child, nursery, supervisor};
use super::turn::{self, TURN};
use crate::config::Config;
use crate::domain::accounts::Keyring;
use crate::domain::calls;
use crate::domain::chat::Chat;
use crate::domain::jobs::Jobs;

/// What the actors need of the rest.
pub struct Parts {
    /// Where things are kept.
    pub store: Store,
    /// What signs access tokens.
    pub keys: Keyring,
    /// The deeds of chat.
    pub chat: Chat,
    /// The time.
    pub clock: Clock,
    /// The deeds of calls.
    pub calls: calls::Calls,
    /// What rooms of calls share.
    pub media: media::Settings,
    /// What relays media for those whom nobody can reach, if it is to run here.
    pub turn: Option<turn::Settings>,
    /// What was measured.
    pub metrics: PrometheusHandle,
    /// Work that must be done.
    pub jobs: Jobs,
}

/// The tree without its listeners, the way into it, and whether the database answers.
pub fn tree(parts: &Parts, config: &Config) -> (SupervisorSpec, Living, StoreUp) {
    let switchboard = Switchboard::default();
    let up = StoreUp::default();

    let store = {
        let (store, up) = (parts.store.clone(), up.clone());
        child("store", move |_| StoreHealth::new(store.clone(), up.clone()))
    };
    let (chat, lanes) = chat(parts, config, &switchboard);
    let sessions = nursery::<Session>("sessions", SESSION_PARTITIONS)
        .temporary()
        .mailbox(config.sessions.queue_frames);
    let rooms = nursery::<Room>("rooms", ROOM_PARTITIONS).transient();
    let calls =
        Calls::new(rooms.handle(), switchboard.clone(), parts.calls.clone(), parts.media.clone());
    let presence = Presence::new(
        parts.clock.clone(),
        config.chat.presence_grace(),
        config.chat.presence_pause(),
    );
    let teller = {
        let (presence, store) = (presence.clone(), parts.store.clone());
        let switchboard = switchboard.clone();
        child("presence", move |_| {
            Teller::new(presence.clone(), store.clone(), switchboard.clone())
        })
    };
    let living = Living::new(
        sessions.handle(),
        switchboard,
        Ways { chat: parts.chat.clone(), lanes, calls: calls.clone(), presence },
        config.sessions.clone(),
    );
    let housekeeping = {
        let (store, keys, clock) = (parts.store.clone(), parts.keys.clone(), parts.clock.clone());
        let outbox = config.chat.outbox();
        let metrics = parts.metrics.clone();
        child("housekeeping", move |_| {
            let (store, keys, clock) = (store.clone(), keys.clone(), clock.clone());
            Housekeeping::new(store, keys, clock, outbox, metrics.clone(), calls.clone())
        })
    };

    let expiry = {
        let (living, store) = (living.clone(), parts.store.clone());
        let round = config.chat.expiry_round();
        child("expiry", move |_| Expiry::new(living.clone(), store.clone(), round))
    };

    let mut node =
        supervisor("node", Strategy::RestForOne).with(store).with(chat).with(ports(parts, config));
    if let Some(settings) = parts.turn.clone() {
        let turn = child("turn", move |_| turn::Server::new(settings.clone()));
        node = node.with(turn.on(Place::Pool(TURN)));
    }
    let jobs = jobs(parts, &living).with(expiry).with(housekeeping);
    let node = node.with(rooms).with(sessions).with(teller).with(jobs);
    (node, living, up)
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
        spec = spec.with(port.on(Place::Thread(MEDIA, n)));
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
