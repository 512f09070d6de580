//! The book keeps the rules of the databases: the same random histories get the same answers.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::NodeId;
use proptest::prelude::*;
use securevox::cluster::LeaseStore;
use store::{FencingTokenRow, NodeHeartbeat, NodeLock, NodeState, Store};

use super::book::{Book, FRESH};
use crate::support::{Backend, postgres};

/// What happens to three nodes and two keys.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A node comes; its word holds for long or not at all, and it knows that it is locked or not.
    Join(usize, bool, bool),
    Beat(usize, bool, bool),
    Leave(usize),
    Certify(usize),
    Claim(usize, usize),
    HandOver {
        key: usize,
        from: usize,
        back: i64,
        to: usize,
    },
    Note {
        key: usize,
        from: usize,
        back: i64,
    },
    Release {
        key: usize,
        from: usize,
        back: i64,
    },
    Orphans,
    /// Only where SQL can be spoken: the last word of a node becomes older than fresh.
    Age(usize),
    /// Only there: the word was given to a database that was started anew since.
    OtherLife(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (node, key) = (0usize..3, 0usize..2);
    let word = || (0usize..3, prop::bool::weighted(0.8), prop::bool::weighted(0.8));
    let fence = || (0usize..2, 0usize..3, 0i64..2);
    prop_oneof![
        2 => word().prop_map(|(n, long, locked)| Step::Join(n, long, locked)),
        2 => word().prop_map(|(n, long, locked)| Step::Beat(n, long, locked)),
        1 => node.clone().prop_map(Step::Leave),
        2 => node.clone().prop_map(Step::Certify),
        5 => (node.clone(), key).prop_map(|(n, k)| Step::Claim(n, k)),
        3 => (fence(), node.clone())
            .prop_map(|((key, from, back), to)| Step::HandOver { key, from, back, to }),
        2 => fence().prop_map(|(key, from, back)| Step::Note { key, from, back }),
        1 => fence().prop_map(|(key, from, back)| Step::Release { key, from, back }),
        1 => Just(Step::Orphans),
        1 => node.clone().prop_map(Step::Age),
        1 => node.prop_map(Step::OtherLife),
    ]
}

/// A database, and what else can be done to it.
struct Real {
    store: Store,
    sql: Option<tokio_postgres::Client>,
}

