//! Who is here, who may know, and who is found.

use serde_json::json;

use crate::support::{Backend, World, on_both_databases};

on_both_databases! {
    contacts_receive_presence_and_status,
    flapping_device_causes_no_extra_presence_events,
    strangers_and_blocked_users_receive_no_presence,
    contact_match_finds_users_and_is_rate_limited,
    invite_link_adds_member_until_used_up,
}

const QUICK: [(&str, &str); 2] =
    [("CHAT__PRESENCE_OFFLINE_DELAY_SECONDS", "0"), ("CHAT__PRESENCE_MIN_INTERVAL_SECONDS", "0")];

async fn contacts_receive_presence_and_status(backend: Backend) {
    let world = World::with(backend, &QUICK).await;
    let (alice, bob, _) = world.two_friends().await;
    let mut alices = alice.connects().await;
    assert_eq!(alices.hears("presence").await["user_id"], json!(alice.id));

    let bobs = bob.connects().await;
    let came = alices.hears("presence").await;
    bob.put("/api/me/status", json!({ "state": "away", "text": " on a train " })).await.done();
    let away = alices.hears("presence").await;
    let listed = alice.get("/api/contacts").await.ok();
    bobs.vanishes();
    let went = alices.hears("presence").await;
    bob.put("/api/me/status", json!({ "state": "offline", "text": "" })).await.done();
    let hidden = alices.hears("presence").await;

    assert_eq!((&came["user_id"], &came["state"]), (&json!(bob.id), &json!("online")));
    assert_eq!((&away["state"], &away["text"]), (&json!("away"), &json!("on a train")));
    assert_eq!(listed["items"][0]["presence"], away);
    assert_eq!(went["state"], "offline");
    assert!(went["last_seen_at"].is_string());
    assert!(hidden["last_seen_at"].is_null(), "nobody's business");
    let long = json!({ "state": "online", "text": "x".repeat(141) });
    bob.put("/api/me/status", long).await.refused(422, "contacts/invalid-status");
}

async fn flapping_device_causes_no_extra_presence_events(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let mut alices = alice.connects().await;
    assert_eq!(alices.hears("presence").await["user_id"], json!(alice.id));
    let first = bob.connects().await;
    assert_eq!(alices.hears("presence").await["state"], "online");
    first.vanishes();
    for n in 0..20 {
        bob.connects().await.vanishes();
        bob.says(&conversation, &n.to_string(), "x").await.created();
    }

    alices.hears_messages(20).await;
    assert_eq!(alices.unheard("presence"), 0);
}

#[actix_web::test]
async fn slow_authentication_still_receives_own_presence() {
    let Some(backend) = crate::support::postgres::fresh().await else { return };
    let Backend::Postgres(database) = backend.clone() else { unreachable!("it is PostgreSQL") };
    let world = World::with(backend, &QUICK).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let mut bobs = bob.connects().await;
    bobs.hears("presence").await;
    let (mut client, connection) =
        tokio_postgres::connect(&database, tokio_postgres::NoTls).await.unwrap();
    let connection = actix_web::rt::spawn(connection);
    let hold = client.transaction().await.unwrap();
    hold.batch_execute("LOCK TABLE members IN ACCESS EXCLUSIVE MODE").await.unwrap();

    // She waits to be let in, and news of others are told meanwhile.
    let let_go = async {
        let waiting = "SELECT 1 FROM pg_locks WHERE relation = 'members'::regclass AND NOT granted";
        while hold.query(waiting, &[]).await.unwrap().is_empty() {}
        bob.put("/api/me/status", json!({ "state": "away", "text": "" })).await.done();
        assert_eq!(bobs.hears("presence").await["state"], "away");
        hold.commit().await.unwrap();
    };
    let (mut alices, ()) = tokio::join!(alice.connects(), let_go);

    assert_eq!(alices.hears("presence").await["user_id"], json!(alice.id));
    drop(client);
    connection.await.unwrap().unwrap();
}

