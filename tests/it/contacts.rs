//! People who agree to be reached, and people who are kept away.

use serde_json::json;

use crate::support::{Backend, Person, World, on_both_databases};

on_both_databases! {
    contact_request_and_acceptance_notify_each_side,
    mutual_contact_requests_are_accepted,
    contact_request_can_be_declined_and_withdrawn,
    pending_contact_request_hides_recipient_details,
    blocked_user_is_shadowed_without_notice,
    strangers_cannot_open_direct_conversation,
    shadow_block_is_indistinguishable_to_blocked_user,
    shadow_blocked_conversation_is_not_announced_to_blocker,
    block_suppresses_typing_and_receipts_both_ways,
}

async fn contact_request_and_acceptance_notify_each_side(backend: Backend) {
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

async fn mutual_contact_requests_are_accepted(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);

    alice.post("/api/contacts", json!({ "user_id": bob.id })).await.created();
    let second = bob.post("/api/contacts", json!({ "user_id": alice.id })).await.created();

    assert_eq!(second["state"], "accepted");
    let again = alice.post("/api/contacts", json!({ "user_id": bob.id })).await;
    again.refused(409, "contacts/already-requested");
}

async fn contact_request_can_be_declined_and_withdrawn(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);

    alice.post("/api/contacts", json!({ "user_id": bob.id })).await.created();
    bob.post(&format!("/api/contacts/{}/refuse", alice.id), json!(null)).await.done();
    bob.post(&format!("/api/contacts/{}/accept", alice.id), json!(null))
        .await
        .refused(404, "contacts/contact-not-found");
    alice.post("/api/contacts", json!({ "user_id": bob.id })).await.created();
    alice.delete(&format!("/api/contacts/{}", bob.id)).await.done();

    assert_eq!(bob.get("/api/contacts").await.ok()["items"], json!([]));
}

async fn pending_contact_request_hides_recipient_details(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);

    alice.post("/api/contacts", json!({ "phone": bob.phone })).await.created();

    let item = alice.get("/api/contacts").await.ok()["items"][0].clone();
    assert_eq!(item["name"], "");
    assert_eq!(item.get("phone"), None);
    let nobody = json!({ "phone": "0151 5" });
    alice.post("/api/contacts", nobody).await.refused(422, "auth/invalid-phone");
    let myself = json!({ "user_id": alice.id });
    alice.post("/api/contacts", myself).await.refused(422, "contacts/self-not-allowed");
    alice.post("/api/contacts", json!({})).await.refused(422, "contacts/ambiguous-target");
}

async fn blocked_user_is_shadowed_without_notice(backend: Backend) {
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
    carol.post("/api/conversations", direct).await.refused(403, "chat/recipient-not-reachable");
    // Something that surely comes later, so that what did not come is known not to come.
    bob.delete(&format!("/api/contacts/{}/block", alice.id)).await.done();
    alice.says(&conversation, "2", "and now?").await.created();
    assert_eq!(bobs.hears("message").await["body"], "and now?");
    assert_eq!(bobs.unheard("message"), 0, "what was said meanwhile stays unheard");
    assert_eq!(bob.reads(&conversation).await.len(), 1);
    assert_eq!(bobs.unheard("contact_request"), 0);
}

async fn strangers_cannot_open_direct_conversation(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let direct = || json!({ "kind": "direct", "members": [bob.id] });

    alice.post("/api/conversations", direct()).await.refused(403, "chat/recipient-not-reachable");
    world.group(&[&alice, &bob]).await;

    alice.post("/api/conversations", direct()).await.created();
    alice.post("/api/conversations", direct()).await.ok();
}

