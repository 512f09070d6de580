//! What is said, in which order, and who may say and read it.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Backend, World, on_both_databases};

on_both_databases! {
    message_reaches_only_conversation_members,
    repeated_client_id_returns_first_message,
    concurrent_messages_are_delivered_in_seq_order,
    message_history_is_paged_in_both_directions,
    late_joiner_sees_only_later_messages,
    repeated_send_is_not_delivered_to_late_joiner,
    receipts_move_forward_and_are_broadcast,
    group_changes_require_sufficient_role,
    typing_event_reaches_only_other_members,
    invalid_message_is_rejected_without_side_effects,
    text_with_nul_is_rejected_on_every_route,
}

async fn message_reaches_only_conversation_members(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let eve = world.person("Eve").await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let mut eves = eve.connects().await;

    let said = alices
        .asks(
            "send_message",
            json!({ "conversation_id": conversation, "client_id": "a-1", "body": "hello" }),
        )
        .await
        .unwrap();
    bob.says(&conversation, "b-1", "hello yourself").await.created();

    assert_eq!(said["seq"], 1);
    let heard = bobs.hears_messages(2).await;
    assert_eq!(heard[0], said);
    assert_eq!((&heard[1]["seq"], &heard[1]["body"]), (&json!(2), &json!("hello yourself")));
    assert_eq!(alices.hears_messages(2).await, heard, "the sender's own devices too");
    assert_eq!(bob.reads(&conversation).await, heard);
    let path = format!("/api/conversations/{conversation}");
    eve.get(&path).await.refused(404, "chat/conversation-not-found");
    eve.get(&format!("{path}/messages")).await.refused(404, "chat/conversation-not-found");
    eve.says(&conversation, "e-1", "hi").await.refused(404, "chat/conversation-not-found");
    let refused = eves.asks("typing", json!({ "conversation_id": conversation })).await;
    assert_eq!(refused.unwrap_err()["code"], "chat/conversation-not-found");
    assert_eq!(eves.unheard("message"), 0);
}

async fn repeated_client_id_returns_first_message(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;

    let first = alice.says(&conversation, "same", "once").await.created();
    let again = alice.says(&conversation, "same", "twice").await.ok();
    let at_once = join_all((0..20).map(|_| alice.says(&conversation, "storm", "thunder"))).await;
    let other = bob.says(&conversation, "same", "bob's own").await.created();

    assert_eq!(again, first);
    let made = at_once.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(made, 1, "one of them was first");
    assert_eq!(other["seq"], 3, "a client_id is its sender's own");
    assert_eq!(alice.reads(&conversation).await.len(), 3);
}

