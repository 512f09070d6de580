//! People who agree to be reached, and people who are kept away.

use serde_json::json;

use crate::support::{Backend, World, on_both_databases};

on_both_databases! {
    a_request_is_heard_accepted_and_heard_again,
    two_who_ask_each_other_are_contacts,
    a_request_can_be_refused_and_taken_back,
    a_request_does_not_show_who_was_asked,
    somebody_blocked_is_kept_away_and_does_not_learn_it,
    strangers_cannot_open_a_direct_conversation,
}

async fn a_request_is_heard_accepted_and_heard_again(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);

    let asked = alice.post("/api/contacts", json!({ "phone": bob.phone })).await.created();
    assert_eq!((&asked["user_id"], &asked["state"]), (&json!(bob.id), &json!("pending_out")));
    let heard = bobs.hears("contact_request").await;
    assert_eq!(heard, json!({ "user_id": alice.id, "name": "Alice" }));
    bob.post(&format!("/api/contacts/{}/accept", alice.id), json!(null)).await.done();

    assert_eq!(alices.hears("contact_accepted").await["user_id"], bob.id);
    let list = alice.get("/api/contacts").await.ok();
    assert_eq!(list["items"][0]["state"], "accepted");
    assert_eq!(list["items"][0]["phone"], bob.phone);
    assert_eq!(list["next"], json!(null));
}

async fn two_who_ask_each_other_are_contacts(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);

    alice.post("/api/contacts", json!({ "user_id": bob.id })).await.created();
    let second = bob.post("/api/contacts", json!({ "user_id": alice.id })).await.created();

    assert_eq!(second["state"], "accepted");
    let again = alice.post("/api/contacts", json!({ "user_id": bob.id })).await;
    again.refused(409, "contacts/already");
}

async fn a_request_can_be_refused_and_taken_back(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);

    alice.post("/api/contacts", json!({ "user_id": bob.id })).await.created();
    bob.post(&format!("/api/contacts/{}/refuse", alice.id), json!(null)).await.done();
    bob.post(&format!("/api/contacts/{}/accept", alice.id), json!(null))
        .await
        .refused(404, "contacts/no-such-contact");
    alice.post("/api/contacts", json!({ "user_id": bob.id })).await.created();
    alice.delete(&format!("/api/contacts/{}", bob.id)).await.done();

    assert_eq!(bob.get("/api/contacts").await.ok()["items"], json!([]));
}

async fn a_request_does_not_show_who_was_asked(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);

    alice.post("/api/contacts", json!({ "phone": bob.phone })).await.created();

    let item = alice.get("/api/contacts").await.ok()["items"][0].clone();
    assert_eq!(item["name"], "");
    assert_eq!(item.get("phone"), None);
    let nobody = json!({ "phone": "0151 5" });
    alice.post("/api/contacts", nobody).await.refused(422, "auth/bad-phone");
    let myself = json!({ "user_id": alice.id });
    alice.post("/api/contacts", myself).await.refused(422, "contacts/yourself");
    alice.post("/api/contacts", json!({})).await.refused(422, "contacts/one-of");
}

async fn somebody_blocked_is_kept_away_and_does_not_learn_it(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let carol = world.person("Carol").await;
    let mut bobs = bob.connects().await;

    bob.put(&format!("/api/contacts/{}/block", alice.id), json!(null)).await.done();
    bob.put(&format!("/api/contacts/{}/block", carol.id), json!(null)).await.done();

    alice.says(&conversation, "1", "are you there?").await.created();
    let asked = carol.post("/api/contacts", json!({ "user_id": bob.id })).await.created();
    assert_eq!(asked["state"], "pending_out", "as if nothing were wrong");
    let direct = json!({ "kind": "direct", "members": [bob.id] });
    carol.post("/api/conversations", direct).await.refused(403, "chat/not-reachable");
    // Something that surely comes later, so that what did not come is known not to come.
    bob.delete(&format!("/api/contacts/{}/block", alice.id)).await.done();
    alice.says(&conversation, "2", "and now?").await.created();
    assert_eq!(bobs.hears("message").await["body"], "and now?");
    assert_eq!(bobs.unheard("message"), 0, "what was said meanwhile stays unheard");
    assert_eq!(bob.reads(&conversation).await.len(), 1);
    assert_eq!(bobs.unheard("contact_request"), 0);
}

async fn strangers_cannot_open_a_direct_conversation(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let direct = || json!({ "kind": "direct", "members": [bob.id] });

    alice.post("/api/conversations", direct()).await.refused(403, "chat/not-reachable");
    world.group(&[&alice, &bob]).await;

    alice.post("/api/conversations", direct()).await.created();
    alice.post("/api/conversations", direct()).await.ok();
}
