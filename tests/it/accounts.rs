//! Who somebody is, on which device, and for how long that is believed.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::support::person::PASSWORD;
use crate::support::{Backend, Person, World, on_both_databases};

on_both_databases! {
    user_registers_and_signs_in_from_second_device,
    invalid_registration_returns_specific_problem_code,
    sign_in_does_not_reveal_whether_phone_is_registered,
    refresh_token_rotates_on_use,
    concurrent_refreshes_return_same_successor,
    refresh_token_reuse_revokes_device_and_is_audited,
    removed_device_is_signed_out_immediately,
    concurrent_registrations_fill_user_cap_exactly,
    setup_link_creates_one_administrator,
    setup_link_is_invalid_once_administrator_exists,
    api_token_is_limited_to_its_scopes,
    signing_key_rotation_keeps_sessions_valid,
}

async fn user_registers_and_signs_in_from_second_device(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;

    let again = world.stranger().logs_in(&alice.phone).await.ok();
    let me = alice.get("/api/me").await.ok();
    let renamed = alice.patch("/api/me", json!({ "name": " Alice B. " })).await.ok();

    assert_eq!(again["user"]["id"], json!(alice.id));
    assert_ne!(again["device"]["id"], json!(alice.device));
    assert_eq!((&again["token_type"], &again["expires_in"]), (&json!("Bearer"), &json!(600)));
    let whole = json!({ "id": alice.id, "phone": alice.phone, "name": "Alice", "role": "user" });
    assert_eq!(me, whole);
    assert_eq!(renamed["name"], "Alice B.");
    let devices = alice.get("/api/me/devices").await.ok();
    assert_eq!(devices["items"].as_array().unwrap().len(), 2);
}

async fn invalid_registration_returns_specific_problem_code(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let stranger = world.stranger();
    let with = |phone: &str, password: &str, name: &str| {
        let device = json!({ "name": "d", "platform": "test" });
        json!({ "phone": phone, "password": password, "name": name, "device": device })
    };
    let register = "/api/auth/register";

    stranger.registers(&alice.phone, "Eve").await.refused(409, "auth/phone-already-registered");
    let spelled = format!("{} {}", &alice.phone[..3], &alice.phone[3..]);
    stranger.registers(&spelled, "Eve").await.refused(409, "auth/phone-already-registered");
    stranger
        .post(register, with("12345", PASSWORD, "Eve"))
        .await
        .refused(422, "auth/invalid-phone");
    stranger
        .post(register, with(&world.number(), "short", "Eve"))
        .await
        .refused(422, "auth/invalid-password");
    stranger
        .post(register, with(&world.number(), PASSWORD, " "))
        .await
        .refused(422, "auth/invalid-name");
    let refused =
        stranger.post(register, json!({ "phone": 7 })).await.refused(422, "http/invalid-body");
    assert_eq!(refused["errors"][0]["field"], "phone");
}

async fn sign_in_does_not_reveal_whether_phone_is_registered(backend: Backend) {
    // Real work for the hash, so that its absence would show.
    let settings = [("AUTH__ARGON2_MEMORY_KIB", "19456"), ("AUTH__ARGON2_ITERATIONS", "2")];
    let world = World::with(backend, &settings).await;
    let alice = world.person("Alice").await;
    let stranger = world.stranger();
    let nobody = world.number();
    let attempt = |phone: String| {
        let stranger = stranger.clone();
        async move {
            let begun = Instant::now();
            let body = json!({ "phone": phone, "password": "not this one" });
            let answer = stranger.post("/api/auth/login", body).await;
            (begun.elapsed(), answer.refused(401, "auth/invalid-credentials"))
        }
    };

    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    let mut answers = Vec::new();
    for _ in 0..15 {
        for (phone, times) in [(&alice.phone, &mut known), (&nobody, &mut unknown)] {
            let (took, mut answer) = attempt(phone.clone()).await;
            times.push(took);
            answer["request_id"] = json!(null);
            answers.push(answer);
        }
    }

    answers.dedup();
    assert_eq!(answers.len(), 1, "one answer for both: {answers:?}");
    known.sort();
    unknown.sort();
    // The medians of two equal works; skipping the hash would make one of them many times smaller.
    let (known, unknown) = (known[7].as_secs_f64(), unknown[7].as_secs_f64());
    let ratio = known.max(unknown) / known.min(unknown);
    assert!(ratio < 2.0, "known {known:.4} s, unknown {unknown:.4} s");
}

async fn refreshes(person: &Person, token: &str) -> crate::support::Answer {
    person.post("/api/auth/refresh", json!({ "refresh_token": token })).await
}

async fn refresh_token_rotates_on_use(backend: Backend) {
    let world = World::with(backend, &[("AUTH__REFRESH_REUSE_GRACE_SECONDS", "0")]).await;
    let alice = world.person("Alice").await;

    let first = refreshes(&alice, &alice.refresh).await.ok();
    let second = refreshes(&alice, first["refresh_token"].as_str().unwrap()).await.ok();

    assert_ne!(first["refresh_token"], second["refresh_token"]);
    assert_eq!(second["device"]["id"], json!(alice.device), "the same device");
    refreshes(&alice, "nonsense").await.refused(401, "auth/invalid-refresh-token");
}

async fn concurrent_refreshes_return_same_successor(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;

    let both = join_all((0..10).map(|_| refreshes(&alice, &alice.refresh))).await;

    let mut tokens: Vec<_> = both.into_iter().map(|a| a.ok()["refresh_token"].clone()).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "all are given the same successor");
    refreshes(&alice, tokens[0].as_str().unwrap()).await.ok();
}

