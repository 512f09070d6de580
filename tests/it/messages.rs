//! What becomes of messages: heard by those who are here, made good to those who were not.

use serde_json::{Value, json};

use crate::files::{attaches, shows};
use crate::support::{Backend, Person, World, on_both_databases, soon};

on_both_databases! {
    message_changes_are_delivered_in_order,
    returning_device_catches_up_on_message_changes,
    delete_for_me_affects_only_that_user,
    non_members_cannot_distinguish_real_from_unknown_message,
    changes_to_messages_before_joining_are_not_delivered,
    message_change_keeps_attachments,
    expired_message_leaves_no_trace,
    unread_counts_are_consistent_across_devices,
}

/// Where a message is.
fn path(message: &Value) -> String {
    let text = |key: &str| message[key].as_str().unwrap().to_owned();
    format!("/api/conversations/{}/messages/{}", text("conversation_id"), text("id"))
}

async fn message_changes_are_delivered_in_order(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut bobs = bob.connects_and_syncs(json!({})).await;
    let said = alice.says(&conversation, "1", "helo").await.created();
    let path = path(&said);

    let edited = alice.patch(&path, json!({ "body": "hello" })).await.ok();
    let reacted = bob.put(&format!("{path}/reactions/%F0%9F%91%8D"), json!(null)).await.ok();
    bob.put(&format!("{path}/pin"), json!(null)).await.ok();
    bob.delete(&format!("{path}/reactions/%F0%9F%91%8D")).await.ok();
    alice.delete(&format!("{path}?for=all")).await.done();

    assert_eq!(bobs.hears("message").await["body"], "helo");
    let heard = bobs.hears("message_edited").await;
    assert_eq!((&heard, &heard["revision"]), (&edited, &json!(1)));
    let expected = json!([{ "emoji": "👍", "user_ids": [bob.id] }]);
    assert_eq!((&reacted["reactions"], &reacted["body"]), (&expected, &json!("hello")));
    let reaction = bobs.hears("reaction").await;
    assert_eq!((&reaction["emoji"], &reaction["added"]), (&json!("👍"), &json!(true)));
    assert!(bobs.hears("message_edited").await["pinned_at"].is_string());
    assert_eq!(bobs.hears("reaction").await["added"], false);
    let gone = bobs.hears("message_deleted").await;
    assert_eq!((&gone["revision"], &gone["for"]), (&json!(5), &json!("all")));
    let left = bob.get(&path).await.ok();
    assert_eq!((&left["body"], &left["seq"]), (&json!(""), &json!(1)));
    assert!(left["deleted_at"].is_string() && left["pinned_at"].is_null());
    alice.patch(&path, json!({ "body": "back?" })).await.refused(404, "chat/message-not-found");
    bob.put(&format!("{path}/reactions/no"), json!(null))
        .await
        .refused(422, "chat/invalid-reaction");
}

async fn returning_device_catches_up_on_message_changes(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut said = Vec::new();
    for n in 0..150 {
        said.push(alice.says(&conversation, &n.to_string(), "before").await.created());
    }
    let mut bobs = bob.connects_and_syncs(json!({})).await;
    bobs.hears_messages(150).await;
    bobs.vanishes();
    for message in &said[..120] {
        alice.patch(&path(message), json!({ "body": "after" })).await.ok();
    }
    alice.patch(&path(&said[0]), json!({ "body": "after all" })).await.ok();
    alice.delete(&format!("{}?for=all", path(&said[149]))).await.done();

    let mut bobs = bob.connects().await;
    let asked = json!({
        "cursors": { (conversation.clone()): 150 }, "changes": { (conversation.clone()): 0 },
    });
    let synced = bobs.asks("sync", asked).await.unwrap();
    assert_eq!(synced["conversations"][0]["revision"], 122);
    let mut numbers = Vec::new();
    for _ in 0..120 {
        let edited = bobs.hears("message_edited").await;
        assert!(edited["body"].as_str().unwrap().starts_with("after"));
        numbers.push(edited["revision"].as_i64().unwrap());
    }
    assert_eq!(numbers, (2..=121).collect::<Vec<_>>(), "of each message its newest change");
    assert_eq!(bobs.hears("message_deleted").await["seq"], 150);
    alice.patch(&path(&said[1]), json!({ "body": "live" })).await.ok();
    assert_eq!(bobs.hears("message_edited").await["body"], "live");
    assert_eq!((bobs.unheard("message"), bobs.unheard("message_edited")), (0, 0));
}

