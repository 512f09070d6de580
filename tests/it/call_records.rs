//! What is written of a call before it rings and when its server stops.

use serde_json::{Value, json};

use crate::calls::text;
use crate::support::{Backend, Person, World, postgres, soon};

#[actix_web::test]
async fn invite_that_cannot_be_stored_is_not_rung() {
    let Some(backend) = postgres::fresh().await else { return };
    let Backend::Postgres(database) = backend.clone() else { unreachable!("it is PostgreSQL") };
    let world = World::new(backend).await;
    let (alice, bob, _) = world.two_friends().await;
    let eve = world.person("Eve").await;
    alice.befriends(&eve).await;
    let (mut alices, mut bobs, mut eves) =
        (alice.connects().await, bob.connects().await, eve.connects().await);
    let start = json!({ "user_id": bob.id, "media": "audio" });
    let call = alices.asks("start_call", start).await.unwrap()["call_id"].clone();
    alices.asks("join_call", json!({ "call_id": call })).await.unwrap();
    bobs.asks("join_call", json!({ "call_id": call })).await.unwrap();
    let (client, connection) =
        tokio_postgres::connect(&database, tokio_postgres::NoTls).await.unwrap();
    let connection = actix_web::rt::spawn(connection);
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no space left on device'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON outbox EXECUTE FUNCTION full_disk()";
    client.batch_execute(full).await.unwrap();

    let invite = json!({ "call_id": call, "user_id": eve.id });
    let failed = alices.asks("invite_call", invite.clone()).await.unwrap_err();
    assert_eq!(failed["status"], 500, "{failed}");
    let uninvited = eves.asks("join_call", json!({ "call_id": call })).await.unwrap_err();
    assert_eq!(uninvited["code"], "calls/call-not-found");
    assert_eq!(eves.unheard("incoming_call"), 0);
    assert_eq!(eve.get("/api/calls").await.ok()["items"], json!([]));

    client.batch_execute("DROP TRIGGER full_disk ON outbox").await.unwrap();
    alices.asks("invite_call", invite).await.unwrap();
    assert_eq!(eves.hears("incoming_call").await["call_id"], call);
    assert_eq!(eve.get("/api/calls").await.ok()["items"][0]["call_id"], call);
    drop(client);
    connection.await.unwrap().unwrap();
}

/// The only call in somebody's history.
async fn record(world: &World, person: &Person) -> Value {
    let signed_in = world.stranger().logs_in(&person.phone).await.ok();
    let again = Person::from_answer(world.address(), &person.name, &person.phone, signed_in);
    let past = again.get("/api/calls").await.ok()["items"].as_array().unwrap().clone();
    assert_eq!(past.len(), 1, "one call, one record");
    past[0].clone()
}

#[actix_web::test]
async fn graceful_stop_ends_and_records_calls_as_failed() {
    let world = World::new(Backend::Sqlite).await;
    let (alice, bob, _) = world.two_friends().await;
    let (eve, mallory) = (world.person("Eve").await, world.person("Mallory").await);
    eve.befriends(&mallory).await;
    let (mut alices, mut bobs) = (alice.connects().await, bob.connects().await);
    let (mut eves, mut mallorys) = (eve.connects().await, mallory.connects().await);
    let start = |user: &Person| json!({ "user_id": user.id, "media": "audio" });
    let talk = alices.asks("start_call", start(&bob)).await.unwrap()["call_id"].clone();
    alices.asks("join_call", json!({ "call_id": talk })).await.unwrap();
    bobs.asks("join_call", json!({ "call_id": talk })).await.unwrap();
    let rings = eves.asks("start_call", start(&mallory)).await.unwrap()["call_id"].clone();
    mallorys.hears("incoming_call").await;

    assert_eq!(world.stop().await, Some(0));
    let (talkers, ringers) = ([&mut alices, &mut bobs], [&mut eves, &mut mallorys]);
    for (call, sockets) in [(&talk, talkers), (&rings, ringers)] {
        for socket in sockets {
            let ended = soon("everybody hears of it", socket.hears("call_ended")).await;
            assert_eq!((&ended["call_id"], text(&ended["reason"])), (call, "failed"));
            socket.hears("reconnect").await;
            assert_eq!(socket.unheard("call_ended"), 0, "once");
        }
    }
    world.start();
    for (person, call) in [(&alice, &talk), (&bob, &talk), (&eve, &rings), (&mallory, &rings)] {
        let past = record(&world, person).await;
        assert_eq!((&past["call_id"], text(&past["reason"])), (call, "failed"));
        assert!(past["ended_at"].is_string());
    }
    // The room wrote it, who knows who was there, and not the next start, which does not.
    let people = record(&world, &alice).await["people"].as_array().unwrap().clone();
    assert!(people.iter().all(|who| who["joined_at"].is_string() && who["left_at"].is_string()));
    let missed = record(&world, &mallory).await["people"].as_array().unwrap().clone();
    assert!(missed.iter().any(|who| who["outcome"] == "missed"), "{missed:?}");
}