async fn concurrent_messages_are_delivered_in_seq_order(backend: Backend) {
    let world = World::new(backend).await;
    let mut people = Vec::new();
    for n in 0..10 {
        people.push(world.person(&format!("P{n}")).await);
    }
    let conversation = world.group(&people.iter().collect::<Vec<_>>()).await;
    let mut readers = Vec::new();
    for person in &people[..5] {
        readers.push(person.connects().await);
    }

    let senders = (0..200).map(|n| {
        let (person, conversation) = (&people[n % 10], &conversation);
        async move { person.says(conversation, &format!("c{n}"), &format!("m{n}")).await.created() }
    });
    join_all(senders).await;

    for reader in &mut readers {
        let seqs: Vec<_> =
            reader.hears_messages(200).await.iter().map(|m| m["seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (1..=200).collect::<Vec<_>>());
    }
}

async fn message_history_is_paged_in_both_directions(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    for n in 1..=25 {
        alice.says(&conversation, &n.to_string(), &n.to_string()).await.created();
    }
    let path = format!("/api/conversations/{conversation}/messages");
    let seqs = |page: &Value| -> Vec<i64> {
        page["items"].as_array().unwrap().iter().map(|m| m["seq"].as_i64().unwrap()).collect()
    };

    let newest = bob.get(&format!("{path}?limit=10")).await.ok();
    let older =
        bob.get(&format!("{path}?limit=10&before={}", newest["next"].as_str().unwrap())).await.ok();
    let oldest =
        bob.get(&format!("{path}?limit=10&before={}", older["next"].as_str().unwrap())).await.ok();
    let forward = bob.get(&format!("{path}?limit=10&after=20")).await.ok();

    assert_eq!(seqs(&newest), (16..=25).collect::<Vec<_>>());
    assert_eq!(seqs(&older), (6..=15).collect::<Vec<_>>());
    assert_eq!((seqs(&oldest), &oldest["next"]), ((1..=5).collect(), &json!(null)));
    assert_eq!((seqs(&forward), &forward["next"]), ((21..=25).collect(), &json!(null)));
    bob.get(&format!("{path}?after=1&before=2")).await.refused(422, "chat/ambiguous-range");
}

async fn late_joiner_sees_only_later_messages(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let conversation = world.group(&[&alice]).await;
    alice.says(&conversation, "1", "before").await.created();
    let mut bobs = bob.connects().await;

    let member = format!("/api/conversations/{conversation}/members/{}", bob.id);
    alice.put(&member, json!(null)).await.ok();
    assert_eq!(bobs.hears("conversation").await["id"], json!(conversation));
    alice.says(&conversation, "2", "after").await.created();

    let heard = bobs.hears_messages(2).await;
    assert_eq!(heard[0]["system"], json!({ "what": "added", "user_id": bob.id }));
    assert_eq!((&heard[0]["sender_id"], &heard[1]["body"]), (&json!(alice.id), &json!("after")));
    let read: Vec<_> = bob.reads(&conversation).await.iter().map(|m| m["seq"].clone()).collect();
    assert_eq!(read, [json!(2), json!(3)]);
    alice.delete(&member).await.done();
    assert_eq!(bobs.hears("conversation").await["left"], json!(bob.id));
    bob.says(&conversation, "3", "still here?").await.refused(404, "chat/conversation-not-found");
}

async fn repeated_send_is_not_delivered_to_late_joiner(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let conversation = world.group(&[&alice]).await;
    alice.says(&conversation, "1", "before Bob").await.created();
    let mut bobs = bob.connects_and_syncs(json!({})).await;
    let member = format!("/api/conversations/{conversation}/members/{}", bob.id);
    alice.put(&member, json!(null)).await.ok();

    alice.says(&conversation, "1", "before Bob").await.ok();
    alice.says(&conversation, "2", "to Bob").await.created();

    let heard = bobs.hears_messages(2).await;
    assert_eq!((&heard[0]["seq"], &heard[1]["body"]), (&json!(2), &json!("to Bob")));
    assert_eq!(bobs.unheard("message"), 0);
}

async fn receipts_move_forward_and_are_broadcast(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    for n in 1..=3 {
        alice.says(&conversation, &n.to_string(), "x").await.created();
    }
    let at = |seq: i64| json!({ "conversation_id": conversation, "seq": seq });

    bobs.asks("ack", at(3)).await.unwrap();
    let delivered = alices.hears("receipt").await;
    bobs.asks("read", at(2)).await.unwrap();
    let read = alices.hears("receipt").await;
    bobs.asks("read", at(1)).await.unwrap();
    bobs.asks("read", at(99)).await.unwrap();
    let clamped = alices.hears("receipt").await;

    assert_eq!((&delivered["user_id"], &delivered["delivered_seq"]), (&json!(bob.id), &json!(3)));
    assert_eq!(delivered["read_seq"], 0);
    assert_eq!(read["read_seq"], 2);
    assert_eq!(clamped["read_seq"], 3, "nobody reads what was not said, and nobody unreads");
    let view = alice.get(&format!("/api/conversations/{conversation}")).await.ok();
    let bobs_place = view["members"].as_array().unwrap().iter().find(|m| m["user_id"] == bob.id);
    assert_eq!(bobs_place.unwrap()["read_seq"], 3);
    let bad = bobs.asks("read", at(-1)).await.unwrap_err();
    assert_eq!(bad["code"], "chat/invalid-seq");
}

async fn group_changes_require_sufficient_role(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, carol) =
        (world.person("Alice").await, world.person("Bob").await, world.person("Carol").await);
    let conversation = world.group(&[&alice, &bob]).await;
    let path = format!("/api/conversations/{conversation}");
    let member = |id: &str| format!("{path}/members/{id}");

    bob.put(&member(&carol.id), json!(null)).await.refused(403, "chat/not-allowed");
    bob.patch(&path, json!({ "title": "mine" })).await.refused(403, "chat/not-allowed");
    bob.delete(&member(&alice.id)).await.refused(403, "chat/not-allowed");
    alice.put(&member(&bob.id), json!({ "role": "king" })).await.refused(422, "http/invalid-body");
    alice.put(&member(&bob.id), json!({ "role": "admin" })).await.ok();
    bob.put(&member(&carol.id), json!({})).await.ok();
    let renamed = bob.patch(&path, json!({ "title": " ours " })).await.ok();
    alice.delete(&member(&alice.id)).await.done();

    assert_eq!(renamed["title"], "ours");
    let view = bob.get(&path).await.ok();
    let roles: Vec<_> =
        view["members"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, [json!("owner"), json!("member")], "the group goes to its admin");
    alice.get(&path).await.refused(404, "chat/conversation-not-found");
}

async fn typing_event_reaches_only_other_members(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);

    alices.asks("typing", json!({ "conversation_id": conversation })).await.unwrap();

    assert_eq!(bobs.hears("typing").await["user_id"], json!(alice.id));
    assert_eq!(alices.unheard("typing"), 0);
}

