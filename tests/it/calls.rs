//! People call each other: who rings, who hears what, and what is remembered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Backend, Person, Socket, World, on_both_databases, soon};

on_both_databases! {
    call_rings_all_devices_and_is_recorded_once,
    simultaneous_mutual_calls_merge_into_one,
    shadow_blocked_call_looks_normal_but_is_not_rung,
    parallel_joins_admit_exactly_max_participants,
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}

async fn starts(socket: &mut Socket, whom: &Person) -> String {
    let start = json!({ "user_id": whom.id, "media": "video" });
    let started = socket.asks("start_call", start).await.expect("they may");
    assert_eq!((text(&started["mode"]), &started["ring_timeout"]), ("p2p", &json!(45)));
    text(&started["call_id"]).to_owned()
}

async fn joins(socket: &mut Socket, call: &str) -> Value {
    let joined = socket.asks("join_call", json!({ "call_id": call })).await.expect("they may");
    assert_eq!(socket.hears("call_joined").await, joined);
    joined
}

async fn history(person: &Person) -> Vec<Value> {
    person.get("/api/calls").await.ok()["items"].as_array().unwrap().clone()
}

/// History is written when the call has ended; whoever heard of the end may be a little early.
async fn remembers(person: &Person, reason: &str) -> Value {
    soon("the call is in history", async {
        loop {
            let past = history(person).await;
            if past.first().is_some_and(|call| call["reason"] == reason) {
                assert_eq!(past.len(), 1, "one call, one record");
                return past[0].clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn call_rings_all_devices_and_is_recorded_once(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, _) = world.two_friends().await;
    let bob2 = Person::from_answer(
        world.address(),
        "Bob",
        &bob.phone,
        world.stranger().logs_in(&bob.phone).await.ok(),
    );
    let mut alices = alice.connects().await;
    let (mut phone, mut tablet) = (bob.connects().await, bob2.connects().await);

    let call = starts(&mut alices, &bob).await;
    for device in [&mut phone, &mut tablet] {
        let incoming = device.hears("incoming_call").await;
        assert_eq!((text(&incoming["call_id"]), text(&incoming["media"])), (&*call, "video"));
        assert_eq!(incoming["from"], json!({ "user_id": alice.id, "name": "Alice" }));
    }
    let alone = joins(&mut alices, &call).await;
    assert_eq!(alone["participants"], json!([]));
    phone.asks("accept_call", json!({ "call_id": call })).await.unwrap();
    assert_eq!(text(&tablet.hears("call_answered").await["user_id"]), bob.id);
    assert_eq!(text(&alices.hears("call_answered").await["user_id"]), bob.id);
    let joined = joins(&mut phone, &call).await;
    assert_eq!(joined["participants"][0]["name"], "Alice");
    let news = alices.hears("participant_joined").await;
    assert_eq!(news["participant_id"], joined["participant_id"]);

    // Offer, answer and candidates find their way.
    let (a, b) = (text(&alone["participant_id"]), text(&joined["participant_id"]));
    let offer = json!({ "call_id": call, "to": b, "sdp": "an offer" });
    alices.asks("offer", offer).await.unwrap();
    let heard = phone.hears("offer").await;
    assert_eq!(heard, json!({ "call_id": call, "from": a, "sdp": "an offer" }));
    let answer = json!({ "call_id": call, "to": a, "sdp": "an answer" });
    phone.asks("answer", answer).await.unwrap();
    assert_eq!(text(&alices.hears("answer").await["sdp"]), "an answer");
    let candidate = json!({ "call_id": call, "to": b, "candidate": { "candidate": "c" } });
    alices.asks("ice_candidate", candidate).await.unwrap();
    assert_eq!(phone.hears("ice_candidate").await["candidate"]["candidate"], "c");
    alices.asks("mute_audio", json!({ "muted": true })).await.unwrap();
    assert_eq!(phone.hears("participant_updated").await["audio"], false);

    phone.asks("leave_call", json!({})).await.unwrap();
    assert_eq!(text(&alices.hears("call_ended").await["reason"]), "hangup");
    for person in [&alice, &bob] {
        let past = remembers(person, "hangup").await;
        assert_eq!((text(&past["call_id"]), text(&past["from"]["name"])), (&*call, "Alice"));
        assert!(past["answered_at"].is_string());
        assert_eq!(past["people"].as_array().unwrap().len(), 2);
    }
    let stats = alice.get("/api/call/stats").await.ok();
    assert_eq!(stats["totalActiveCalls"], 0);
    phone.hears("call_ended").await;
    assert_eq!(phone.unheard("call_ended") + alices.unheard("call_ended"), 0, "each once");
}

async fn simultaneous_mutual_calls_merge_into_one(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, _) = world.two_friends().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);

    let (first, second) = tokio::join!(starts(&mut alices, &bob), starts(&mut bobs, &alice));
    assert_eq!(first, second);
    joins(&mut alices, &first).await;
    joins(&mut bobs, &first).await;
    let stats = bob.get("/api/call/stats").await.ok();
    assert_eq!(stats["totalActiveCalls"], 1);
    assert_eq!(stats["activeCalls"][0]["participants"], 2);
    alices.vanishes();
    bobs.asks("leave_call", json!({ "call_id": first })).await.unwrap();

    remembers(&bob, "hangup").await;
    assert_eq!(history(&alice).await.len(), 1);
}

async fn parallel_joins_admit_exactly_max_participants(backend: Backend) {
    let world = World::with(backend, &[("CALLS__MAX_PARTICIPANTS", "5")]).await;
    let mut sockets = Vec::new();
    for n in 0..12 {
        sockets.push(world.person(&format!("Person {n}")).await.connects().await);
    }
    let join = |mut socket: Socket| async move {
        let joined = socket.asks("join_call", json!({ "sessionId": "crowd" })).await;
        (socket, joined)
    };
    let outcomes = futures_util::future::join_all(sockets.into_iter().map(join)).await;

    let (inside, outside): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|(_, joined)| joined.is_ok());
    assert_eq!(inside.len(), 5);
    assert!(outside.iter().all(
        |(_, joined)| joined.as_ref().unwrap_err()["code"] == "calls/participant-limit-reached"
    ));
    let ids: std::collections::HashSet<_> =
        inside.iter().map(|(_, joined)| joined.as_ref().unwrap()["call_id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "all in one call");
}

#[actix_web::test]
async fn declined_cancelled_and_missed_calls_are_recorded() {
    let world = World::with(Backend::Sqlite, &[("CALLS__RING_TIMEOUT_SECONDS", "1")]).await;
    let (alice, bob, _) = world.two_friends().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let start = json!({ "user_id": bob.id, "media": "audio" });

    let mut past = Vec::new();
    for (reason, who) in [("declined", "bob"), ("cancelled", "alice"), ("missed", "nobody")] {
        let started = alices.asks("start_call", start.clone()).await.unwrap();
        let call = started["call_id"].clone();
        assert_eq!(bobs.hears("incoming_call").await["call_id"], call);
        match who {
            "bob" => drop(bobs.asks("decline_call", json!({ "call_id": call })).await.unwrap()),
            "alice" => drop(alices.asks("cancel_call", json!({ "call_id": call })).await.unwrap()),
            _ => {}
        }
        for socket in [&mut alices, &mut bobs] {
            let ended = socket.hears("call_ended").await;
            assert_eq!((&ended["call_id"], text(&ended["reason"])), (&call, reason));
        }
        past.insert(0, reason);
    }

    soon("all three are in history", async {
        while history(&bob).await.iter().any(|call| call["reason"].is_null()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let reasons: Vec<_> =
        history(&bob).await.iter().map(|c| text(&c["reason"]).to_owned()).collect();
    assert_eq!(reasons, past);
}

#[actix_web::test]
async fn device_connecting_during_ringing_is_rung() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, _) = world.two_friends().await;
    let mut alices = alice.connects().await;
    let call = starts(&mut alices, &bob).await;

    let mut bobs = bob.connects().await;
    assert_eq!(text(&bobs.hears("incoming_call").await["call_id"]), call);
}

#[actix_web::test]
async fn callee_in_another_call_is_busy() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, _) = world.two_friends().await;
    let eve = world.person("Eve").await;
    eve.befriends(&bob).await;
    let (mut alices, mut bobs, mut eves) =
        (alice.connects().await, bob.connects().await, eve.connects().await);
    let call = starts(&mut alices, &bob).await;
    joins(&mut bobs, &call).await;
    let second = starts(&mut eves, &bob).await;

    let ended = eves.hears("call_ended").await;
    assert_eq!((text(&ended["call_id"]), text(&ended["reason"])), (&*second, "busy"));
    assert_eq!(bobs.unheard("incoming_call"), 1, "the first one's only");
    remembers(&eve, "busy").await;
}

#[actix_web::test]
async fn strangers_cannot_start_call() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let eve = world.person("Eve").await;
    let (mut alices, mut eves) = (alice.connects().await, eve.connects().await);
    let start = |user: &str| json!({ "user_id": user, "media": "audio" });

    let refused = eves.asks("start_call", start(&bob.id)).await.unwrap_err();
    assert_eq!(refused["code"], "calls/callee-not-reachable");
    let nobody = "usr_00000000000000000000000000000000";
    let refused = eves.asks("start_call", start(nobody)).await.unwrap_err();
    assert_eq!(refused["code"], "calls/user-not-found");
    let both = json!({ "user_id": bob.id, "conversation_id": conversation, "media": "audio" });
    let refused = alices.asks("start_call", both).await.unwrap_err();
    assert_eq!(refused["code"], "calls/ambiguous-target");
    assert!(history(&bob).await.is_empty());
}

/// What the caller hears and remembers of a call that nobody takes, without what differs from one
/// call to the next.
async fn rings_in_vain(caller: &mut Socket, person: &Person, conversation: &str) -> Value {
    let start = json!({ "conversation_id": conversation, "media": "audio" });
    let mut started = caller.asks("start_call", start).await.expect("it rings");
    let call = text(&started["call_id"]).to_owned();
    let mut joined = joins(caller, &call).await;
    caller.asks("cancel_call", json!({ "call_id": call })).await.expect("it rang");
    let mut ended = caller.hears("call_ended").await;
    let mut past = soon("the call is in history", async {
        loop {
            match history(person).await.into_iter().find(|past| past["call_id"] == call) {
                Some(past) if past["ended_at"] != Value::Null => break past,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
    for value in [&mut started, &mut joined, &mut ended, &mut past] {
        for own in ["call_id", "started_at", "ended_at", "epoch", "ice_servers"] {
            value.as_object_mut().unwrap().remove(own);
        }
    }
    for one in past["people"].as_array_mut().unwrap() {
        for own in ["joined_at", "left_at"] {
            one.as_object_mut().unwrap().remove(own);
        }
    }
    json!([started, joined, ended, past])
}

async fn shadow_blocked_call_looks_normal_but_is_not_rung(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let before = rings_in_vain(&mut alices, &alice, &conversation).await;
    let heard = text(&bobs.hears("incoming_call").await["call_id"]).to_owned();
    bobs.hears("call_ended").await;
    bob.put(&format!("/api/contacts/{}/block", alice.id), json!({})).await.done();

    assert_eq!(rings_in_vain(&mut alices, &alice, &conversation).await, before);
    let start = json!({ "conversation_id": conversation, "media": "audio" });
    let rings = alices.asks("start_call", start.clone()).await.unwrap()["call_id"].clone();
    let mut bob2 = bob.connects().await;
    for device in [&mut bobs, &mut bob2] {
        let refused = device.asks("start_call", start.clone()).await.unwrap_err();
        assert_eq!(refused["code"], "calls/callee-not-reachable", "who blocks knows it");
        let heard = ["incoming_call", "call_ended", "call_answered", "call_declined"];
        assert_eq!(heard.map(|news| device.unheard(news)), [0; 4]);
    }
    alices.asks("cancel_call", json!({ "call_id": rings })).await.unwrap();
    let past = history(&bob).await;
    assert_eq!(past.len(), 1, "{past:?}");
    assert_eq!(text(&past[0]["call_id"]), heard);
}

#[actix_web::test]
async fn invited_third_participant_upgrades_call_to_sfu() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, _) = world.two_friends().await;
    let eve = world.person("Eve").await;
    alice.befriends(&eve).await;
    let (mut alices, mut bobs, mut eves) =
        (alice.connects().await, bob.connects().await, eve.connects().await);
    let call = starts(&mut alices, &bob).await;
    joins(&mut alices, &call).await;
    joins(&mut bobs, &call).await;
    let uninvited = eves.asks("join_call", json!({ "call_id": call })).await.unwrap_err();
    assert_eq!(uninvited["code"], "calls/call-not-found");
    alices.asks("invite_call", json!({ "call_id": call, "user_id": eve.id })).await.unwrap();
    assert_eq!(text(&eves.hears("incoming_call").await["call_id"]), call);
    let joined = joins(&mut eves, &call).await;

    assert_eq!(
        (text(&joined["mode"]), joined["participants"].as_array().unwrap().len()),
        ("sfu", 2)
    );
    for socket in [&mut alices, &mut bobs] {
        assert_eq!(text(&socket.hears("call_mode").await["mode"]), "sfu");
    }
}

#[actix_web::test]
async fn killed_server_closes_open_calls_on_restart() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, _) = world.two_friends().await;
    let mut alices = alice.connects().await;
    starts(&mut alices, &bob).await;
    world.kill();
    world.start();

    let again = world.stranger().logs_in(&bob.phone).await.ok();
    let bob = Person::from_answer(world.address(), "Bob", &bob.phone, again);
    let past = history(&bob).await;
    assert_eq!((past.len(), text(&past[0]["reason"])), (1, "failed"));
    assert_eq!(bob.get("/health").await.ok()["activeCalls"], 0);
}

#[actix_web::test]
async fn device_lost_beyond_resume_window_leaves_call() {
    let world = World::with(Backend::Sqlite, &[("SESSIONS__RESUME_WINDOW_SECONDS", "1")]).await;
    let (alice, bob, _) = world.two_friends().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let call = starts(&mut alices, &bob).await;
    joins(&mut alices, &call).await;
    joins(&mut bobs, &call).await;
    bobs.vanishes();

    assert_eq!(text(&alices.hears("call_ended").await["reason"]), "hangup");
}
