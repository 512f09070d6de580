//! What administrators do with people, and what they cannot do.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::person::PASSWORD;
use crate::support::socket::End;
use crate::support::{Backend, Person, Socket, World, on_both_databases, soon};

on_both_databases! {
    admin_lists_and_filters_users,
    suspended_user_is_signed_out_immediately,
    role_change_takes_effect_immediately_and_is_audited,
    last_administrator_cannot_be_demoted_or_removed,
    administrator_signs_out_devices,
    signed_out_user_is_removed_from_calls,
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect()
}

async fn admin_lists_and_filters_users(backend: Backend) {
    let world = World::new(backend).await;
    let admin = world.admin().await;
    let (anna, bob) = (world.person("Anna").await, world.person("Bob").await);
    world.person("anton").await;
    let users = async |query: &str| admin.get(&format!("/api/admin/users?{query}")).await.ok();

    assert_eq!(names(&users("").await), ["admin", "Anna", "Bob", "anton"]);
    assert_eq!(names(&users("q=AN").await), ["Anna", "anton"]);
    assert_eq!(names(&users("role=admin").await), ["admin"]);
    assert_eq!(names(&users(&format!("q=%2B{}", &bob.phone[1..])).await), ["Bob"]);
    assert_eq!(names(&users("suspended=true").await), [""; 0]);
    let first = users("limit=3").await;
    assert_eq!(
        names(&users(&format!("after={}", first["next"].as_str().unwrap())).await),
        ["anton"]
    );
    admin.get("/api/admin/users?role=king").await.refused(422, "users/invalid-role");
    let one = admin.get(&format!("/api/admin/users/{}", anna.id)).await.ok();
    assert_eq!((&one["phone"], &one["second_factor"]), (&json!(anna.phone), &json!(false)));
    let nobody = "/api/admin/users/usr_00000000000000000000000000000000";
    admin.get(nobody).await.refused(404, "users/user-not-found");
    admin.get(&format!("{nobody}/devices")).await.refused(404, "users/user-not-found");
    admin.delete(nobody).await.refused(404, "users/user-not-found");
}

async fn suspended_user_is_signed_out_immediately(backend: Backend) {
    let world = World::new(backend).await;
    let (admin, alice) = (world.admin().await, world.person("Alice").await);
    let mut socket = alice.connects().await;
    alice.get("/api/me").await.ok();
    let suspension = format!("/api/admin/users/{}/suspension", alice.id);

    let begun = Instant::now();
    admin.put(&suspension, json!(null)).await.done();
    let end = socket.ends().await;

    assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
    assert_eq!(end, End::Closed(1008, "signed-out".to_owned()));
    for path in ["/api/me", "/api/me/export", "/api/me/audit", "/api/me/totp", "/api/me/devices"] {
        alice.get(path).await.refused(401, "auth/invalid-token");
    }
    alice
        .post("/api/auth/refresh", json!({ "refresh_token": alice.refresh }))
        .await
        .refused(401, "auth/invalid-refresh-token");
    alice.logs_in(&alice.phone).await.refused(401, "auth/invalid-credentials");
    admin.delete(&suspension).await.done();
    alice.get("/api/me").await.ok();
    alice.logs_in(&alice.phone).await.ok();
}

async fn role_change_takes_effect_immediately_and_is_audited(backend: Backend) {
    let world = World::new(backend).await;
    let (admin, alice) = (world.admin().await, world.person("Alice").await);
    let role = format!("/api/admin/users/{}/role", alice.id);
    alice.get("/api/admin/users").await.refused(403, "auth/forbidden");

    admin.put(&role, json!({ "role": "king" })).await.refused(422, "users/invalid-role");
    admin.put(&role, json!({ "role": "admin" })).await.done();
    alice.get("/api/admin/users").await.ok();
    admin.put(&role, json!({ "role": "operator" })).await.done();

    alice.get("/api/admin/users").await.refused(403, "auth/forbidden");
    alice.get("/api/admin/jobs").await.ok();
    let audit = admin.get("/api/admin/audit?action=user.role_changed").await.ok();
    assert_eq!(audit["items"][0]["detail"], json!({ "role": "operator" }));
    assert_eq!(audit["items"][0]["subject"], json!(alice.id));
}