async fn invalid_message_is_rejected_without_side_effects(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let path = format!("/api/conversations/{conversation}/messages");
    let long = "x".repeat(20_000);

    alice.says(&conversation, "1", "").await.refused(422, "chat/invalid-body");
    alice.says(&conversation, "1", &long).await.refused(422, "chat/invalid-body");
    alice.says(&conversation, "", "x").await.refused(422, "chat/invalid-client-id");
    alice.says(&conversation, "a b", "x").await.refused(422, "chat/invalid-client-id");
    alice.says("cnv_nonsense", "1", "x").await.refused(404, "http/not-found");
    let unknown = json!({ "client_id": "1", "body": "x", "colour": "red" });
    let refused = alice.post(&path, unknown).await.refused(422, "http/invalid-body");
    let reply = json!({ "client_id": "1", "body": "x", "reply_to": "msg_00000000000000000000000000000000" });
    alice.post(&path, reply).await.refused(404, "chat/reply-target-not-found");
    let crowd = json!({ "kind": "direct", "members": [bob.id, alice.id, bob.id] });
    alice.post("/api/conversations", crowd).await.refused(422, "chat/invalid-direct");

    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("colour"));
    assert!(alice.reads(&conversation).await.is_empty());
    let view = alice.get(&format!("/api/conversations/{conversation}")).await.ok();
    assert_eq!(view["last_seq"], 0);
}

/// PostgreSQL has no text with a NUL in it: whatever asks for one must not come so far.
async fn text_with_nul_is_rejected_on_every_route(backend: Backend) {
    let world = World::new(backend).await;
    let (admin, alice) = (world.admin().await, world.person("Alice").await);
    let nul = "a\0b";

    for path in [
        "/api/search?q=a%00b",
        "/api/contacts?after=%00",
        "/api/admin/users?q=a%00b",
        "/api/admin/users?q=%2B49%00",
        "/api/admin/audit?action=%00",
        "/api/admin/audit?subject=a%00",
        "/api/admin/actors?node=%00",
    ] {
        admin.get(path).await.refused(422, "http/invalid-body");
    }
    admin.get("/api/admin/users?q=100%2500").await.ok();
    let group = world.group(&[&alice]).await;
    let me = format!("/api/conversations/{group}");
    let register = json!({
        "phone": world.number(), "password": "a long enough password", "name": "x",
        "device": { "name": nul, "platform": nul },
    });
    for answer in [
        alice.patch("/api/me", json!({ "name": nul })).await,
        alice.patch(&me, json!({ "title": nul })).await,
        alice.put("/api/me/status", json!({ "state": "away", "text": nul })).await,
        alice.says(&group, "1", nul).await,
        alice.says(&group, nul, "x").await,
        alice.post("/api/contacts", json!({ "phone": nul })).await,
        world.stranger().post("/api/auth/register", register).await,
        admin.post("/api/admin/tokens", json!({ "name": nul, "scopes": [] })).await,
        alice.post(&format!("/api/invites/{}", "a%00b"), json!(null)).await,
    ] {
        assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.text);
    }
}
