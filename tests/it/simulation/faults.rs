//! One story: what goes wrong when, drawn from a seed, and whether all promises were kept.

use std::collections::BTreeMap;
use std::time::Duration;

use base::random::RandomSource;
use turmoil::Sim;

use super::database::Written;
use super::{Broken, Command, DEVICES, KEYS, NODES, Shared, broker, database, node};

/// When the last fault ends.
const FAULTS: u64 = 30_000;
/// Everything is well again so long after it: a word of a clock that jumped back ends late.
const HEALED: u64 = FAULTS + 30_000;
const TICK: Duration = Duration::from_millis(20);

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node does not reach the broker.
    FromBroker,
    /// Nor the database.
    FromDatabase,
    /// Neither, nor anybody.
    FromAll,
    /// What it says arrives, what is said to it does not.
    Deaf,
    /// It hangs: what it has said and what was said to it arrives later.
    Hang,
    Crash,
    /// It leaves in order.
    Leave,
    /// The broker ends, and begins anew.
    BrokerEnds,
    /// Its clock jumps.
    Clock,
    /// The database's clock jumps.
    DatabaseClock,
}

/// One fault of one node, and when it begins and ends, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub from: u64,
    pub until: u64,
    pub host: usize,
    pub fault: Fault,
}

/// What became of it.
pub struct Told {
    pub faults: Vec<Plan>,
    pub wrong: Vec<String>,
    pub ledger: Vec<Written>,
}

fn plan(chance: &RandomSource, jumps: bool) -> Vec<Plan> {
    use Fault::{
        BrokerEnds, Clock, Crash, DatabaseClock, Deaf, FromAll, FromBroker, FromDatabase, Hang,
        Leave,
    };
    let draw = |below: u64| u64::from_le_bytes(chance.bytes()) % below;
    let mut kinds = vec![
        FromBroker,
        FromDatabase,
        FromAll,
        Deaf,
        Hang,
        Hang,
        Crash,
        Crash,
        Leave,
        BrokerEnds,
        Clock,
    ];
    if jumps {
        kinds.push(DatabaseClock);
    }
    let mut plans: Vec<_> = (0..5 + draw(6))
        .map(|_| {
            let from = 2000 + draw(FAULTS - 4000);
            let fault = kinds[usize::try_from(draw(kinds.len() as u64)).unwrap_or(0)];
            // A short hang is nothing.
            let least = if fault == Hang { 8000 } else { 200 };
            let until = (from + least + draw(12_000)).min(FAULTS);
            Plan { from, until, host: usize::try_from(draw(NODES as u64)).unwrap_or(0), fault }
        })
        .collect();
    plans.sort_by_key(|plan| plan.from);
    plans
}

/// A world in which a story is told.
struct World<'a> {
    sim: Sim<'a>,
    shared: Shared,
    /// How many faults keep a host from the broker, and from the database.
    cut: BTreeMap<(usize, &'static str), u32>,
}

fn name(host: usize) -> String {
    format!("node-{host}")
}

impl World<'_> {
    fn new(seed: u64, shared: &Shared) -> Self {
        let mut sim = turmoil::Builder::new()
            .tick_duration(TICK)
            .rng_seed(seed)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(100))
            .simulation_duration(Duration::from_hours(1))
            .udp_capacity(100_000)
            .build();
        let of = || shared.clone();
        let (one, two) = (of(), of());
        sim.host("broker", move || broker::serve(one.clone()));
        sim.host("database", move || database::serve(two.clone()));
        for host in 0..NODES {
            let shared = of();
            sim.host(name(host), move || node::live(host, shared.clone()));
        }
        for number in 0..DEVICES {
            let shared = of();
            sim.host(format!("device-{number}"), move || node::device(number, shared.clone()));
        }
        Self { sim, shared: of(), cut: BTreeMap::new() }
    }

    fn until(&mut self, at: u64) {
        while self.sim.elapsed() < Duration::from_millis(at) {
            self.sim.step().expect("the world goes on");
        }
    }

    /// Whether it is gone in time.
    fn leaves(&mut self, host: usize) -> bool {
        let end = self.sim.elapsed() + Duration::from_secs(20);
        while self.sim.is_host_running(name(host)) && self.sim.elapsed() < end {
            self.sim.step().expect("the world goes on");
        }
        !self.sim.is_host_running(name(host))
    }

    /// Those whom a host may be cut off from.
    fn others(fault: Fault, host: usize) -> Vec<String> {
        let devices = (0..DEVICES).map(|number| format!("device-{number}"));
        match fault {
            Fault::FromBroker => vec!["broker".to_owned()],
            Fault::FromDatabase => vec!["database".to_owned()],
            _ => {
                let nodes = (0..NODES).filter(|other| *other != host).map(name);
                ["broker".to_owned(), "database".to_owned()]
                    .into_iter()
                    .chain(nodes)
                    .chain(devices)
                    .collect()
            }
        }
    }

    fn count(&mut self, plan: Plan, by: i32) {
        for other in ["broker", "database"] {
            if Self::others(plan.fault, plan.host).iter().any(|there| there == other) {
                let cut = self.cut.entry((plan.host, other)).or_default();
                *cut = cut.saturating_add_signed(by);
            }
        }
    }

    /// The process is gone; where the network is whole its connections are too.
    fn hang_up(&self, host: usize) {
        let Some(node) = self.shared.witness.lock().unwrap().nodes.get(&host).copied() else {
            return;
        };
        let whole = |other| self.cut.get(&(host, other)).is_none_or(|cut| *cut == 0);
        if whole("broker") {
            self.shared.broker.lock().unwrap().close(node);
        }
        if whole("database") {
            self.shared.database.lock().unwrap().close(node);
        }
    }

    fn begin(&mut self, plan: Plan) {
        let host = name(plan.host);
        match plan.fault {
            Fault::FromBroker | Fault::FromDatabase | Fault::FromAll => {
                for other in Self::others(plan.fault, plan.host) {
                    self.sim.partition(&*host, &*other);
                }
                self.count(plan, 1);
            }
            Fault::Deaf => {
                for other in Self::others(plan.fault, plan.host) {
                    self.sim.partition_oneway(&*other, &*host);
                }
                self.count(plan, 1);
            }
            Fault::Hang => {
                for other in Self::others(plan.fault, plan.host) {
                    self.sim.hold(&*host, &*other);
                }
                self.count(plan, 1);
            }
            Fault::Crash => {
                self.sim.crash(&*host);
                self.hang_up(plan.host);
            }
            Fault::Leave => self.shared.tell(plan.host, Command::Leave),
            Fault::BrokerEnds => {
                self.sim.crash("broker");
                self.shared.broker.lock().unwrap().end();
            }
            Fault::Clock => self.shared.tell(plan.host, Command::Jump(Duration::from_hours(5))),
            Fault::DatabaseClock => {
                let off = i64::try_from(plan.until - plan.from).unwrap_or(0) * 1000 - 7_000_000;
                self.shared.database.lock().unwrap().off += off;
            }
        }
    }

    fn end(&mut self, plan: Plan) {
        let host = name(plan.host);
        match plan.fault {
            Fault::FromBroker | Fault::FromDatabase | Fault::FromAll | Fault::Deaf => {
                for other in Self::others(plan.fault, plan.host) {
                    self.sim.repair(&*host, &*other);
                }
                self.count(plan, -1);
            }
            Fault::Hang => {
                for other in Self::others(plan.fault, plan.host) {
                    self.sim.release(&*host, &*other);
                }
                self.count(plan, -1);
            }
            Fault::Crash | Fault::Leave => {
                if self.sim.is_host_running(&*host) {
                    self.sim.crash(&*host); // it did not get to leave
                }
                self.hang_up(plan.host);
                self.sim.bounce(&*host);
            }
            Fault::BrokerEnds => self.sim.bounce("broker"),
            Fault::Clock | Fault::DatabaseClock => {}
        }
    }
}

