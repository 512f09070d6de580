//! Sockets, sessions, and catching up after any absence.

use actix_http::ws::Item;
use awc::ws::Message;
use serde_json::{Value, json};

use crate::support::socket::End;
use crate::support::{Backend, Socket, World, on_both_databases};

on_both_databases! {
    returning_device_catches_up_once_in_order,
    sync_during_message_storm_misses_nothing,
    session_is_resumed_within_resume_window,
    chat_shard_restart_loses_no_acknowledged_message,
    server_restart_loses_no_acknowledged_message,
}

fn seqs(messages: &[Value]) -> Vec<i64> {
    messages.iter().map(|message| message["seq"].as_i64().unwrap()).collect()
}

async fn returning_device_catches_up_once_in_order(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut bobs = bob.connects_and_syncs(json!({})).await;
    alice.says(&conversation, "0", "first").await.created();
    bobs.hears("message").await;
    bobs.vanishes();
    for n in 1..=350 {
        alice.says(&conversation, &n.to_string(), "meanwhile").await.created();
    }

    let mut bobs = bob.connects().await;
    let synced =
        bobs.asks("sync", json!({ "cursors": { (conversation.clone()): 1 } })).await.unwrap();
    alice.says(&conversation, "last", "now").await.created();

    assert_eq!(synced["conversations"][0]["last_seq"], 351);
    assert_eq!(synced["conversations"][0]["title"], "Alice");
    assert_eq!(seqs(&bobs.hears_messages(351).await), (2..=352).collect::<Vec<_>>());
    let mut tablet = bob.second_device().await.connects_and_syncs(json!({})).await;
    assert_eq!(seqs(&tablet.hears_messages(352).await), (1..=352).collect::<Vec<_>>());
}

async fn sync_during_message_storm_misses_nothing(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    const ALL: usize = 600;
    let storm = {
        let (alice, conversation) = (alice.clone(), conversation.clone());
        actix_web::rt::spawn(async move {
            for n in 0..ALL {
                alice.says(&conversation, &n.to_string(), "x").await.created();
            }
        })
    };

    // A phone that keeps losing its network in the middle of it.
    let mut got: Vec<i64> = Vec::new();
    while got.len() < ALL {
        let cursor = got.last().copied().unwrap_or(0);
        let cursors = json!({ (conversation.clone()): cursor });
        let mut socket = bob.connects_and_syncs(cursors).await;
        let take = (ALL - got.len()).min(60);
        got.extend(seqs(&socket.hears_messages(take).await));
        socket.vanishes();
    }
    storm.await.unwrap();

    let wrong = got.iter().zip(1..).position(|(seq, wanted)| *seq != wanted);
    assert_eq!(wrong.map(|at| &got[at.saturating_sub(3)..(at + 5).min(ALL)]), None);
}

async fn session_is_resumed_within_resume_window(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let open = async |bob: &crate::support::Person| {
        let mut socket = Socket::open(&bob.address).await;
        let token = json!({ "token": bob.access });
        let authenticated = socket.asks("authenticate", token).await.unwrap();
        (socket, authenticated)
    };
    let (first, before) = open(&bob).await;
    first.vanishes();
    // The server notices the end of the socket when it sees it; until then a new session is right.
    let (mut socket, after) = loop {
        let (socket, after) = open(&bob).await;
        if after["resumed"] == true {
            break (socket, after);
        }
        socket.vanishes();
    };
    alice.says(&conversation, "1", "there you are").await.created();

    assert_eq!((&before["resumed"], &before["user_id"]), (&json!(false), &json!(bob.id)));
    assert_eq!(after["device_id"], json!(bob.device));
    assert_eq!(socket.hears("message").await["seq"], 1, "without a sync, what follows");
}

async fn chat_shard_restart_loses_no_acknowledged_message(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let operator = world.operator().await;
    let mut bobs = bob.connects_and_syncs(json!({})).await;

    let mut acknowledged = 0;
    for n in 0..200 {
        if n % 40 == 20 {
            for lane in 0..8 {
                operator
                    .post(&format!("/api/admin/actors/node/chat/{lane}/restart"), json!(null))
                    .await
                    .done();
            }
        }
        // Unknown outcomes are asked again with the same client id, as clients do.
        while alice.says(&conversation, &n.to_string(), "x").await.status / 100 != 2 {}
        acknowledged += 1;
    }

    assert_eq!(seqs(&bobs.hears_messages(acknowledged).await), (1..=200).collect::<Vec<_>>());
    let tree = operator.get("/api/admin/actors").await.ok();
    let lane =
        tree["items"].as_array().unwrap().iter().find(|a| a["path"] == "/node/chat/0").unwrap();
    assert_eq!((&lane["state"], &lane["restarts"]), (&json!("running"), &json!(5)));
}