async fn last_administrator_cannot_be_demoted_or_removed(backend: Backend) {
    let world = World::new(backend).await;
    let root = world.admin().await;
    let me = format!("/api/admin/users/{}", root.id);
    let last = (409, "users/last-admin");

    let demoted = root.put(&format!("{me}/role"), json!({ "role": "user" })).await;
    demoted.refused(last.0, last.1);
    root.put(&format!("{me}/suspension"), json!(null)).await.refused(last.0, last.1);
    root.delete(&me).await.refused(last.0, last.1);
    root.deletes("/api/me", json!({ "password": PASSWORD })).await.refused(last.0, last.1);

    let second = world.admin().await;
    let theirs = format!("/api/admin/users/{}/role", second.id);
    let mine = format!("{me}/role");
    let (one, two) = tokio::join!(
        root.put(&theirs, json!({ "role": "user" })),
        second.put(&mine, json!({ "role": "user" })),
    );
    // One wins; the other is refused as the last one's taker, or has no right any more.
    let done = u8::from(one.status == 204) + u8::from(two.status == 204);
    assert_eq!(done, 1, "{one:?} {two:?}");
}

async fn administrator_signs_out_devices(backend: Backend) {
    let world = World::new(backend).await;
    let (admin, alice) = (world.admin().await, world.person("Alice").await);
    let tablet = alice.second_device().await;
    let devices = format!("/api/admin/users/{}/devices", alice.id);
    let (mut phones, mut tablets) = (alice.connects().await, tablet.connects().await);

    let listed = admin.get(&devices).await.ok();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    admin.delete(&format!("{devices}/{}", tablet.device)).await.done();
    tablets.ends().await;
    alice.get("/api/me").await.ok();
    let elsewhere = format!("/api/admin/users/{}/devices/{}", admin.id, alice.device);
    admin.delete(&elsewhere).await.refused(404, "auth/device-not-found");
    admin.delete(&devices).await.done();

    phones.ends().await;
    alice.get("/api/me").await.refused(401, "auth/invalid-token");
    assert_eq!(admin.get(&devices).await.ok()["items"], json!([]));
}

/// A socket that is opened with a call token, in its call.
async fn visits(person: &Person) -> (Value, Socket) {
    let ask = json!({ "userId": person.id, "sessionId": "standup" });
    let token = person.post("/api/call/token", ask).await.ok()["token"].clone();
    let mut socket = Socket::open(&person.address).await;
    socket.asks("authenticate", json!({ "token": token })).await.unwrap();
    socket.asks("join_call", json!({})).await.unwrap();
    (token, socket)
}

async fn signed_out_user_is_removed_from_calls(backend: Backend) {
    let world = World::new(backend).await;
    let admin = world.admin().await;
    let mut all = Vec::new();
    for way in ["suspended", "signed out", "deleted", "given a new password", "gone"] {
        let person = world.person(way).await;
        let (token, socket) = visits(&person).await;
        all.push((person, token, socket));
    }
    let (_, mut stays) = visits(&world.person("Bob").await).await;
    let users = |n: usize, what: &str| format!("/api/admin/users/{}{what}", all[n].0.id);

    admin.put(&users(0, "/suspension"), json!(null)).await.done();
    admin.delete(&users(1, "/devices")).await.done();
    admin.delete(&users(2, "")).await.done();
    let reset = admin.post(&users(3, "/reset"), json!(null)).await.created();
    let new = json!({ "reset_token": reset["reset_token"], "password": "quite another password" });
    world.stranger().post("/api/auth/reset", new).await.done();
    all[4].0.deletes("/api/me", json!({ "password": PASSWORD })).await.done();

    for (person, _, socket) in &mut all {
        let end = soon(&person.name, socket.ends()).await;
        assert_eq!(end, End::Closed(1008, "signed-out".to_owned()), "{}", person.name);
    }
    for (person, token, _) in [&all[0], &all[2], &all[4]] {
        let mut socket = Socket::open(&person.address).await;
        let refused = socket.asks("authenticate", json!({ "token": token })).await.unwrap_err();
        assert_eq!(refused["code"], "auth/invalid-token", "{}", person.name);
    }
    stays.asks("mute_audio", json!({ "muted": true })).await.unwrap();
}