/// Tells the story of a seed.
pub fn story(seed: u64, broken: Option<Broken>) -> Told {
    crate::supervision::actor::quiet_panics();
    let chance = RandomSource::seeded(seed);
    let jumps = seed % 4 == 3;
    let faults = plan(&chance, jumps);
    let shared = Shared::new(seed, broken, jumps);
    let mut world = World::new(seed, &shared);
    let mut events: Vec<_> = faults.iter().map(|plan| (plan.from, true, *plan)).collect();
    events.extend(faults.iter().map(|plan| (plan.until, false, *plan)));
    events.sort_by_key(|(at, begins, _)| (*at, *begins));
    for (at, begins, plan) in events {
        world.until(at);
        let somebody = u64::from_le_bytes(chance.bytes());
        let host = usize::try_from(somebody % NODES as u64).unwrap_or(0);
        shared.tell(host, Command::Person(node::person(somebody % 5)));
        if begins { world.begin(plan) } else { world.end(plan) }
    }
    world.until(HEALED - 5000);
    shared.witness.lock().unwrap().quiet = true;
    world.until(HEALED);
    for host in 0..NODES {
        shared.tell(host, Command::Report);
    }
    world.until(HEALED + 200);
    for host in 0..NODES {
        shared.tell(host, Command::Leave);
        if !world.leaves(host) {
            shared.wrong(format!("{} does not leave", name(host)));
        }
    }
    judge(&shared);
    let mut witness = shared.witness.lock().unwrap();
    let ledger = std::mem::take(&mut shared.database.lock().unwrap().ledger);
    Told { faults, wrong: std::mem::take(&mut witness.wrong), ledger }
}

/// What must hold of the ledger, whatever happened.
fn judge(shared: &Shared) {
    let mut wrong = Vec::new();
    let witness = shared.witness.lock().unwrap();
    let database = shared.database.lock().unwrap();
    for key in KEYS {
        let mut last: Option<&Written> = None;
        for written in database.ledger.iter().filter(|written| written.key == key) {
            if let Some(last) = last {
                if written.epoch < last.epoch {
                    wrong.push(format!("{written:?} came after epoch {}", last.epoch));
                }
                if written.epoch == last.epoch && written.owner != last.owner {
                    wrong.push(format!(
                        "epoch {} had two owners: {last:?}, {written:?}",
                        last.epoch
                    ));
                }
            }
            last = Some(written);
        }
    }
    for (key, word) in &witness.acknowledged {
        let times = database.words(key).iter().filter(|there| *there == word).count();
        if times != 1 {
            wrong.push(format!("word {word} of {key} was lost: it is there {times} times"));
        }
    }
    if witness.done.len() < DEVICES {
        wrong.push(format!("only the devices {:?} were answered in the end", witness.done));
    }
    if witness.acknowledged.len() < 50 {
        wrong.push(format!("only {} words were said", witness.acknowledged.len()));
    }
    drop(witness);
    drop(database);
    wrong.into_iter().for_each(|wrong| shared.wrong(wrong));
}