async fn server_restart_loses_no_acknowledged_message(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut before = alice.connects().await;
    alice.says(&conversation, "1", "before").await.created();

    assert_eq!(world.stop().await, Some(0), "an orderly end");
    assert_eq!(before.hears("reconnect").await["after_ms"], 500);
    assert_eq!(before.ends().await, End::Closed(1012, "leaving".to_owned()));
    world.start();
    let mut bobs = bob.connects_and_syncs(json!({})).await;

    assert_eq!(bobs.hears("message").await["body"], "before");
    let again = alice.says(&conversation, "1", "after").await.ok();
    assert_eq!(again["body"], "before", "a client_id is remembered for good");
}

#[actix_web::test]
async fn unauthenticated_socket_is_closed_after_timeout() {
    let world =
        World::with(Backend::Sqlite, &[("SESSIONS__AUTHENTICATE_TIMEOUT_SECONDS", "1")]).await;
    let mut socket = Socket::open(&world.address()).await;

    let early = socket.asks("sync", json!({})).await.unwrap_err();
    let wrong = socket.asks("authenticate", json!({ "token": "nonsense" })).await.unwrap_err();

    assert_eq!(early["code"], "event/not-authenticated");
    assert_eq!((&wrong["code"], &wrong["status"]), (&json!("auth/invalid-token"), &json!(401)));
    assert_eq!(socket.ends().await, End::Closed(1008, "not-authenticated".to_owned()));
}

fn signal(world: &World, name: &str) {
    let told = std::process::Command::new("kill").args([name, &world.pid().to_string()]).status();
    assert!(told.unwrap().success());
}

#[actix_web::test]
async fn mass_reconnect_and_sync_succeeds() {
    let world = World::with(Backend::Sqlite, &[("DATABASE__QUEUE_CAPACITY", "64")]).await;
    let alice = world.person("Alice").await;
    let mut devices = Vec::new();
    for _ in 0..400 {
        let device = alice.second_device().await;
        devices.push((Socket::open(&world.address()).await, device.access));
    }

    // The server finds all of them at the same moment.
    signal(&world, "-STOP");
    for (socket, token) in &mut devices {
        socket.says("authenticate", json!({ "token": token })).await;
    }
    signal(&world, "-CONT");

    for (socket, _) in &mut devices {
        let who = socket.reply(json!(1)).await.expect("it waits for its turn");
        assert_eq!(who["user_id"], json!(alice.id));
    }

    // And then what they ask: how far everything is.
    signal(&world, "-STOP");
    for (socket, _) in &mut devices {
        socket.says("sync", json!({ "cursors": {} })).await;
    }
    signal(&world, "-CONT");

    for (socket, _) in &mut devices {
        socket.reply(json!(2)).await.expect("it waits for its turn");
    }
}

#[actix_web::test]
async fn all_tabs_of_device_can_reconnect_simultaneously() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let mut tabs = Vec::new();
    for _ in 0..20 {
        let device = alice.second_device().await;
        for _ in 0..6 {
            tabs.push((Socket::open(&world.address()).await, device.access.clone()));
        }
    }

    signal(&world, "-STOP");
    for (socket, token) in &mut tabs {
        socket.says("authenticate", json!({ "token": token })).await;
    }
    signal(&world, "-CONT");

    let mut sessions = std::collections::HashSet::new();
    for (socket, _) in &mut tabs {
        let who = socket.reply(json!(1)).await.expect("each has a session of its own");
        sessions.insert(who["session_id"].to_string());
    }
    assert_eq!(sessions.len(), tabs.len());
}

#[actix_web::test]
async fn bad_frame_gets_error_reply_and_socket_stays_open() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, _, conversation) = world.two_friends().await;
    let mut socket = alice.connects().await;
    let nested =
        format!(r#"{{"id":1,"event":"sync","data":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));

    for bad in [
        "",
        "nonsense",
        "[]",
        r#"{"id":-1,"event":"sync"}"#,
        r#"{"event":7}"#,
        r#"{"event":"sync","x":1}"#,
    ] {
        socket.sends_text(bad).await;
        assert_eq!(
            socket.reply(json!(null)).await.unwrap_err()["code"],
            "event/invalid-frame",
            "{bad}"
        );
    }
    socket.sends_text(nested).await;
    assert_eq!(socket.reply(json!(1)).await.unwrap_err()["code"], "event/invalid");
    let unknown = socket.asks("dance", json!({})).await.unwrap_err();
    assert_eq!(unknown["code"], "event/unknown");
    let extra = json!({ "conversation_id": conversation, "colour": "red" });
    let extra = socket.asks("typing", extra).await.unwrap_err();
    assert_eq!(extra["code"], "event/invalid");
    let again = socket.asks("authenticate", json!({ "token": alice.access })).await.unwrap_err();
    assert_eq!(again["code"], "event/already-authenticated");
    socket.sends(Message::Binary(vec![1, 2, 3].into())).await;
    assert_eq!(socket.reply(json!(null)).await.unwrap_err()["code"], "event/invalid-frame");

    socket.asks("typing", json!({ "conversation_id": conversation })).await.unwrap();
}

