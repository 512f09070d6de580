//! Changes that a dying server tears apart: each happened as a whole or not at all.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use actix_web::http::Method;
use base::random::RandomSource;
use serde_json::{Value, json};

use crate::files::{attaches, id, objects, shows};
use crate::support::{Backend, Person, World, on_both_databases, soon};

on_both_databases! {
    edits_and_deletions_survive_sigkill,
}

const MESSAGES: usize = 80;
const WORKERS: usize = 4;
const KILLS: usize = 10;

/// Every message is edited, and each second one then deleted, while the server dies again and again.
async fn edits_and_deletions_survive_sigkill(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let (mut messages, mut files) = (Vec::new(), Vec::new());
    for n in 0..MESSAGES {
        let file = attaches(&alice, "f.txt", "text/plain", format!("bytes {n}").as_bytes()).await;
        files.push(id(&file.created()));
        let said = shows(&alice, &conversation, &n.to_string(), &[&files[n]]).await.created();
        let said = said["id"].as_str().unwrap().to_owned();
        messages.push(format!("/api/conversations/{conversation}/messages/{said}"));
    }
    let done: Rc<Cell<usize>> = Rc::default();
    let work = (0..WORKERS).map(|worker| {
        let (alice, messages, done) = (alice.clone(), messages.clone(), Rc::clone(&done));
        actix_web::rt::spawn(async move {
            for n in (worker..MESSAGES).step_by(WORKERS) {
                changes(&alice, &messages[n], n).await;
                done.set(done.get() + 1);
            }
        })
    });
    let work: Vec<_> = work.collect();
    let dice = RandomSource::seeded(9);
    for kill in 0..KILLS {
        let due = (kill + 1) * MESSAGES / (KILLS + 2);
        let enough = async {
            while done.get() < due {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        soon("some are changed", enough).await;
        tokio::time::sleep(Duration::from_secs_f64(0.02 * dice.fraction())).await; // the moment is chance
        world.kill();
        world.start();
    }
    for one in work {
        soon("all is changed", one).await.unwrap();
    }

    let bob = bob.anew();
    let mut revisions = BTreeSet::new();
    for n in 0..MESSAGES {
        let shown = bob.get(&messages[n]).await.ok();
        let edits = bob.get(&format!("{}/edits", messages[n])).await;
        let file = bob.fetches(&format!("/api/attachments/{}", files[n])).await;
        let found = bob.get(&format!("/api/search?q=afterwards{n:03}")).await.ok();
        let found = found["items"].as_array().unwrap().len();
        assert!(revisions.insert(shown["revision"].as_i64().unwrap()), "no two share a number");
        if n.is_multiple_of(2) {
            assert_eq!((&shown["body"], found, file.0), (&json!(""), 0, 404), "{shown}");
            assert!(
                shown["deleted_at"].is_string()
                    && shown["attachments"].as_array().is_none_or(Vec::is_empty)
            );
        } else {
            assert_eq!(
                (&shown["body"], found),
                (&json!(format!("afterwards{n:03}")), 1),
                "{shown}"
            );
            assert_eq!(file, (200, format!("bytes {n}").into_bytes()));
            assert_eq!(edits.ok()["items"][0]["body"], "", "what it said at first");
        }
    }
    let all = bob.get(&format!("/api/conversations/{conversation}")).await.ok();
    assert_eq!(
        all["revision"].as_i64(),
        revisions.last().copied(),
        "no change without its message"
    );
    world.kill();
    world.start(); // its first round comes at once
    let rest = || async {
        while objects(&world) != MESSAGES / 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("the bytes of what was deleted are gone, and no others", rest()).await;
}

/// Edits a message, and deletes each second one; asks again until there is an answer.
async fn changes(person: &Person, message: &str, n: usize) {
    insists(person, Method::PATCH, message, json!({ "body": format!("afterwards{n:03}") }), 200)
        .await;
    if n.is_multiple_of(2) {
        insists(person, Method::DELETE, &format!("{message}?for=all"), Value::Null, 204).await;
    }
}

async fn insists(person: &Person, method: Method, path: &str, body: Value, done: u16) {
    loop {
        match person.tries(method.clone(), path, body.clone()).await {
            Some((status, _)) if status == done => return,
            Some((503, _)) | None => tokio::time::sleep(Duration::from_millis(2)).await,
            Some(other) => panic!("{path}: {other:?}"),
        }
    }
}