async fn strangers_and_blocked_users_receive_no_presence(backend: Backend) {
    let world = World::with(backend, &QUICK).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let eve = world.person("Eve").await;
    bob.put(&format!("/api/contacts/{}/block", alice.id), json!(null)).await.done();
    let (mut alices, mut eves) = (alice.connects().await, eve.connects().await);
    alices.hears("presence").await; // her own
    eves.hears("presence").await;
    let mut bobs = bob.connects().await;
    bobs.hears("presence").await; // told to whoever may know by now

    let said = alice.says(&conversation, "1", "are you there?").await.created();
    alices.hears("message").await;
    eve.get("/api/me").await.ok();
    assert_eq!((alices.unheard("presence"), eves.unheard("presence")), (0, 0));
    assert_eq!(said["seq"], 1, "who is blocked does not learn it");
    bob.says(&conversation, "2", "x").await.refused(403, "chat/recipient-not-reachable");
    assert!(bob.reads(&conversation).await.is_empty());
    assert_eq!(bobs.unheard("message"), 0);
    let book = json!({ "phones": [bob.phone] });
    let found = alice.post("/api/contacts/match", book.clone()).await.ok();
    assert_eq!(found["items"], json!([]));
    assert_eq!(eve.post("/api/contacts/match", book).await.ok()["items"][0]["name"], "Bob");
}

async fn contact_match_finds_users_and_is_rate_limited(backend: Backend) {
    let settings = [("LIMITS__ADDRESS_BOOK_LOOKUPS_PER_HOUR", "2")];
    let world = World::with(backend.clone(), &settings).await;
    let (alice, bob) = (world.person("Alice").await, world.person("Bob").await);
    let spelled = format!("{} {}", &bob.phone[..5], &bob.phone[5..]);
    let book = json!({ "phones": [spelled, "nonsense", "+4915100000000", alice.phone] });

    let found = alice.post("/api/contacts/match", book.clone()).await.ok();
    let expected = json!([{ "phone": spelled, "user_id": bob.id, "name": "Bob" }]);
    assert_eq!(found["items"], expected);
    let long = json!({ "phones": vec!["+4915100000000"; 501] });
    alice.post("/api/contacts/match", long).await.refused(422, "contacts/address-book-too-large");
    alice.post("/api/contacts/match", book.clone()).await.ok();
    alice.post("/api/contacts/match", book).await.refused(429, "limits/rate-limited");
}

async fn invite_link_adds_member_until_used_up(backend: Backend) {
    let world = World::new(backend).await;
    let (alice, bob, eve) =
        (world.person("Alice").await, world.person("Bob").await, world.person("Eve").await);
    let group = world.group(&[&alice]).await;
    let mut alices = alice.connects().await;
    let invites = format!("/api/conversations/{group}/invites");

    let made = alice.post(&invites, json!({ "uses": 1, "seconds": 3600 })).await.created();
    let link = format!("/api/invites/{}", made["token"].as_str().unwrap());
    let joined = bob.post(&link, json!(null)).await.ok();

    assert_eq!(joined["id"], json!(group));
    assert_eq!(alices.hears("message").await["system"], json!({ "what": "joined" }));
    bob.post(&link, json!(null)).await.refused(404, "chat/invite-not-found");
    eve.post(&link, json!(null)).await.refused(404, "chat/invite-not-found");
    bob.get(&invites).await.refused(403, "chat/not-allowed");
    let listed = alice.get(&invites).await.ok();
    assert_eq!(
        (&listed["items"][0]["uses"], &listed["items"][0]["token"]),
        (&json!(1), &json!(null))
    );
    let id = made["id"].as_str().unwrap();
    alice.delete(&format!("{invites}/{id}")).await.done();
    assert_eq!(alice.get(&invites).await.ok()["items"], json!([]));
    alice.post(&invites, json!({ "seconds": 1 })).await.refused(422, "chat/invalid-invite");
    alice.post(&invites, json!({ "uses": 0 })).await.refused(422, "chat/invalid-invite");
}