#[actix_web::test]
async fn fragmented_websocket_message_is_reassembled() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, _, conversation) = world.two_friends().await;
    let mut socket = alice.connects().await;
    let text = json!({ "id": 99, "event": "typing", "data": { "conversation_id": conversation } });
    let text = text.to_string();
    let (a, rest) = text.split_at(10);
    let (b, c) = rest.split_at(10);

    socket.sends(Message::Continuation(Item::FirstText(a.to_owned().into()))).await;
    socket.sends(Message::Continuation(Item::Continue(b.to_owned().into()))).await;
    socket.sends(Message::Continuation(Item::Last(c.to_owned().into()))).await;

    socket.reply(json!(99)).await.unwrap();
}

#[actix_web::test]
async fn oversized_or_invalid_frame_closes_only_its_socket() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut others = bob.connects().await;
    let too_large = End::Closed(1009, "too-large".to_owned());

    let mut socket = alice.connects().await;
    socket.sends_text("x".repeat(300_000)).await;
    assert_eq!(socket.ends().await, too_large);
    let mut socket = alice.connects().await;
    let chunk = || "x".repeat(140_000);
    socket.sends(Message::Continuation(Item::FirstText(chunk().into()))).await;
    socket.sends(Message::Continuation(Item::Last(chunk().into()))).await;
    assert_eq!(socket.ends().await, too_large);
    let mut socket = alice.connects().await;
    socket.sends(Message::Continuation(Item::FirstText(vec![0xff, 0xfe].into()))).await;
    socket.sends(Message::Continuation(Item::Last(vec![0xfd].into()))).await;
    assert_eq!(socket.ends().await, End::Closed(1007, "garbled".to_owned()));

    alice.says(&conversation, "1", "still here").await.created();
    assert_eq!(others.hears("message").await["body"], "still here");
}

#[actix_web::test]
async fn event_flood_is_rate_limited_then_disconnected() {
    let settings = [
        ("LIMITS__EVENTS_PER_SECOND", "5"),
        ("LIMITS__EVENTS_BURST", "10"),
        ("LIMITS__EVENTS_MAX_VIOLATIONS", "20"),
    ];
    let world = World::with(Backend::Sqlite, &settings).await;
    let (alice, _, conversation) = world.two_friends().await;
    let mut socket = alice.connects().await;

    let mut refused = None;
    for _ in 0..25 {
        socket.says("typing", json!({ "conversation_id": conversation })).await;
    }
    for id in 2..=20 {
        match socket.reply(json!(id)).await {
            Ok(_) => {}
            Err(problem) => {
                refused = Some(problem);
                break;
            }
        }
    }

    assert_eq!(refused.expect("one of them was too many")["code"], "limits/rate-limited");
    for _ in 0..40 {
        socket.says("typing", json!({ "conversation_id": conversation })).await;
    }
    assert_eq!(socket.ends().await, End::Closed(1008, "abuse".to_owned()));
}

#[actix_web::test]
async fn session_limit_per_device_closes_oldest() {
    let world = World::with(Backend::Sqlite, &[("SESSIONS__MAX_PER_DEVICE", "2")]).await;
    let alice = world.person("Alice").await;
    let mut oldest = alice.connects().await;
    let _second = alice.connects().await;

    let _third = alice.connects().await;

    assert_eq!(oldest.ends().await, End::Closed(1008, "too-many-sessions".to_owned()));
}

#[actix_web::test]
async fn websocket_origin_is_checked() {
    let settings = [("HTTP__ALLOWED_ORIGINS", r#"["https://app.example"]"#)];
    let world = World::with(Backend::Sqlite, &settings).await;
    let address = world.address();
    let origin = async |origin: &str| {
        Socket::try_open(&address, &[("origin", origin)]).await.map(Socket::vanishes)
    };

    assert_eq!(origin("https://evil.example").await, Err(403));
    assert_eq!(origin("https://app.example").await, Ok(()));
    assert_eq!(origin(&format!("http://{address}")).await, Ok(()));
}
