//! Who may call what: every route and every event, with every role, without one, and with another
//! person's ids.

use awc::http::Method;
use securevox::http::access::AccessRule;
use securevox::http::route::Route;
use securevox::http::routes::routes;
use securevox::protocol::client::ClientEvent;
use serde_json::{Value, json};

use crate::support::{Answer, Backend, Person, Socket, World};

/// A path with an id of the right kind in each variable part.
fn path(route: &Route, ids: &[(&str, &str)]) -> String {
    ids.iter().fold(route.path.replace(":.+}", "}"), |path, (name, id)| {
        path.replace(&format!("{{{name}}}"), id)
    })
}

async fn calls(person: &Person, route: &Route, path: &str, headers: &[(&str, &str)]) -> Answer {
    let method = Method::from_bytes(route.method.as_str().as_bytes()).unwrap();
    let mut all = headers.to_vec();
    let bearer = format!("Bearer {}", person.access);
    if !person.access.is_empty() {
        all.push(("authorization", &bearer));
    }
    // A proxy speaks, so that being on this machine opens nothing.
    all.push(("x-forwarded-for", "203.0.113.7"));
    let body = route.body.is_some().then(|| b"{}".to_vec());
    person.sends(method, path, &all, body).await
}

/// What a caller who may not pass the door is told; everything else has passed it.
fn turned_away(answer: &Answer) -> Option<u16> {
    let code = answer.body["code"].as_str().unwrap_or_default();
    let at_the_door = [
        "auth/unauthenticated",
        "auth/invalid-token",
        "auth/forbidden",
        "auth/token-type-not-allowed",
    ];
    at_the_door.contains(&code).then_some(answer.status)
}

