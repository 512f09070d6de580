//! How many calls one person may begin, and how often they may ring somebody.

use serde_json::{Value, json};

use crate::calls::text;
use crate::support::{Backend, Socket, World};

async fn enters(socket: &mut Socket, name: &str) -> Result<Value, Value> {
    socket.asks("join_call", json!({ "sessionId": name })).await
}

#[actix_web::test]
async fn per_user_call_limit_is_enforced_over_socket() {
    let world = World::with(Backend::Sqlite, &[("CALLS__MAX_CALLS_PER_USER", "2")]).await;
    let (mut alice, mut bob) =
        (world.person("Alice").await.connects().await, world.person("Bob").await.connects().await);
    let first = enters(&mut alice, "one").await.unwrap();
    enters(&mut alice, "two").await.unwrap();
    let third = enters(&mut alice, "three").await.unwrap_err();
    assert_eq!(
        (&third["code"], &third["status"]),
        (&json!("calls/user-limit-reached"), &json!(429))
    );
    enters(&mut bob, "three").await.unwrap();
    enters(&mut alice, "three").await.expect("she may enter what another began");
    alice.asks("leave_call", json!({ "call_id": first["call_id"] })).await.unwrap();

    enters(&mut alice, "four").await.expect("one of hers is over");
}

#[actix_web::test]
async fn ring_rate_limit_protects_callee() {
    let world = World::with(Backend::Sqlite, &[("LIMITS__RINGS_PER_CALLEE_PER_MINUTE", "2")]).await;
    let (alice, bob, conversation) = world.two_friends().await;
    let eve = world.person("Eve").await;
    alice.befriends(&eve).await;
    let (mut alices, mut bobs, mut eves) =
        (alice.connects().await, bob.connects().await, eve.connects().await);
    let start = json!({ "user_id": bob.id, "media": "audio" });
    for _ in 0..2 {
        let started = alices.asks("start_call", start.clone()).await.unwrap();
        assert_eq!(bobs.hears("incoming_call").await["call_id"], started["call_id"]);
        alices.asks("cancel_call", json!({ "call_id": started["call_id"] })).await.unwrap();
        bobs.hears("call_ended").await;
    }
    let in_chat = json!({ "conversation_id": conversation, "media": "audio" });
    for again in [start, in_chat] {
        let refused = alices.asks("start_call", again).await.unwrap_err();
        assert_eq!(refused["code"], "limits/rate-limited", "{refused}");
    }
    let to_eve = json!({ "user_id": eve.id, "media": "audio" });
    let call = alices.asks("start_call", to_eve).await.expect("another person may be rung");
    eves.hears("incoming_call").await;
    let call = json!({ "call_id": text(&call["call_id"]) });
    alices.asks("join_call", call.clone()).await.unwrap();
    eves.asks("join_call", call.clone()).await.unwrap();
    let invite = json!({ "call_id": call["call_id"], "user_id": bob.id });
    let refused = alices.asks("invite_call", invite).await.unwrap_err();
    assert_eq!(refused["code"], "limits/rate-limited", "an invitation rings, too");

    assert_eq!(bobs.unheard("incoming_call"), 0);
    let back = json!({ "user_id": alice.id, "media": "audio" });
    bobs.asks("start_call", back).await.expect("he may call her");
}
