//! Rooms of calls that are entered by name: tokens, moderation, restarts, storms.

use std::time::Duration;

#[cfg(debug_assertions)]
use media::MediaKind;
#[cfg(debug_assertions)]
use media::test_peer::{OfferSection, TestPeer};
use serde_json::json;

use crate::calls::text;
use crate::support::{Backend, PANIC_DATAGRAM_SUFFIX, Socket, World, soon};

#[actix_web::test]
async fn call_token_grants_access_to_one_call_only() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let ask = |user: &str, role: Option<&str>| json!({ "userId": user, "sessionId": "standup", "role": role });
    let foreign = alice.post("/api/call/token", ask(&bob.id, None)).await;
    assert_eq!(foreign.status, 403);
    let raised = alice.post("/api/call/token", ask(&alice.id, Some("moderator"))).await;
    assert_eq!(raised.status, 403);
    let own = alice.post("/api/call/token", ask(&alice.id, None)).await.ok();
    assert_eq!(own["sessionId"], "standup");

    let admin = world.admin().await;
    let service = json!({ "name": "site", "scopes": ["calls:token"] });
    let service = admin.post("/api/admin/tokens", service).await.created();
    let header = format!("Token {}", text(&service["secret"]));
    let body = ask(&bob.id, Some("moderator")).to_string().into_bytes();
    let headers = [("authorization", &*header), ("content-type", "application/json")];
    let stranger = world.stranger();
    let answer = stranger.sends(awc::http::Method::POST, "/api/call/token", &headers, Some(body));
    let bobs_token = answer.await.ok();

    let mut bobs = Socket::open(&world.address()).await;
    bobs.asks("authenticate", json!({ "token": bobs_token["token"] })).await.unwrap();
    let refused =
        bobs.asks("typing", json!({ "conversation_id": conversation })).await.unwrap_err();
    assert_eq!(refused["code"], "calls/token-limited-to-call");
    let other = bobs.asks("join_call", json!({ "sessionId": "another" })).await.unwrap_err();
    assert_eq!(other["code"], "calls/token-limited-to-call");
    let start = json!({ "user_id": alice.id, "media": "audio" });
    assert_eq!(
        bobs.asks("start_call", start).await.unwrap_err()["code"],
        "calls/token-limited-to-call"
    );
    let joined = bobs.asks("join_call", json!({ "sessionId": "standup" })).await.unwrap();
    assert_eq!((text(&joined["mode"]), text(&joined["sessionId"])), ("sfu", "standup"));

    let mut alices = Socket::open(&world.address()).await;
    alices.asks("authenticate", json!({ "token": own["token"] })).await.unwrap();
    alices.asks("join_call", json!({})).await.unwrap();
    let alices_number = bobs.hears("participant_joined").await["participant_id"].clone();
    alice.says(&conversation, "1", "not for guests").await.created();
    let kick = json!({ "participant_id": alices_number, "action": "kick" });
    bobs.asks("moderate", kick).await.unwrap();
    assert_eq!(text(&alices.hears("call_ended").await["reason"]), "kicked");
    let back = alices.asks("join_call", json!({})).await.unwrap_err();
    assert_eq!(back["code"], "calls/not-allowed");
    assert_eq!(bobs.unheard("message") + alices.unheard("message"), 0);
    let bearer = format!("Bearer {}", text(&own["token"]));
    let headers = [("authorization", &*bearer)];
    let as_access = stranger.sends(awc::http::Method::GET, "/api/me", &headers, None);
    assert_eq!(as_access.await.status, 401);
}

#[actix_web::test]
async fn call_token_is_revoked_with_its_device() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let tablet = alice.second_device().await;
    let new = json!({ "userId": alice.id, "sessionId": "standup" });
    let token = tablet.post("/api/call/token", new).await.ok()["token"].clone();
    let enters = async || {
        let mut socket = Socket::open(&world.address()).await;
        socket.asks("authenticate", json!({ "token": token })).await
    };
    assert!(enters().await.is_ok());
    tablet.post("/api/auth/logout", json!(null)).await.done();

    assert_eq!(enters().await.unwrap_err()["code"], "auth/invalid-token");
}

#[actix_web::test]
async fn p2p_call_can_be_upgraded_to_sfu_once() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, _) = world.two_friends().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let start = json!({ "user_id": bob.id, "media": "video" });
    let started = alices.asks("start_call", start).await.unwrap();
    let call = json!({ "call_id": started["call_id"] });
    let outside = bobs.asks("upgrade_call", call.clone()).await.unwrap_err();
    assert_eq!(outside["code"], "calls/not-in-call");
    alices.asks("join_call", call.clone()).await.unwrap();
    bobs.asks("join_call", call.clone()).await.unwrap();
    bobs.asks("upgrade_call", call.clone()).await.unwrap();
    bobs.asks("upgrade_call", call).await.unwrap();

    for socket in [&mut alices, &mut bobs] {
        assert_eq!(text(&socket.hears("call_mode").await["mode"]), "sfu");
    }
    assert_eq!(alices.unheard("call_mode") + bobs.unheard("call_mode"), 0, "once");
}

