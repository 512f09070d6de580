//! What is secret is sealed in the database, with keys that come and go.

use serde_json::json;

use crate::second_factor::sets_up;
use crate::support::person::PASSWORD;
use crate::support::{Backend, World, on_both_databases};

on_both_databases! {
    key_rotation_reseals_values_while_serving,
}

/// Runs a command of the world and gives what it printed.
fn runs(world: &World, arguments: &[&str]) -> String {
    let done = world.command().args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

async fn key_rotation_reseals_values_while_serving(backend: Backend) {
    let world = World::new(backend).await;
    let alice = world.person("Alice").await;
    let (app, codes) = sets_up(&alice).await;
    let file = world.dir.path().join("secrets.keys");
    let first = std::fs::read_to_string(&file).unwrap();

    assert!(runs(&world, &["secrets", "rotate"]).starts_with("0 values"), "all are current");
    assert!(runs(&world, &["secrets", "add"]).starts_with("key 2 was added"));
    alice.get("/api/me").await.ok();
    world.stop().await;
    world.start();
    let alice = alice.anew();
    let (rotated, login) = {
        let rotate = actix_web::rt::task::spawn_blocking({
            let mut command = world.command();
            move || command.args(["secrets", "rotate"]).output().unwrap()
        });
        let body = json!({ "phone": alice.phone, "password": PASSWORD, "code": codes[0] });
        let login = alice.post("/api/auth/login", body).await;
        (rotate.await.unwrap(), login)
    };
    let words = String::from_utf8(rotated.stdout).unwrap();
    assert_eq!(words.trim(), "2 values were re-encrypted with key 2", "a signing key and a factor");
    login.ok();

    // The old key is not needed any more; without the new one nothing opens.
    let second = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, second.replace(&first, "")).unwrap();
    world.kill();
    world.start();
    let alice = alice.anew();
    alice.get("/api/me").await.ok();
    let body = json!({ "phone": alice.phone, "password": PASSWORD, "code": app.code(1) });
    alice.post("/api/auth/login", body).await.ok();
    world.kill();
    std::fs::write(&file, first).unwrap();
    let refused = world.command().arg("serve").output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("sealed with key version 2"), "{words}");
}
