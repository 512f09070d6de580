//! Killed servers, lost databases, broken actors: what was acknowledged is never lost.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use base::random::RandomSource;
use serde_json::{Value, json};

use crate::support::server::Server;
use crate::support::{Backend, Person, Socket, World, on_both_databases, soon};

on_both_databases! {
    fifty_kills_under_load_lose_no_acknowledged_message,
}

const SENDERS: usize = 4;
const KILLS: usize = 50;

/// What the server has acknowledged: client id → seq.
type Acknowledged = Rc<RefCell<HashMap<String, i64>>>;

async fn fifty_kills_under_load_lose_no_acknowledged_message(backend: Backend) {
    let world = World::new(backend).await;
    let mut people = Vec::new();
    for n in 0..SENDERS {
        people.push(world.person(&format!("Sender {n}")).await);
    }
    let reader = world.person("Reader").await;
    let everybody: Vec<_> = people.iter().chain([&reader]).collect();
    let conversation = world.group(&everybody).await;

    let acknowledged = Acknowledged::default();
    let stop = Rc::new(std::cell::Cell::new(false));
    let senders: Vec<_> = people
        .iter()
        .enumerate()
        .map(|(n, person)| {
            let sender =
                sends(n, person.clone(), conversation.clone(), acknowledged.clone(), stop.clone());
            actix_web::rt::spawn(sender)
        })
        .collect();
    let heard: Rc<RefCell<Vec<i64>>> = Rc::default();
    let reading = actix_web::rt::spawn(reads(reader.clone(), conversation.clone(), heard.clone()));
    let dice = RandomSource::seeded(50);
    for _ in 0..KILLS {
        // The moment of the kill is chance; that something was acknowledged since the last is not.
        let before = acknowledged.borrow().len();
        soon("something is acknowledged", until(|| acknowledged.borrow().len() > before)).await;
        tokio::time::sleep(Duration::from_secs_f64(0.05 * dice.fraction())).await;
        world.kill();
        world.start();
    }
    stop.set(true);
    for sender in senders {
        soon("the senders end", sender).await.unwrap();
    }

    let all = reader.reads(&conversation).await;
    let seqs: Vec<_> = all.iter().map(|m| m["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=all.len() as i64).collect::<Vec<_>>(), "no hole, none doubled");
    let stored: HashMap<_, _> =
        all.iter().map(|m| (text(&m["client_id"]), m["seq"].as_i64().unwrap())).collect();
    assert_eq!(stored.len(), all.len(), "each client id once");
    let acknowledged = acknowledged.take();
    for (client_id, seq) in acknowledged.iter() {
        assert_eq!(stored.get(client_id), Some(seq), "{client_id} was acknowledged");
    }
    let (client_id, seq) = acknowledged.iter().next().unwrap();
    let sender: usize = client_id.split('-').next().unwrap().parse().unwrap();
    let (status, again) = people[sender].tries_to_say(&conversation, client_id).await.unwrap();
    assert_eq!((status, again["seq"].as_i64()), (200, Some(*seq)), "the first message again");
    soon("the reader has everything", until(|| heard.borrow().len() >= all.len())).await;
    reading.abort();
    assert_eq!(*heard.borrow(), seqs, "heard once each, in order, over {KILLS} deaths");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Says one thing after the other; what was not acknowledged is said again with the same id.
async fn sends(
    number: usize,
    person: Person,
    conversation: String,
    acknowledged: Acknowledged,
    stop: Rc<std::cell::Cell<bool>>,
) {
    for n in 0.. {
        let client_id = format!("{number}-{n}");
        loop {
            if let Some((200 | 201, message)) = person.tries_to_say(&conversation, &client_id).await
            {
                let seq = message["seq"].as_i64().unwrap();
                acknowledged.borrow_mut().insert(client_id, seq);
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if stop.get() {
            return;
        }
    }
}

/// Connects again and again, and syncs from what it has.
async fn reads(person: Person, conversation: String, heard: Rc<RefCell<Vec<i64>>>) {
    loop {
        let Ok(mut socket) = Socket::try_open(&person.address, &[]).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let cursor = heard.borrow().last().copied().unwrap_or(0);
        socket.says("authenticate", json!({ "token": person.access })).await;
        socket.says("sync", json!({ "cursors": { (conversation.clone()): cursor } })).await;
        while let Ok(frame) = socket.next().await {
            if frame["event"] == "message" {
                heard.borrow_mut().push(frame["data"]["seq"].as_i64().unwrap());
            }
            if frame.get("error").is_some() {
                break;
            }
        }
    }
}

#[actix_web::test]
async fn postgres_outage_returns_503_and_recovers() {
    let Some(mut server) = Server::start(&[]) else { return };
    let world = World::new(Backend::Postgres(server.url())).await;
    let (alice, bob, conversation) = world.two_friends().await;
    alice.says(&conversation, "before", "x").await.created();

    for how in ["KILL", "STOP"] {
        match how {
            "KILL" => server.kill(),
            _ => server.signal("STOP"),
        }
        let mut slowest = Duration::ZERO;
        for n in 0..5 {
            let begun = Instant::now();
            let answer = alice.says(&conversation, &format!("{how}-{n}"), "lost?").await;
            slowest = slowest.max(begun.elapsed());
            assert_eq!(answer.status, 503, "never acknowledged: {}", answer.text);
            assert!(answer.body["code"].as_str().unwrap().starts_with("store/"), "{}", answer.text);
            assert!(answer.header("retry-after").is_some());
        }
        assert!(slowest < Duration::from_secs(2), "{how}: {slowest:?}");
        let health = world.stranger().get("/health").await;
        assert_eq!((health.status, &health.body["status"]), (503, &json!("degraded")), "{how}");
        world.stranger().get("/health/live").await.ok();
        match how {
            "KILL" => server.begin(),
            _ => server.signal("CONT"),
        }
        soon("it comes back by itself", async {
            while alice.says(&conversation, how, "back").await.status / 100 != 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        world.stranger().get("/health").await.ok();
    }

    let said = bob.reads(&conversation).await;
    let seqs: Vec<_> = said.iter().map(|m| m["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=said.len() as i64).collect::<Vec<_>>());
    assert!(
        said.iter().any(|m| m["client_id"] == "KILL")
            && said.iter().any(|m| m["client_id"] == "STOP")
    );
}

#[actix_web::test]
async fn slow_consumer_is_disconnected_without_affecting_others() {
    let settings = [("SESSIONS__SEND_QUEUE_CAPACITY", "64"), ("CHAT__MAX_BODY_BYTES", "16384")];
    let world = World::with(Backend::Sqlite, &settings).await;
    let (alice, bob, carol) =
        (world.person("Alice").await, world.person("Bob").await, world.person("Carol").await);
    let conversation = world.group(&[&alice, &bob, &carol]).await;
    let _deaf = bob.connects_and_syncs(json!({})).await; // never read from again
    let mut listening = carol.connects_and_syncs(json!({})).await;
    let body = "x".repeat(16_000);

    let mut said = 0;
    let metric = "securevox_events_dropped_total{reason=\"slow-socket\"} 1";
    while !world.stranger().get("/metrics").await.text.contains(metric) {
        alice.says(&conversation, &said.to_string(), &body).await.created();
        listening.hears("message").await;
        said += 1;
        assert!(said < 4000, "the deaf socket was never noticed");
    }

    let mut back = bob.connects_and_syncs(json!({})).await;
    let heard = back.hears_messages(said).await;
    assert_eq!(heard.last().unwrap()["seq"], json!(said), "it catches up when it returns");
}
