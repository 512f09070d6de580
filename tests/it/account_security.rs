//! The care of an account: a new password, a way back in, and where one is signed in.

use awc::http::Method;
use serde_json::{Value, json};

use crate::second_factor::sets_up;
use crate::support::person::PASSWORD;
use crate::support::socket::End;
use crate::support::{Backend, Person, World, on_both_databases};

on_both_databases! {
    password_change_signs_out_other_devices,
    admin_reset_link_restores_access_once,
    device_list_shows_last_ip_and_user_agent,
    audit_entries_are_visible_only_to_subject_and_admins,
}

const NEW: &str = "quite another password";

async fn logs_in(person: &Person, password: &str) -> crate::support::Answer {
    person.post("/api/auth/login", json!({ "phone": person.phone, "password": password })).await
}

async fn password_change_signs_out_other_devices(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let tablet = alice.second_device().await;
    let mut socket = tablet.connects().await;
    let change = |old: &str, new: &str| json!({ "old_password": old, "new_password": new });
    let path = "/api/me/password";

    alice.put(path, change("wrong", NEW)).await.refused(403, "auth/password-incorrect");
    alice.put(path, change(PASSWORD, "short")).await.refused(422, "auth/invalid-password");
    alice.put(path, change(PASSWORD, NEW)).await.done();

    assert_eq!(socket.ends().await, End::Closed(1008, "signed-out".to_owned()));
    tablet.get("/api/me").await.refused(401, "auth/invalid-token");
    alice.get("/api/me").await.ok();
    logs_in(&alice, PASSWORD).await.refused(401, "auth/invalid-credentials");
    logs_in(&alice, NEW).await.ok();
}

async fn admin_reset_link_restores_access_once(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, admin) = (world.person("Alice").await, world.admin().await);
    sets_up(&alice).await;
    let mut socket = alice.connects().await;
    let offer = format!("/api/admin/users/{}/reset", alice.id);
    let older = admin.post(&offer, json!(null)).await.created();
    let made = admin.post(&offer, json!({ "drop_second_factor": true })).await.created();
    let reset =
        |token: &Value, password: &str| json!({ "reset_token": token, "password": password });
    let path = "/api/auth/reset";
    let stranger = world.stranger();

    let invalid = (401, "auth/invalid-reset-link");
    stranger.post(path, reset(&json!("guess"), NEW)).await.refused(invalid.0, invalid.1);
    stranger.post(path, reset(&older["reset_token"], NEW)).await.refused(invalid.0, invalid.1);
    let token = &made["reset_token"];
    stranger.post(path, reset(token, "short")).await.refused(422, "auth/invalid-password");
    stranger.post(path, reset(token, NEW)).await.done();
    stranger.post(path, reset(token, NEW)).await.refused(invalid.0, invalid.1);

    socket.ends().await;
    alice.get("/api/me").await.refused(401, "auth/invalid-token");
    logs_in(&alice, PASSWORD).await.refused(401, "auth/invalid-credentials");
    logs_in(&alice, NEW).await.ok(); // without a code
}

async fn device_list_shows_last_ip_and_user_agent(backend: Backend) {
    let world = World::with(backend, &[("HTTP__TRUSTED_PROXIES", r#"["127.0.0.1"]"#)]).await;
    let alice = world.person("Alice").await;
    let headers = [("x-forwarded-for", "203.0.113.5"), ("user-agent", "Phone/1.0")];
    let body = json!({ "phone": alice.phone, "password": PASSWORD }).to_string().into_bytes();
    let login = alice.sends(Method::POST, "/api/auth/login", &headers, Some(body)).await.ok();
    let find = async |id: &Value| {
        let devices = alice.get("/api/me/devices").await.ok();
        let items = devices["items"].as_array().unwrap();
        items.iter().find(|device| &device["id"] == id).unwrap().clone()
    };

    let device = find(&login["device"]["id"]).await;
    assert_eq!(
        (&device["last_ip"], &device["user_agent"]),
        (&json!("203.0.113.5"), &json!("Phone/1.0"))
    );
    let body = json!({ "refresh_token": login["refresh_token"] }).to_string().into_bytes();
    let headers = [("x-forwarded-for", "203.0.113.6")];
    alice.sends(Method::POST, "/api/auth/refresh", &headers, Some(body)).await.ok();
    assert_eq!(find(&login["device"]["id"]).await["last_ip"], "203.0.113.6");
}

async fn audit_entries_are_visible_only_to_subject_and_admins(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let admin = world.admin().await;
    let suspension = format!("/api/admin/users/{}/suspension", alice.id);
    admin.put(&suspension, json!(null)).await.done();
    admin.delete(&suspension).await.done();
    let actions = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    };

    let alices = alice.get("/api/me/audit").await.ok();
    assert_eq!(actions(&alices), ["user.unsuspended", "user.suspended", "auth.registered"]);
    assert_eq!(alices["items"][0]["actor"], json!(admin.id));
    assert_eq!(alices["items"][0]["ip"], json!(null), "from where others did it is not hers");
    assert_eq!(alices["items"][2]["ip"], "127.0.0.1");
    let bobs = bob.get("/api/me/audit").await.ok();
    assert_eq!(actions(&bobs), ["auth.registered"]);

    let asks = async |query: String| admin.get(&format!("/api/admin/audit?{query}")).await.ok();
    let about = asks(format!("subject={}&action=user.suspended", alice.id)).await;
    assert_eq!(actions(&about), ["user.suspended"]);
    assert_eq!(about["items"][0]["ip"], "127.0.0.1");
    let by = asks(format!("actor={}&limit=1", admin.id)).await;
    let next = asks(format!("actor={}&limit=1&after={}", admin.id, by["next"].as_str().unwrap()));
    assert_eq!(actions(&next.await), ["user.suspended"]);
    assert!(actions(&asks("action=nothing".to_owned()).await).is_empty());
}
