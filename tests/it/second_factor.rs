//! A second factor: set up, asked for, spent, and lost.

use std::time::SystemTime;

use futures_util::future::join_all;
use serde_json::{Value, json};
use totp_rs::{Builder, Secret};

use crate::support::person::PASSWORD;
use crate::support::{Answer, Backend, Person, World, on_both_databases};

on_both_databases! {
    second_factor_is_enabled_required_and_disabled,
    second_factor_code_is_accepted_once,
    recovery_code_replaces_totp_once,
    wrong_password_does_not_reveal_second_factor,
    second_factor_attempts_are_rate_limited,
}

/// An authenticator app.
pub struct App(totp_rs::Totp);

impl App {
    /// The code of the step so many steps from now.
    pub fn code(&self, ahead: u64) -> String {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.0.generate(since.as_secs() + 30 * ahead).to_string()
    }
}

/// Sets a second factor up: the app, whose code of just now is spent, and the recovery codes.
pub async fn sets_up(person: &Person) -> (App, Vec<String>) {
    let setup = person.post("/api/me/totp", json!({ "password": PASSWORD })).await.created();
    let secret = setup["secret"].as_str().unwrap();
    let url = setup["url"].as_str().unwrap();
    assert!(url.starts_with("otpauth://totp/SecureVOX:") && url.contains(secret), "{url}");
    let app =
        App(Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap());
    let code = app.code(0);
    let typed = format!(" {} {}", &code[..3], &code[3..]); // as apps show it, and people type it
    let codes = person.post("/api/me/totp/confirm", json!({ "code": typed })).await.ok();
    let codes = codes["recovery_codes"].as_array().unwrap().iter();
    (app, codes.map(|code| code.as_str().unwrap().to_owned()).collect())
}

async fn logs_in(person: &Person, code: Option<&str>) -> Answer {
    let body = json!({ "phone": person.phone, "password": PASSWORD, "code": code });
    person.post("/api/auth/login", body).await
}

async fn second_factor_is_enabled_required_and_disabled(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let totp = "/api/me/totp";

    alice.post(totp, json!({ "password": "wrong" })).await.refused(403, "auth/password-incorrect");
    let unconfirmed = json!({ "code": "000000" });
    alice
        .post("/api/me/totp/confirm", unconfirmed.clone())
        .await
        .refused(404, "auth/second-factor-not-enabled");
    alice.post(totp, json!({ "password": PASSWORD })).await.created();
    alice.post("/api/me/totp/confirm", unconfirmed).await.refused(403, "auth/code-invalid");
    logs_in(&alice, None).await.ok(); // not before it is confirmed
    let (app, codes) = sets_up(&alice).await;
    assert_eq!(codes.len(), 10);
    let state = alice.get(totp).await.ok();
    assert_eq!((&state["enabled"], &state["recovery_codes_left"]), (&json!(true), &json!(10)));

    logs_in(&alice, None).await.refused(401, "auth/second-factor-required");
    logs_in(&alice, Some("12345")).await.refused(401, "auth/second-factor-invalid");
    alice
        .post(totp, json!({ "password": PASSWORD }))
        .await
        .refused(409, "auth/second-factor-already-enabled");
    let proof = |code: Option<&str>| json!({ "password": PASSWORD, "code": code });
    alice.deletes(totp, proof(None)).await.refused(403, "auth/code-invalid");
    alice.deletes(totp, proof(Some("abcdefghijkl"))).await.refused(403, "auth/code-invalid");
    let anew = alice.post("/api/me/totp/recovery-codes", proof(Some(&codes[0]))).await.ok();
    let anew = anew["recovery_codes"][0].as_str().unwrap();
    alice.deletes(totp, proof(Some(&codes[1]))).await.refused(403, "auth/code-invalid");
    logs_in(&alice, Some(anew)).await.ok();
    alice.deletes(totp, proof(Some(&app.code(1)))).await.done();

    logs_in(&alice, None).await.ok();
    assert_eq!(alice.get(totp).await.ok()["enabled"], false);
    let audit = alice.get("/api/me/audit").await.ok();
    let done: Vec<_> = audit["items"].as_array().unwrap().iter().map(|e| &e["action"]).collect();
    for action in ["second_factor.enabled", "auth.second_factor_refused", "second_factor.disabled"]
    {
        assert!(done.contains(&&json!(action)), "{action} is shown to her: {done:?}");
    }
}

async fn second_factor_code_is_accepted_once(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let (app, codes) = sets_up(&alice).await;

    for code in [app.code(1), codes[0].clone()] {
        let attempts = join_all((0..6).map(|_| logs_in(&alice, Some(&code)))).await;
        let inside = attempts.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(inside, 1, "of six at once");
        for answer in attempts.into_iter().filter(|answer| answer.status != 200) {
            answer.refused(401, "auth/second-factor-invalid");
        }
        logs_in(&alice, Some(&code)).await.refused(401, "auth/second-factor-invalid");
    }
    logs_in(&alice, Some(&app.code(0))).await.refused(401, "auth/second-factor-invalid");
}

async fn recovery_code_replaces_totp_once(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let (_, alices) = sets_up(&alice).await;
    let (_, bobs) = sets_up(&bob).await;

    logs_in(&bob, Some(&alices[0])).await.refused(401, "auth/second-factor-invalid");
    logs_in(&alice, Some(&alices[0].replace('-', "").to_uppercase())).await.ok();
    logs_in(&alice, Some(&alices[0])).await.refused(401, "auth/second-factor-invalid");
    logs_in(&bob, Some(&bobs[9])).await.ok();

    assert_eq!(alice.get("/api/me/totp").await.ok()["recovery_codes_left"], 9);
}

async fn wrong_password_does_not_reveal_second_factor(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let (app, _) = sets_up(&alice).await;
    let nobody = world.number();
    let mut answers: Vec<Value> = Vec::new();
    for phone in [&alice.phone, &bob.phone, &nobody] {
        for code in [None, Some(app.code(1)), Some("000000".to_owned())] {
            let body = json!({ "phone": phone, "password": "a wrong password", "code": code });
            let answer = world.stranger().post("/api/auth/login", body).await;
            let mut answer = answer.refused(401, "auth/invalid-credentials");
            answer["request_id"] = json!(null);
            answers.push(answer);
        }
    }

    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    logs_in(&alice, Some(&app.code(1))).await.ok(); // it was not spent by whoever tried
}

async fn second_factor_attempts_are_rate_limited(backend: Backend) {
    let world = World::with(backend, &[("LIMITS__SECOND_FACTOR_ATTEMPTS_PER_HOUR", "5")]).await;
    let alice = world.person("Alice").await;
    let (app, _) = sets_up(&alice).await; // one of the five

    for _ in 0..4 {
        logs_in(&alice, Some("11111")).await.refused(401, "auth/second-factor-invalid");
    }
    let refused = logs_in(&alice, Some(&app.code(1))).await;
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((600..=720).contains(&wait), "{wait}");
    refused.refused(429, "limits/rate-limited");
}