async fn refresh_token_reuse_revokes_device_and_is_audited(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let mut socket = alice.connects().await;
    let second = refreshes(&alice, &alice.refresh).await.ok();
    let second = second["refresh_token"].as_str().unwrap();
    let third = refreshes(&alice, second).await.ok();

    refreshes(&alice, &alice.refresh).await.refused(401, "auth/refresh-token-reused");

    let third = third["refresh_token"].as_str().unwrap();
    refreshes(&alice, third).await.refused(401, "auth/invalid-refresh-token");
    alice.get("/api/me").await.refused(401, "auth/invalid-token");
    socket.ends().await;
    let admin = world.admin().await;
    let audit = admin.get("/api/admin/audit").await.ok();
    let reused =
        audit["items"].as_array().unwrap().iter().any(|e| e["action"] == "auth.refresh_reused");
    assert!(reused, "it is on record");
}

async fn removed_device_is_signed_out_immediately(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let tablet = alice.second_device().await;
    let mut socket = tablet.connects().await;
    let eve = world.person("Eve").await;
    let device = format!("/api/me/devices/{}", tablet.device);

    eve.delete(&device).await.refused(404, "auth/device-not-found");
    let begun = Instant::now();
    alice.delete(&device).await.done();
    let end = socket.ends().await;

    assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
    assert_eq!(end, crate::support::socket::End::Closed(1008, "signed-out".to_owned()));
    tablet.get("/api/me").await.refused(401, "auth/invalid-token");
    refreshes(&tablet, &tablet.refresh).await.refused(401, "auth/invalid-refresh-token");
    alice.get("/api/me").await.ok();
    alice.post("/api/auth/logout", json!(null)).await.done();
    alice.get("/api/me").await.refused(401, "auth/invalid-token");
}

async fn concurrent_registrations_fill_user_cap_exactly(backend: Backend) {
    let settings = [
        ("AUTH__MAX_USERS", "37"),
        ("AUTH__PASSWORD_HASH_QUEUE_CAPACITY", "1000"),
        ("DATABASE__OPERATION_TIMEOUT_MS", "10000"),
    ];
    let world = World::with(backend, &settings).await;
    let stranger = world.stranger();
    let numbers: Vec<_> = (0..500).map(|_| world.number()).collect();

    let answers =
        join_all(numbers.iter().map(|number| stranger.registers(number, "Somebody"))).await;

    let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(403)), (37, 463));
    let refused = answers.into_iter().find(|answer| answer.status == 403).unwrap();
    refused.refused(403, "auth/user-limit-reached");
}

async fn setup_link_creates_one_administrator(backend: Backend) {
    let world = World::new(backend).await;
    let token = world.setup_token().expect("a fresh server prints a link");
    let set_up = |token: &str| {
        let device = json!({ "name": "d", "platform": "test" });
        json!({
            "setup_token": token, "phone": world.number(), "password": PASSWORD,
            "name": "Root", "device": device,
        })
    };
    let stranger = world.stranger();
    let path = "/api/auth/setup";

    stranger.post(path, set_up("guess")).await.refused(401, "auth/invalid-setup-link");
    let attempts = join_all((0..8).map(|_| stranger.post(path, set_up(&token)))).await;

    let made: Vec<_> = attempts.into_iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].body["user"]["role"], "admin");
    world.kill();
    world.start();
    assert_eq!(world.setup_token(), None, "there is an administrator now");
}

async fn setup_link_is_invalid_once_administrator_exists(backend: Backend) {
    let world = World::new(backend).await;
    let token = world.setup_token().expect("a fresh server prints a link");
    world.admin().await; // made on the command line

    let device = json!({ "name": "d", "platform": "test" });
    let late = json!({
        "setup_token": token, "phone": world.number(), "password": PASSWORD,
        "name": "Eve", "device": device,
    });

    let answer = world.stranger().post("/api/auth/setup", late).await;
    answer.refused(401, "auth/invalid-setup-link");
}

async fn api_token_is_limited_to_its_scopes(backend: Backend) {
    let world = World::new(backend).await;
    let admin = world.admin().await;
    let new = json!({ "name": "prometheus", "scopes": ["metrics:read"] });
    let made = admin.post("/api/admin/tokens", new).await.created();
    let secret = made["secret"].as_str().unwrap().to_owned();
    let asks = async |path: &str| {
        let header = format!("Token {secret}");
        // As a proxy would pass it on, so that being on this machine opens nothing.
        let headers = [("authorization", header.as_str()), ("x-forwarded-for", "203.0.113.9")];
        world.stranger().sends(awc::http::Method::GET, path, &headers, None).await
    };

    assert!(asks("/metrics").await.text.contains("securevox_http_requests_total"));
    asks("/api/me").await.refused(403, "auth/token-type-not-allowed");
    let bad = json!({ "name": "x", "scopes": ["everything"] });
    admin.post("/api/admin/tokens", bad).await.refused(422, "tokens/invalid-scope");
    let id = made["token"]["id"].as_str().unwrap();
    admin.delete(&format!("/api/admin/tokens/{id}")).await.done();
    asks("/metrics").await.refused(401, "auth/invalid-token");
}

async fn signing_key_rotation_keeps_sessions_valid(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let before = world.stranger().get("/.well-known/jwks.json").await.ok();

    let rotated = world.command().args(["keys", "rotate"]).output().unwrap();
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    world.kill();
    world.start();

    let after = world.stranger().get("/.well-known/jwks.json").await.ok();
    assert_eq!(before["keys"].as_array().unwrap().len(), 1);
    assert_eq!(after["keys"].as_array().unwrap().len(), 2);
    assert_eq!(after["keys"][0]["alg"], "EdDSA");
    alice.get("/api/me").await.ok();
    refreshes(&alice, &alice.refresh).await.ok();
}