async fn shadow_block_is_indistinguishable_to_blocked_user(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let (carol, dan) = (world.person("Carol").await, world.person("Dan").await);
    let said = alice.says(&conversation, "1", "before").await.created();
    let message =
        format!("/api/conversations/{conversation}/messages/{}", said["id"].as_str().unwrap());
    for other in [&alice, &carol] {
        bob.put(&format!("/api/contacts/{}/block", other.id), json!(null)).await.done();
    }
    let mut bobs = bob.connects_and_syncs(json!({ (conversation.clone()): 1 })).await;
    let mut alices = alice.connects_and_syncs(json!({ (conversation.clone()): 1 })).await;

    let direct = json!({ "kind": "direct", "members": [bob.id] });
    let opened = alice.post("/api/conversations", direct.clone()).await.ok();
    assert_eq!(opened["id"], json!(conversation));
    let edited = alice.patch(&message, json!({ "body": "after" })).await.ok();
    assert_eq!((&edited["body"], edited["edited_at"].is_string()), (&json!("after"), true));
    let reaction = format!("{message}/reactions/%F0%9F%91%8D");
    let reacted = alice.put(&reaction, json!(null)).await.ok();
    assert_eq!(reacted["reactions"][0]["user_ids"], json!([alice.id]));
    let set_up = format!("/api/conversations/{conversation}");
    let changed = alice.patch(&set_up, json!({ "expires_in": 60 })).await.ok();
    assert_eq!(changed["expires_in"], 60);

    // A stranger whom nobody blocks is told the same.
    let by_id = json!({ "user_id": bob.id });
    for (who, heard) in [(&carol, 0), (&dan, 1)] {
        let opened = who.post("/api/conversations", direct.clone()).await;
        opened.refused(403, "chat/recipient-not-reachable");
        let asked = who.post("/api/contacts", by_id.clone()).await.created();
        assert_eq!(asked["state"], "pending_out");
        who.post("/api/contacts", by_id.clone()).await.refused(409, "contacts/already-requested");
        let list = who.get("/api/contacts").await.ok();
        assert_eq!(list["items"][0]["state"], "pending_out", "{}", who.name);
        let bobs_list = bob.get("/api/contacts").await.ok();
        assert_eq!(bobs_list["items"].as_array().unwrap().len(), heard);
    }
    // To an address book, too, the number is nobody's.
    let by_phone = json!({ "phone": bob.phone });
    carol.post("/api/contacts", by_phone.clone()).await.refused(404, "contacts/user-not-found");
    dan.post("/api/contacts", by_phone).await.refused(409, "contacts/already-requested");

    bob.patch(&set_up, json!({ "expires_in": 60 }))
        .await
        .refused(403, "chat/recipient-not-reachable");
    bob.delete(&format!("/api/contacts/{}/block", alice.id)).await.done();
    alice.says(&conversation, "2", "the end").await.created();
    for socket in [&mut bobs, &mut alices] {
        let heard = socket.hears("message").await;
        assert_eq!((&heard["body"], heard["expires_at"].is_null()), (&json!("the end"), true));
        for event in ["message_edited", "reaction", "conversation"] {
            assert_eq!(socket.unheard(event), 0, "{event}");
        }
    }
    assert_eq!(bob.reads(&conversation).await[0]["body"], "before");
}

async fn shadow_blocked_conversation_is_not_announced_to_blocker(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let group = world.group(&[&alice, &bob]).await;
    bob.put(&format!("/api/contacts/{}/block", alice.id), json!(null)).await.done();
    let mut bobs = bob.connects_and_syncs(json!({})).await;

    let with = |other: &Person| json!({ "kind": "direct", "members": [other.id] });
    bob.post("/api/conversations", with(&alice)).await.refused(403, "chat/recipient-not-reachable");
    let opened = alice.post("/api/conversations", with(&bob)).await.created();
    let conversation = opened["id"].as_str().unwrap();
    assert_eq!(opened["members"].as_array().unwrap().len(), 2);
    assert_eq!(alice.post("/api/conversations", with(&bob)).await.ok()["id"], opened["id"]);
    alice.says(conversation, "1", "hello?").await.created();
    alice.says(&group, "1", "in the group").await.created();
    assert_eq!(bobs.hears("message").await["body"], "in the group");
    assert_eq!((bobs.unheard("conversation"), bobs.unheard("message")), (0, 0));
    let list = bob.get("/api/conversations").await.ok();
    let empty = list["items"].as_array().unwrap().iter().find(|c| c["id"] == opened["id"]).unwrap();
    assert!(empty["archived_at"].is_string(), "out of the way: {empty}");
    assert_eq!((&empty["unread"], &empty["last_message"]), (&json!(0), &json!(null)));

    bob.delete(&format!("/api/contacts/{}/block", alice.id)).await.done();
    alice.says(conversation, "2", "and now?").await.created();
    assert_eq!(bobs.hears("message").await["body"], "and now?");
    assert_eq!(bob.reads(conversation).await.len(), 1);
}

async fn block_suppresses_typing_and_receipts_both_ways(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    alice.says(&conversation, "1", "x").await.created();
    bob.says(&conversation, "1", "y").await.created();
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let mut tablets = bob.second_device().await.connects().await;
    let at = |seq: i64| json!({ "conversation_id": conversation, "seq": seq });
    let here = json!({ "conversation_id": conversation });
    let block = format!("/api/contacts/{}/block", alice.id);
    bob.put(&block, json!(null)).await.done();

    alices.asks("typing", here.clone()).await.unwrap();
    alices.asks("ack", at(2)).await.unwrap();
    alices.asks("read", at(2)).await.unwrap();
    alice.says(&conversation, "2", "unheard").await.created();
    bobs.asks("typing", here.clone()).await.unwrap();
    bobs.asks("read", at(3)).await.unwrap();
    assert_eq!(tablets.hears("receipt").await["read_seq"], 3, "his own devices know");

    // What surely comes later comes first.
    bob.delete(&block).await.done();
    alices.asks("typing", here.clone()).await.unwrap();
    bobs.hears("typing").await;
    bobs.asks("typing", here).await.unwrap();
    alices.hears("typing").await;
    assert_eq!((alices.unheard("typing"), bobs.unheard("typing")), (0, 0));
    for (socket, me) in [(&mut alices, &alice), (&mut bobs, &bob)] {
        for _ in 0..socket.unheard("receipt") {
            assert_eq!(socket.hears("receipt").await["user_id"], json!(me.id));
        }
    }
}