#[actix_web::test]
async fn unanswerable_offer_is_rejected_and_call_continues() {
    let world = World::new(Backend::Sqlite).await;
    let mut socket = world.person("Alice").await.connects().await;
    socket.asks("join_call", json!({ "sessionId": "room" })).await.unwrap();
    for (offer, code) in [
        (json!({ "sdp": "nonsense" }), "calls/invalid-offer"),
        (json!({ "sdp": "", "receive": { "0": "t1-9" } }), "calls/invalid-offer"),
        (json!({ "sdp": "v=0", "receive": { "0": "t9-1" } }), "calls/track-not-found"),
        (json!({ "sdp": "v=0", "to": "p9" }), "calls/participant-not-found"),
        (json!({ "sdp": "v=0", "publish": { "0": { "source": "window" } } }), "event/invalid"),
    ] {
        let refused = socket.asks("offer", offer.clone()).await.unwrap_err();
        assert_eq!(refused["code"], code, "{offer}");
    }
    let low = json!({ "track_id": "t1-1", "max": "low" });
    assert_eq!(socket.asks("set_layer", low).await.unwrap_err()["code"], "calls/track-not-found");

    socket.asks("mute_audio", json!({ "muted": true })).await.unwrap();
}

#[actix_web::test]
async fn restarted_call_room_keeps_participants_at_next_epoch() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let operator = world.operator().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let join = json!({ "sessionId": "room" });
    let first = alices.asks("join_call", join.clone()).await.unwrap();
    bobs.asks("join_call", join).await.unwrap();
    let calls = operator.get("/api/admin/calls").await.ok();
    let path = text(&calls["items"][0]["path"]).to_owned();
    assert!(path.starts_with("/node/rooms/"), "{path}");

    operator.post(&format!("/api/admin/actors{path}/restart"), json!({})).await.done();
    for socket in [&mut alices, &mut bobs] {
        let moved = socket.hears("call_moved").await;
        assert_eq!((&moved["call_id"], &moved["epoch"]), (&first["call_id"], &json!(2)));
    }
    let calls = operator.get("/api/admin/calls").await.ok();
    assert_eq!(calls["items"][0]["participants"].as_array().unwrap().len(), 2);
    assert_eq!(calls["items"][0]["epoch"], 2);

    operator.post(&format!("/api/admin/actors{path}/stop"), json!({})).await.done();
    for socket in [&mut alices, &mut bobs] {
        assert_eq!(text(&socket.hears("call_ended").await["reason"]), "failed");
    }
}

#[actix_web::test]
async fn panicking_sfu_room_restarts_without_affecting_others() {
    let world = World::with(Backend::Sqlite, &[("MEDIA__THREADS", "1")]).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let eve = world.person("Eve").await;
    let operator = world.operator().await;
    let (mut alices, mut bobs, mut eves) =
        (alice.connects().await, bob.connects().await, eve.connects().await);
    let room = json!({ "sessionId": "room" });
    let call = alices.asks("join_call", room.clone()).await.unwrap()["call_id"].clone();
    bobs.asks("join_call", room).await.unwrap();
    eves.asks("join_call", json!({ "sessionId": "another" })).await.unwrap();
    let now = std::time::Instant::now();
    let mut client = TestPeer::new(now, 1).unwrap();
    let lines = [OfferSection::new("0", MediaKind::Audio).with_formats(&[111]).sending()];
    let offer = json!({ "sdp": client.offer(&lines).unwrap() });
    alices.asks("offer", offer.clone()).await.unwrap();
    let answer = alices.hears("answer").await;
    let port = client.answered(text(&answer["sdp"])).unwrap();

    // A connectivity check is dispatched to its room, which panics at this one.
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.timeout(now, |check| {
        let packet = [check, PANIC_DATAGRAM_SUFFIX.as_bytes()].concat();
        udp.send_to(&packet, port).unwrap();
    });
    for socket in [&mut alices, &mut bobs] {
        let moved = socket.hears("call_moved").await;
        assert_eq!((&moved["call_id"], &moved["epoch"]), (&call, &json!(2)));
    }

    let calls = operator.get("/api/admin/calls").await.ok();
    let calls = calls["items"].as_array().unwrap();
    let moved = calls.iter().find(|other| other["call_id"] == call).unwrap();
    assert_eq!(moved["participants"].as_array().unwrap().len(), 2, "everybody is still in it");
    let other = calls.iter().find(|other| other["call_id"] != call).unwrap();
    assert_eq!((&other["epoch"], eves.unheard("call_moved")), (&json!(1), 0));
    let tree = operator.get("/api/admin/actors").await.ok();
    let room = tree["items"].as_array().unwrap().iter().find(|it| it["path"] == moved["path"]);
    let failure = room.unwrap()["last_failure"].to_string();
    assert!(failure.contains("injected fault"), "{}", room.unwrap());
    alices.asks("offer", offer).await.expect("the new life answers");
    assert_eq!(alices.hears("answer").await["epoch"], 2);
}

#[actix_web::test]
async fn join_and_leave_storm_leaves_no_rooms() {
    let world = World::new(Backend::Sqlite).await;
    let operator = world.operator().await;
    let mut sockets = Vec::new();
    for n in 0..20 {
        sockets.push(world.person(&format!("Person {n}")).await.connects().await);
    }
    let come_and_go = |mut socket: Socket| async move {
        for _ in 0..50 {
            let joined = socket.asks("join_call", json!({ "sessionId": "storm" })).await.unwrap();
            let ids: Vec<_> = joined["participants"].as_array().unwrap().iter().collect();
            assert!(ids.len() < 20, "nobody is there twice");
            socket.asks("leave_call", json!({ "call_id": joined["call_id"] })).await.unwrap();
        }
        socket
    };
    futures_util::future::join_all(sockets.into_iter().map(come_and_go)).await;

    soon("all rooms are gone", async {
        loop {
            let calls = operator.get("/api/admin/calls").await.ok();
            let tree = operator.get("/api/admin/actors").await.ok();
            let paths = tree["items"].as_array().unwrap().iter().map(|item| text(&item["path"]));
            let rooms = paths.filter(|path| path.matches('/').count() == 4);
            let rooms = rooms.filter(|path| path.starts_with("/node/rooms/")).count();
            if calls["items"] == json!([]) && rooms == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