async fn delete_for_me_affects_only_that_user(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let first = alice.says(&conversation, "1", "one").await.created();
    let second = alice.says(&conversation, "2", "two").await.created();

    bob.delete(&path(&first)).await.done();
    alice.patch(&path(&second), json!({ "body": "zwei" })).await.ok();

    let gone = bobs.hears("message_deleted").await;
    assert_eq!((&gone["message_id"], &gone["for"]), (&first["id"], &json!("me")));
    assert_eq!(alices.hears("message_edited").await["revision"], 2);
    assert_eq!(alices.unheard("message_deleted"), 0);
    let seen = bob.reads(&conversation).await;
    assert_eq!((seen.len(), &seen[0]["seq"]), (1, &json!(2)));
    assert_eq!(alice.reads(&conversation).await.len(), 2);
    bob.get(&path(&first)).await.refused(404, "chat/message-not-found");
}

/// Everything that can be asked about one message, a group's invites and a search in it.
async fn asks_for_all(who: &Person, message: &Value) -> Vec<(u16, Value)> {
    let (path, conversation) = (path(message), message["conversation_id"].as_str().unwrap());
    let group = format!("/api/conversations/{conversation}");
    let answers = [
        who.get(&path).await,
        who.get(&format!("{path}/edits")).await,
        who.patch(&path, json!({ "body": "x" })).await,
        who.delete(&path).await,
        who.delete(&format!("{path}?for=all")).await,
        who.put(&format!("{path}/reactions/%F0%9F%91%8D"), json!(null)).await,
        who.delete(&format!("{path}/reactions/%F0%9F%91%8D")).await,
        who.put(&format!("{path}/pin"), json!(null)).await,
        who.delete(&format!("{path}/pin")).await,
        who.get(&format!("{group}/pins")).await,
        who.get(&format!("{group}/invites")).await,
        who.post(&format!("{group}/invites"), json!({})).await,
        who.delete(&format!("{group}/invites/inv_00000000000000000000000000000000")).await,
        who.patch(&format!("{group}/me"), json!({ "archived": true })).await,
        who.get(&format!("/api/search?q=canary&conversation_id={conversation}")).await,
    ];
    answers.into_iter().map(|answer| (answer.status, answer.body["code"].clone())).collect()
}

async fn non_members_cannot_distinguish_real_from_unknown_message(backend: Backend) {
    let world = World::new(backend).await;
    let admin = world.admin().await;
    let (alice, bob, eve, dan) = (
        world.person("Alice").await,
        world.person("Bob").await,
        world.person("Eve").await,
        world.person("Dan").await,
    );
    let group = world.group(&[&alice, &bob, &dan]).await;
    let said = alice.says(&group, "1", "canary").await.created();
    alice.put(&format!("/api/contacts/{}/block", eve.id), json!(null)).await.done();
    alice.delete(&format!("/api/conversations/{group}/members/{}", bob.id)).await.done();
    admin.put(&format!("/api/admin/users/{}/suspension", dan.id), json!(null)).await.done();
    let stranger = world.person("Stranger").await;

    let nowhere = json!({
        "conversation_id": "cnv_0190000000007000800000000000abcd",
        "id": "msg_0190000000007000800000000000abcd",
    });
    let guessed = asks_for_all(&stranger, &nowhere).await;
    assert!(guessed.iter().all(|(status, _)| *status == 404), "{guessed:?}");
    for who in [&stranger, &bob, &eve] {
        assert_eq!(asks_for_all(who, &said).await, guessed, "{}", who.name);
        assert_eq!(who.get("/api/search?q=canary").await.ok()["items"], json!([]));
    }
    let suspended = asks_for_all(&dan, &said).await;
    assert!(suspended.iter().all(|(status, _)| matches!(status, 401 | 403)), "{suspended:?}");
    let unknown = format!("/api/invites/{}", "0".repeat(64));
    stranger.post(&unknown, json!(null)).await.refused(404, "chat/invite-not-found");
    assert_eq!(alice.get(&path(&said)).await.ok(), said, "nothing was changed");
}

async fn changes_to_messages_before_joining_are_not_delivered(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let group = world.group(&[&alice]).await;
    let before = alice.says(&group, "1", "canary").await.created();
    let mut bobs = bob.connects_and_syncs(json!({})).await;
    alice.put(&format!("/api/conversations/{group}/members/{}", bob.id), json!(null)).await.ok();

    alice.patch(&path(&before), json!({ "body": "canary, edited" })).await.ok();
    alice.put(&format!("{}/pin", path(&before)), json!(null)).await.ok();
    alice.put(&format!("{}/reactions/%F0%9F%91%8D", path(&before)), json!(null)).await.ok();
    alice.delete(&format!("{}?for=all", path(&before))).await.done();
    let after = alice.says(&group, "2", "to Bob").await.created();
    alice.patch(&path(&after), json!({ "body": "to Bob and all" })).await.ok();

    assert_eq!(bobs.hears("message_edited").await["body"], "to Bob and all");
    for event in ["message_edited", "reaction", "message_deleted"] {
        assert_eq!(bobs.unheard(event), 0, "{event} of what he may not see");
    }
}