#[actix_web::test]
async fn every_route_enforces_its_access_rule() {
    let world = World::new(Backend::Sqlite).await;
    let (user, operator, admin) =
        (world.person("User").await, world.operator().await, world.admin().await);
    let stranger = world.stranger();
    let mut forged = stranger.clone();
    forged.access = "eyJhbGciOiJFZERTQSJ9.e30.c2ln".to_owned();
    let machine = admin
        .post("/api/admin/tokens", json!({ "name": "ci", "scopes": ["builds:write"] }))
        .await
        .created();
    let machine = format!("Token {}", machine["secret"].as_str().unwrap());
    let ids = [
        ("id", "dev_00000000000000000000000000000000"),
        ("user_id", "usr_00000000000000000000000000000000"),
        ("path", "node/nobody"),
        ("file", "style.css"),
    ];

    let mut wrong = Vec::new();
    for route in routes() {
        let path = path(&route, &ids);
        if route.path == "/api/auth/logout" {
            continue; // it would sign everybody out; its door is that of the routes beside it
        }
        let who = route.access;
        let may = |role: &str| match who {
            AccessRule::Anyone => true,
            AccessRule::User | AccessRule::UserOrScope(_) => role != "nobody",
            AccessRule::Operator | AccessRule::LocalOrScope(_) => {
                role == "operator" || role == "admin"
            }
            AccessRule::Admin => role == "admin",
        };
        let mut expect = |role: &str, answer: Answer, status: u16| {
            let told = turned_away(&answer);
            let right = if may(role) { told.is_none() } else { told == Some(status) };
            if !right || answer.status >= 500 {
                wrong.push(format!(
                    "{} {path} as {role}: {} {}",
                    route.method, answer.status, answer.text
                ));
            }
        };
        expect("nobody", calls(&stranger, &route, &path, &[]).await, 401);
        expect("user", calls(&user, &route, &path, &[]).await, 403);
        expect("operator", calls(&operator, &route, &path, &[]).await, 403);
        expect("admin", calls(&admin, &route, &path, &[]).await, 403);
        if who != AccessRule::Anyone {
            let answer = calls(&forged, &route, &path, &[]).await;
            if turned_away(&answer) != Some(401) {
                wrong.push(format!(
                    "{} {path} with a forged token: {}",
                    route.method, answer.status
                ));
            }
            let answer = calls(&stranger, &route, &path, &[("authorization", &machine)]).await;
            if turned_away(&answer) != Some(403) {
                wrong.push(format!("{} {path} with an API token: {}", route.method, answer.status));
            }
            let answer = calls(&stranger, &route, &path, &[("authorization", "Basic eDp5")]).await;
            if turned_away(&answer) != Some(401) {
                wrong.push(format!("{} {path} with Basic: {}", route.method, answer.status));
            }
        }
    }

    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[actix_web::test]
async fn foreign_ids_return_404() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let said = alice.says(&conversation, "1", "private").await.created();
    let eve = world.person("Eve").await;
    let admin = world.admin().await;
    let ids = [
        ("id", conversation.as_str()),
        ("user_id", bob.id.as_str()),
        ("message_id", said["id"].as_str().unwrap()),
        ("emoji", "%F0%9F%91%8D"),
        ("invite_id", "inv_00000000000000000000000000000000"),
        ("token", "0"),
    ];
    let devices = [("id", alice.device.as_str())];

    for intruder in [&eve, &admin] {
        for route in routes()
            .iter()
            .filter(|route| route.path.contains('{') && route.access == AccessRule::User)
        {
            let devices_route = route.path.starts_with("/api/me/devices");
            let path = path(route, if devices_route { &devices } else { &ids });
            let body = match (route.method.as_str(), route.path.rsplit('/').next()) {
                ("POST", Some("messages")) => json!({ "client_id": "x", "body": "x" }),
                ("PATCH", Some("me")) => json!({ "archived": true }),
                ("PATCH", _) if route.path.ends_with("{message_id}") => json!({ "body": "x" }),
                ("PATCH", _) => json!({ "title": "x" }),
                _ => json!({}),
            };
            let method = Method::from_bytes(route.method.as_str().as_bytes()).unwrap();
            let answer = intruder.asks(method, &path, Some(body)).await;
            if route.path.ends_with("/block") {
                continue; // anybody may keep anybody away
            }
            assert_eq!(answer.status, 404, "{} {path}: {}", route.method, answer.text);
            assert!(!answer.text.contains("private"));
        }
    }

    assert_eq!(alice.reads(&conversation).await.len(), 1);
    alice.get("/api/me").await.ok();
    let contacts = alice.get("/api/contacts").await.ok();
    assert_eq!(contacts["items"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn every_event_rejects_unauthenticated_and_foreign_ids() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, _, conversation) = world.two_friends().await;
    let eve = world.person("Eve").await;
    let mut alices = alice.connects().await;
    let started = json!({ "conversation_id": conversation, "media": "audio" });
    let started = alices.asks("start_call", started).await.unwrap();
    let call = started["call_id"].as_str().unwrap();
    alices.asks("join_call", json!({ "call_id": call })).await.unwrap();
    let data = |event: &str| -> Value {
        match event {
            "authenticate" => json!({ "token": "nonsense" }),
            "sync" => json!({ "cursors": { (conversation.clone()): 0 } }),
            "send_message" => {
                json!({ "conversation_id": conversation, "client_id": "e", "body": "e" })
            }
            "ack" | "read" => json!({ "conversation_id": conversation, "seq": 1 }),
            "typing" => json!({ "conversation_id": conversation }),
            "start_call" => json!({ "conversation_id": conversation, "media": "audio" }),
            "invite_call" => json!({ "call_id": call, "user_id": alice.id }),
            "offer" => json!({ "call_id": call, "sdp": "v=0" }),
            "answer" => json!({ "call_id": call, "to": "p1", "sdp": "v=0" }),
            "ice_candidate" => json!({ "call_id": call, "to": "p1", "candidate": {} }),
            "mute_audio" | "mute_video" => json!({ "call_id": call, "muted": true }),
            "set_layer" => json!({ "call_id": call, "track_id": "t1-1", "max": "low" }),
            "moderate" => json!({ "call_id": call, "participant_id": "p1", "action": "kick" }),
            event if event.ends_with("_call") => json!({ "call_id": call }),
            other => panic!("say what the data of `{other}` are"),
        }
    };
    alice.says(&conversation, "1", "private").await.created();

    let mut nameless = Socket::open(&world.address()).await;
    let mut eves = eve.connects().await;
    for event in ClientEvent::NAMES {
        let refused = nameless.asks(event, data(event)).await.unwrap_err();
        let code =
            if event == "authenticate" { "auth/invalid-token" } else { "event/not-authenticated" };
        assert_eq!(refused["code"], code, "{event}");
        match event {
            "authenticate" => {}
            "sync" => {
                let synced = eves.asks(event, data(event)).await.unwrap();
                assert_eq!(synced, json!({ "conversations": [] }));
            }
            "send_message" | "ack" | "read" | "typing" => {
                let refused = eves.asks(event, data(event)).await.unwrap_err();
                assert_eq!(refused["code"], "chat/conversation-not-found", "{event}");
            }
            _ => {
                let refused = eves.asks(event, data(event)).await.unwrap_err();
                let right = [
                    "calls/call-not-found",
                    "calls/conversation-not-found",
                    "calls/callee-not-reachable",
                ];
                assert!(right.contains(&refused["code"].as_str().unwrap()), "{event}: {refused}");
            }
        }
    }

    assert_eq!(eves.unheard("message"), 0);
    assert_eq!(alice.reads(&conversation).await.len(), 1);
    assert_eq!(alices.unheard("call_ended") + alices.unheard("participant_updated"), 0);
}
