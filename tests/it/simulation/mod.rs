//! Three nodes under seeds: cuts, hangs, crashes, departures and clocks that jump, inside turmoil.
//!
//! What runs is real: supervision, membership, leases, neighbours. What they speak to is simulated:
//! a broker and a database on hosts of their own; the database's rules are those of the store, which
//! `honest.rs` shows. `SIM_SEEDS` says how many seeds, `SIM_SEED` which one.

mod book;
mod broker;
mod database;
mod faults;
mod honest;
mod house;
mod line;
mod node;
mod post;
mod room;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::ids::{NodeId, UserId};

use self::broker::Broker;
use self::database::{Database, View};
use self::post::Post;

const NODES: usize = 3;
const DEVICES: usize = 3;
const KEYS: [&str; 3] = ["call/a", "call/b", "call/c"];

/// A rule that is not kept, to see that it would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// Writes are taken whatever their epoch.
    NoEpochs,
    /// A node's free lock proves its death however old its word is.
    StaleWordsProve,
    /// Rooms go on though their node is not sure.
    NeverLetsGo,
    /// Words are acknowledged before they are written.
    AnswersFirst,
    /// A node that was taken for dead never comes back.
    NoWayBack,
}

/// What a node is told from outside.
enum Command {
    /// To leave in order.
    Leave,
    /// Its clock jumps.
    Jump(Duration),
    /// Somebody comes, or goes if they are there.
    Person(UserId),
    /// To say what is wrong.
    Report,
}

/// What all hosts share with the one who looks on; cheap to clone.
#[derive(Clone)]
struct Shared {
    seed: u64,
    broken: Option<Broken>,
    /// Whether the database's clock jumps: then only what is durable is promised.
    jumps: bool,
    post: Post,
    database: View,
    broker: Arc<Mutex<Broker>>,
    witness: Arc<Mutex<Witness>>,
}

#[derive(Default)]
struct Witness {
    wrong: Vec<String>,
    acknowledged: Vec<(String, u64)>,
    lives: u64,
    /// Who lives at which host.
    nodes: BTreeMap<usize, NodeId>,
    people: BTreeMap<usize, BTreeSet<UserId>>,
    commands: BTreeMap<usize, Vec<Command>>,
    /// No device begins anything any more.
    quiet: bool,
    /// Devices that have nothing left to say.
    done: BTreeSet<usize>,
}

impl Shared {
    fn new(seed: u64, broken: Option<Broken>, jumps: bool) -> Self {
        let mut database = Database::new();
        database.book.broken = broken;
        Self {
            seed,
            broken,
            jumps,
            post: Post::default(),
            database: Arc::new(Mutex::new(database)),
            broker: Arc::default(),
            witness: Arc::default(),
        }
    }

    fn wrong(&self, what: String) {
        self.witness.lock().unwrap().wrong.push(what);
    }

    fn begin(&self, host: usize) -> NodeId {
        let mut witness = self.witness.lock().unwrap();
        witness.lives += 1;
        let node = NodeId::from_uuid(uuid::Uuid::from_u128(u128::from(witness.lives)));
        witness.nodes.insert(host, node);
        witness.people.remove(&host);
        witness.commands.remove(&host);
        node
    }

    fn tell(&self, host: usize, command: Command) {
        self.witness.lock().unwrap().commands.entry(host).or_default().push(command);
    }

    fn commands(&self, host: usize) -> Vec<Command> {
        self.witness.lock().unwrap().commands.remove(&host).unwrap_or_default()
    }

    fn are_here(&self, host: usize, people: &BTreeSet<UserId>) {
        self.witness.lock().unwrap().people.insert(host, people.clone());
    }

    fn people_besides(&self, host: usize) -> usize {
        let witness = self.witness.lock().unwrap();
        let others = witness.people.iter().filter(|(there, _)| **there != host);
        others.flat_map(|(_, people)| people).collect::<BTreeSet<_>>().len()
    }

    fn acknowledged(&self, key: &str, word: u64) {
        self.witness.lock().unwrap().acknowledged.push((key.to_owned(), word));
    }

    fn is_quiet(&self, device: usize) -> bool {
        let mut witness = self.witness.lock().unwrap();
        if witness.quiet {
            witness.done.insert(device);
        }
        witness.quiet
    }

    /// Somebody is answered by an owner that asked nobody: no other may own it.
    fn answered(&self, key: &str, owner: NodeId, epoch: u64) {
        let lease = self.database.lock().unwrap().book.lease(key);
        let is =
            lease.is_some_and(|held| held.owner == owner && held.epoch.unsigned_abs() == epoch);
        if !is && !self.jumps {
            self.wrong(format!("{owner} answered for {key} under epoch {epoch}, which was over"));
        }
    }
}

/// How many seeds, or the one.
fn seeds(shard: u64, shards: u64) -> Vec<u64> {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        return if shard == 0 { vec![seed.parse().expect("a number")] } else { Vec::new() };
    }
    let most = std::env::var("SIM_SEEDS").map_or(200, |seeds| seeds.parse().expect("a number"));
    (0..most).filter(|seed| seed % shards == shard).collect()
}

fn no_seed_breaks_a_promise(shard: u64) {
    for seed in seeds(shard, 2) {
        let told = faults::story(seed, None);
        assert!(
            told.wrong.is_empty(),
            "seed {seed}; SIM_SEED={seed} tells it again: {:#?}\n{:#?}",
            told.faults,
            told.wrong
        );
    }
}

#[test]
fn even_seeds_violate_no_invariant() {
    no_seed_breaks_a_promise(0);
}

#[test]
fn odd_seeds_violate_no_invariant() {
    no_seed_breaks_a_promise(1);
}

#[test]
fn simulation_is_deterministic_per_seed() {
    for seed in 0..3 {
        let (once, again) = (faults::story(seed, None), faults::story(seed, None));

        assert!(!once.ledger.is_empty() && once.faults == again.faults);
        assert_eq!(once.ledger, again.ledger, "seed {seed}");
    }
}

#[test]
fn simulation_detects_each_broken_rule() {
    let rules = [
        (Broken::NoEpochs, "after epoch"),
        (Broken::StaleWordsProve, "which was over"),
        (Broken::NeverLetsGo, "which was over"),
        (Broken::AnswersFirst, "was lost"),
        (Broken::NoWayBack, "is not sure"),
    ];
    for (broken, words) in rules {
        let found = (0..200).find(|seed| {
            let told = faults::story(*seed, Some(broken));
            told.wrong.iter().any(|wrong| wrong.contains(words))
        });

        let seed = found.unwrap_or_else(|| panic!("{broken:?} is not noticed"));
        println!("{broken:?} is noticed with seed {seed}");
    }
}