async fn message_change_keeps_attachments(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let file = attaches(&alice, "plan.txt", "text/plain", b"the plan").await.created();
    let file = file["id"].as_str().unwrap();
    let said = shows(&alice, &conversation, "1", &[file]).await.created();
    let mut bobs = bob.connects_and_syncs(json!({ (conversation.clone()): 1 })).await;

    let edited = alice.patch(&path(&said), json!({ "body": "as promised" })).await.ok();
    assert_eq!(edited["attachments"], said["attachments"]);
    assert_eq!(bobs.hears("message_edited").await, edited);
    let pinned = bob.put(&format!("{}/pin", path(&said)), json!(null)).await.ok();
    assert_eq!(pinned["attachments"], said["attachments"]);
    let pins = bob.get(&format!("/api/conversations/{conversation}/pins")).await.ok();
    assert_eq!(pins["items"][0]["attachments"], said["attachments"]);
    assert_eq!(bob.get(&path(&said)).await.ok(), pinned);
    let found = bob.get("/api/search?q=promised").await.ok();
    assert_eq!(found["items"][0]["attachments"], said["attachments"]);
}

async fn expired_message_leaves_no_trace(backend: Backend) {
    let world = World::with(backend.clone(), &[("CHAT__EXPIRY_INTERVAL_MS", "100")]).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut bobs = bob.connects_and_syncs(json!({})).await;
    let new = json!({ "client_id": "1", "body": "canaryfirst words", "expires_in": 2 });
    let send = format!("/api/conversations/{conversation}/messages");
    let said = alice.post(&send, new).await.created();
    alice.patch(&path(&said), json!({ "body": "canarysecond words" })).await.ok();
    bob.put(&format!("{}/reactions/%F0%9F%A6%84", path(&said)), json!(null)).await.ok();
    let found = bob.get("/api/search?q=canarysec").await.ok();
    assert_eq!(found["items"][0]["id"], said["id"]);

    assert_eq!(bobs.hears("message_deleted").await["message_id"], said["id"]);
    assert_eq!(bob.get("/api/search?q=canarysec").await.ok()["items"], json!([]));
    let left = bob.get(&path(&said)).await.ok();
    assert_eq!((&left["body"], &left["reactions"]), (&json!(""), &Value::Null));
    let canaries = ["canaryfirst", "canarysecond", "🦄"];
    // SQLite's log, a copy of what was written, is emptied in the next round.
    let forgotten = async {
        while !crate::erasure::traces_of(&world, &backend, &canaries).await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    soon("no trace is left in any table, index or file", forgotten).await;
}

async fn unread_counts_are_consistent_across_devices(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let group = world.group(&[&alice, &bob]).await;
    let second = bob.second_device().await;
    let mut seconds = second.connects().await;
    let send = format!("/api/conversations/{group}/messages");
    alice.says(&group, "1", "one").await.created();
    let mention = json!({ "client_id": "2", "body": "you", "mentions": [bob.id] });
    alice.post(&send, mention).await.created();
    bob.says(&group, "3", "mine").await.created();
    let counts = |list: Value| {
        let item = &list["items"][0];
        (item["unread"].as_i64().unwrap(), item["unread_mentions"].as_i64().unwrap())
    };

    assert_eq!(counts(bob.get("/api/conversations").await.ok()), (0, 0), "who speaks has read");
    alice.says(&group, "4", "four").await.created();
    alice
        .post(&send, json!({ "client_id": "5", "body": "x", "mentions": [bob.id] }))
        .await
        .created();
    assert_eq!(counts(second.get("/api/conversations").await.ok()), (2, 1));
    assert_eq!(counts(alice.get("/api/conversations").await.ok()), (0, 0));
    let at = json!({ "conversation_id": group, "seq": 5 });
    bob.connects().await.asks("read", at).await.unwrap();
    assert_eq!(seconds.hears("receipt").await["user_id"], json!(bob.id));
    assert_eq!(counts(second.get("/api/conversations").await.ok()), (0, 0));
    let mine = format!("/api/conversations/{group}/me");
    let kept = second.patch(&mine, json!({ "mute_seconds": 60 })).await.ok();
    assert!(kept["muted_until"].is_string());
    assert!(seconds.hears("conversation_kept").await["muted_until"].is_string());
}
