//! A node whose broker or cache is away: what goes on, what is refused, and what it says of itself.

use std::time::Duration;

use serde_json::json;

use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::{Backend, Person, World, broker, postgres, soon};

/// A key that two nodes have in common.
const KEYS: &str = r#"["1:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="]"#;

async fn until_ready(stranger: &Person, status: u16) {
    soon("its readiness changes", async {
        while stranger.get("/health/ready").await.status != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn node_without_event_bus_is_not_ready() {
    let (Some(url), Some(database)) = (broker::shared(), postgres::fresh().await) else { return };
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let proxy = Proxy::to(port).await;
    let bus = format!("amqp://guest:guest@127.0.0.1:{}", proxy.port());
    let world = World::with(database, &[("CLUSTER__AMQP_URL", &bus)]).await;
    let (stranger, admin) = (world.stranger(), world.admin().await);
    until_ready(&stranger, 200).await;
    let health = stranger.get("/health").await.ok();
    assert_eq!((&health["status"], &health["checks"]["bus"]), (&json!("healthy"), &json!("ok")));
    let mut doctor = tokio::process::Command::from(world.command());
    let said = doctor.arg("doctor").output().await.expect("it runs");
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("ok    bus: RabbitMQ answers"), "{said}");

    proxy.close();
    until_ready(&stranger, 503).await;
    let health = stranger.get("/health").await;
    assert_eq!((health.status, &health.body["checks"]["bus"]), (503, &json!("failed")));
    let tree = admin.get("/api/admin/actors").await.ok();
    let actors = tree["items"].as_array().unwrap();
    let publisher = actors.iter().find(|a| a["path"] == "/node/bus/publisher").unwrap();
    assert!(publisher["last_failure"]["exit"].is_string(), "{publisher}");
    let (alice, bob, conversation) = world.two_friends().await; // within the node all goes on
    alice.says(&conversation, "1", "hello").await.created();
    assert_eq!(bob.reads(&conversation).await.len(), 1);

    proxy.heal();
    until_ready(&stranger, 200).await;
}

#[actix_web::test]
async fn cache_outage_blocks_sign_in_but_not_chat() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let cache = redis.url();
    let world = World::with(Backend::Sqlite, &[("CLUSTER__REDIS_URL", &cache)]).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let stranger = world.stranger();
    assert_eq!(stranger.get("/health").await.ok()["checks"]["cache"], "ok");

    redis.kill();
    alice.says(&conversation, "1", "hello").await.created();
    assert_eq!(bob.reads(&conversation).await.len(), 1);
    stranger.logs_in(&alice.phone).await.refused(503, "cache/unavailable");
    stranger.registers(&world.number(), "Eve").await.refused(503, "cache/unavailable");
    let health = stranger.get("/health").await;
    assert_eq!((health.status, &health.body["checks"]["cache"]), (503, &json!("failed")));
    assert_eq!(stranger.get("/health/ready").await.status, 200);

    redis.begin();
    soon("people come in again", async {
        while stranger.logs_in(&alice.phone).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[actix_web::test]
async fn fenced_call_room_is_relinquished_and_counted() {
    let (Some(bus), Some(backend)) = (broker::shared(), postgres::fresh().await) else { return };
    let Backend::Postgres(database) = backend.clone() else { unreachable!("it is PostgreSQL") };
    let world = World::with(backend, &[("CLUSTER__AMQP_URL", &bus)]).await;
    let (alice, bob, _) = world.two_friends().await;
    let mut alices = alice.connects().await;
    let start = json!({ "user_id": bob.id, "media": "audio" });
    let call = alices.asks("start_call", start).await.unwrap()["call_id"].clone();
    let (client, connection) =
        tokio_postgres::connect(&database, tokio_postgres::NoTls).await.unwrap();
    let connection = actix_web::rt::spawn(connection);

    // Another node claimed it, and this one finds out only when it writes.
    client
        .batch_execute("UPDATE leases SET epoch = epoch + 1 WHERE key LIKE 'call/%'")
        .await
        .unwrap();
    let _ = alices.asks("join_call", json!({ "call_id": call })).await; // as luck will have it
    let stranger = world.stranger();
    soon("it is counted", async {
        let counted = "securevox_cluster_room_migrations_total{reason=\"fenced\"} 1";
        while !stranger.get("/metrics").await.text.contains(counted) {}
    })
    .await;
    drop(client);
    connection.await.unwrap().unwrap();
}

#[actix_web::test]
async fn delayed_message_precedes_its_edit_from_other_node() {
    let (Some(bus), Some(backend)) = (broker::shared(), postgres::fresh().await) else { return };
    let proxy = Proxy::to(bus.rsplit(':').next().unwrap().parse().unwrap()).await;
    let slow = format!("amqp://guest:guest@127.0.0.1:{}", proxy.port());
    let settings = |bus| [("CLUSTER__AMQP_URL", bus), ("SECRETS__KEYS", KEYS)];
    let near = World::with(backend.clone(), &settings(&bus)).await;
    let far = World::with(backend, &settings(&slow)).await;
    let (alice, bob, conversation) = far.two_friends().await;
    let mut bobs = bob.at(near.address()).connects_and_syncs(json!({})).await;
    let messages = format!("/api/conversations/{conversation}/messages");
    alice.says(&conversation, "0", "first").await.created();
    bobs.hears("message").await; // the nodes know each other

    proxy.hold();
    let edited = alice.says(&conversation, "1", "mistken").await.created();
    let deleted = alice.says(&conversation, "2", "wrong room").await.created();
    let path = |said: &serde_json::Value| format!("{messages}/{}", said["id"].as_str().unwrap());
    let alice = alice.at(near.address());
    alice.patch(&path(&edited), json!({ "body": "mistaken" })).await.ok();
    alice.delete(&format!("{}?for=all", path(&deleted))).await.done();

    let mut heard = Vec::new();
    while heard.last().is_none_or(|(event, _)| event != "message_deleted") {
        let frame = bobs.next().await.unwrap();
        let event = frame["event"].as_str().unwrap_or_default().to_owned();
        if event.starts_with("message") {
            heard.push((event, frame["data"]["seq"].as_i64().unwrap()));
        }
    }
    let about =
        |number| heard.iter().filter(move |(_, seq)| *seq == number).map(|(e, _)| e.as_str());
    assert_eq!(about(2).collect::<Vec<_>>(), ["message", "message_edited"]);
    assert_eq!(about(3).collect::<Vec<_>>(), ["message", "message_deleted"]);
    proxy.heal();
    alice.at(far.address()).says(&conversation, "3", "last").await.created();
    let last = bobs.hears("message").await;
    assert_eq!(last["seq"], 4, "what was late is not told again");
}