/// Tells a history to both; the first answer that differs.
async fn differs(real: &Real, steps: &[Step], locked: [bool; 3], url: &str) -> Option<String> {
    let nodes: [NodeId; 3] = std::array::from_fn(|_| NodeId::new());
    let about = NodeId::new();
    let keys = [format!("{about}/a"), format!("{about}/b")];
    let beat = |n: usize, locked| NodeHeartbeat {
        id: nodes[n],
        name: format!("node-{n}"),
        url: String::new(),
        state: NodeState::Up,
        holds_lock: locked,
    };
    let ttl = |long| if long { Duration::from_hours(1) } else { Duration::ZERO };
    let mut book = Book::new(base::clock::Clock::wall().now());
    let mut locks = Vec::new();
    for n in 0..3 {
        // SQLite knows no locks: there nobody's is ever free.
        if locked[n] || real.sql.is_none() {
            book.locked.insert(nodes[n]);
        }
        if locked[n] {
            let lock = NodeLock::take(url, nodes[n]).unwrap();
            while !lock.is_held() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            locks.push(lock);
        }
    }
    let real_of = &real.store as &dyn LeaseStore;
    for (at, step) in steps.iter().enumerate() {
        if let Some(sql) = &real.sql {
            let micros = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
            book.now = Timestamp::from_micros(sql.query_one(micros, &[]).await.unwrap().get(0));
        }
        let fence = |book: &Book, key: usize, from: usize, back: i64| {
            let epoch = book.lease(&keys[key]).map_or(1, |lease| lease.epoch);
            FencingTokenRow { key: keys[key].clone(), owner: nodes[from], epoch: epoch - back }
        };
        let ours = |all: Vec<store::NodeRow>| {
            all.into_iter().map(|n| (n.id, n.state)).filter(|n| nodes.contains(&n.0)).collect()
        };
        let (theirs, own): (String, String) = match *step {
            Step::Join(n, long, locked) => {
                book.join(beat(n, locked), ttl(long));
                let theirs = real_of.join(beat(n, locked), ttl(long)).await;
                (format!("{theirs:?}"), format!("{:?}", Ok::<_, store::StoreError>(())))
            }
            Step::Beat(n, long, locked) => {
                let (own, theirs) = (
                    book.beat(beat(n, locked), ttl(long)),
                    real_of.heartbeat(beat(n, locked), ttl(long)).await.unwrap(),
                );
                let of = |beaten: store::HeartbeatOutcome| {
                    let mut all: Vec<_> = ours(beaten.nodes);
                    all.sort_by_key(|node| node.0);
                    format!("{} {all:?}", beaten.is_alive)
                };
                (of(theirs), of(own))
            }
            Step::Leave(n) => {
                book.leave(nodes[n]);
                real_of.leave(nodes[n]).await.unwrap();
                (String::new(), String::new())
            }
            Step::Certify(n) => {
                let theirs = real_of.declare_dead(nodes[n]).await.unwrap();
                (theirs.to_string(), book.certify_death(nodes[n]).to_string())
            }
            Step::Claim(n, k) => {
                let theirs =
                    real_of.claim(keys[k].clone(), format!("{k}"), nodes[n]).await.unwrap();
                let own = book.claim(&keys[k], &format!("{k}"), nodes[n]);
                (format!("{theirs:?}"), format!("{own:?}"))
            }
            Step::HandOver { key, from, back, to } => {
                let fence = fence(&book, key, from, back);
                let theirs = real_of.transfer(fence.clone(), nodes[to]).await.unwrap();
                (format!("{theirs:?}"), format!("{:?}", book.hand_over(&fence, nodes[to])))
            }
            Step::Note { key, from, back } => {
                let (fence, value) = (fence(&book, key, from, back), format!("{about} {at}"));
                let theirs = real_of.set_value(fence.clone(), value.clone()).await.unwrap();
                let own = book.note(&fence, &value);
                let there = real_of.lease_by_value(value.clone()).await.unwrap();
                let known = book.leases_of(&value).into_iter().next();
                (format!("{theirs} {there:?}"), format!("{own} {known:?}"))
            }
            Step::Release { key, from, back } => {
                let fence = fence(&book, key, from, back);
                let theirs = real_of.release(fence.clone()).await.unwrap();
                (theirs.to_string(), book.release(&fence).to_string())
            }
            Step::Orphans => {
                let mut theirs = real_of.orphaned_leases(about.to_string()).await.unwrap();
                theirs.sort_by(|a, b| a.key.cmp(&b.key));
                (format!("{theirs:?}"), format!("{:?}", book.orphans(&about.to_string())))
            }
            Step::Age(n) | Step::OtherLife(n) => {
                let Some(sql) = &real.sql else { continue };
                let set = if matches!(step, Step::Age(_)) {
                    book.age(nodes[n], FRESH * 2);
                    "renewed_at = renewed_at - interval '7 s'"
                } else {
                    book.other_life(nodes[n]);
                    "server = server - interval '1 s'"
                };
                let id = nodes[n].uuid();
                sql.batch_execute(&format!("UPDATE nodes SET {set} WHERE id = '{id}'"))
                    .await
                    .unwrap();
                (String::new(), String::new())
            }
        };
        for key in &keys {
            let there = real_of.lease(key.clone()).await.unwrap();
            if there != book.lease(key) {
                return Some(format!(
                    "step {at}, {step:?}: {there:?}, the book {:?}",
                    book.lease(key)
                ));
            }
        }
        if theirs != own {
            return Some(format!("step {at}, {step:?}: {theirs}, the book {own}"));
        }
    }
    None
}

fn compare(real: &Real, url: &str, cases: u32, on: &tokio::runtime::Runtime) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let histories = (prop::collection::vec(step(), 1..60), any::<[bool; 3]>());
    let told = runner.run(&histories, |(steps, locked)| {
        let differs = on.block_on(differs(real, &steps, locked, url));
        prop_assert_eq!(differs, None);
        Ok(())
    });
    told.unwrap_or_else(|error| panic!("{error}"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn simulated_store_matches_sqlite() {
    let on = runtime();
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("db").display());
    let store = on.block_on(Store::open(store::StoreConfig::new(url.clone()))).unwrap();

    compare(&Real { store, sql: None }, &url, 100, &on);
}

#[test]
fn simulated_store_matches_postgres() {
    let on = runtime();
    let fresh = tokio::task::LocalSet::new().block_on(&on, postgres::fresh());
    let Some(Backend::Postgres(url)) = fresh else { return };
    let store = on.block_on(Store::open(store::StoreConfig::new(url.clone()))).unwrap();
    let sql = on.block_on(async {
        let (sql, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        sql
    });

    compare(&Real { store, sql: Some(sql) }, &url, 60, &on);
}
