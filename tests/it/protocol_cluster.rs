//! Every message between nodes, snapshotted: nodes of two versions must understand each other.

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, DeviceId, NodeId, SessionId, UserId};
use securevox::protocol::calls::{ActiveCall, CallMedia, CallRole, CallTopology, IncomingCall};
use securevox::protocol::cluster::{
    ActorCommandRequest, CallKey, ConversationHead, DeliverToSession, DeliverToUsers, DeviceKey,
    ForwardedCallGrant, ForwardedCallReply, ForwardedCallRequest, Heartbeat, NodeEvent, NodeLoad,
    NodeRequest, NodeStateChange, NodeStateDelta, NodeStateSnapshot, ParticipantLocation, Priority,
    RawEvent, RemoteCallSummary, RoomHandOff, SequencePosition,
};
use securevox::protocol::users::UserSummary;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

fn number(n: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(n)
}

fn user(n: u128) -> UserId {
    UserId::from_uuid(number(n))
}

fn session() -> SessionId {
    SessionId::from_uuid(number(4))
}

fn call_id() -> CallId {
    CallId::from_uuid(number(11))
}

fn conversation_id() -> ConversationId {
    ConversationId::from_uuid(number(2))
}

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

fn seat() -> ParticipantLocation {
    ParticipantLocation {
        user: user(1),
        device: DeviceId::from_uuid(number(3)),
        session: session(),
        node: NodeId::from_uuid(number(5)),
        guest: false,
    }
}

fn standing() -> RemoteCallSummary {
    let noon = Timestamp::from_micros(1_790_000_000_000_000);
    RemoteCallSummary {
        call_id: call_id(),
        key: CallKey::Conversation(conversation_id()),
        conversation_id: Some(conversation_id()),
        participants: vec![seat()],
        ringing: vec![(
            user(9),
            IncomingCall {
                call_id: call_id(),
                from: UserSummary { user_id: user(1), name: "Alice".to_owned() },
                media: CallMedia::Video,
                conversation_id: Some(conversation_id()),
                expires_at: noon,
            },
        )],
        active: Some(ActiveCall {
            call_id: call_id(),
            session_id: Some("standup".to_owned()),
            mode: CallTopology::Sfu,
            participants: 1,
            started_at: noon,
        }),
    }
}

fn message() -> RawEvent {
    RawEvent {
        name: "message".to_owned(),
        data: raw(&json!({ "text": "hello" })),
        position: Some(SequencePosition::message(conversation_id(), 7)),
        message_seq: None,
    }
}

fn events() -> Vec<NodeEvent> {
    let load = NodeLoad { calls: 1, participants: 3, people: 9 };
    let changes = vec![
        NodeStateChange::UserConnected(user(1)),
        NodeStateChange::UserDisconnected(user(9)),
        NodeStateChange::Call(Box::new(standing())),
        NodeStateChange::CallRemoved(call_id()),
    ];
    let mut all = vec![
        NodeEvent::Heartbeat(Heartbeat { version: 8, load, takes_rooms: true }),
        NodeEvent::StateChanged(NodeStateDelta { version: 8, changes }),
        NodeEvent::DeliverToSession(DeliverToSession {
            user: user(1),
            session: session(),
            event: RawEvent {
                position: Some(SequencePosition::revision(conversation_id(), 3)),
                message_seq: Some(7),
                ..message()
            },
        }),
        NodeEvent::ConversationAdvanced(ConversationHead {
            to: vec![user(1)],
            position: SequencePosition::revision(conversation_id(), 7),
            skipped: false,
        }),
        NodeEvent::StatusChanged(user(1)),
        NodeEvent::Resync,
        NodeEvent::DeviceSignedOut(DeviceKey { user: user(1), device: seat().device }),
        NodeEvent::UserSignedOut(user(1)),
        NodeEvent::SessionEnded(session()),
        NodeEvent::Unknown,
    ];
    for urgency in [Priority::Low, Priority::Normal, Priority::High] {
        all.push(NodeEvent::Deliver(DeliverToUsers {
            to: vec![user(1)],
            event: message(),
            priority: urgency,
        }));
    }
    all
}

fn requests() -> Vec<NodeRequest> {
    let ask = |pass| ForwardedCallRequest {
        participant: seat(),
        name: "Alice".to_owned(),
        grant: pass,
        event: "join_call".to_owned(),
        data: raw(&json!({ "call_id": call_id() })),
    };
    let pass = ForwardedCallGrant { session: "standup".to_owned(), role: CallRole::Moderator };
    vec![
        NodeRequest::Ping,
        NodeRequest::Snapshot,
        NodeRequest::Call(Box::new(ask(None))),
        NodeRequest::Call(Box::new(ask(Some(pass)))),
        NodeRequest::FindEndedSessions(vec![(user(1), session())]),
        NodeRequest::TakeRoom(Box::new(RoomHandOff {
            key: "call/name/standup".to_owned(),
            epoch: 3,
            call: raw(&json!({ "mode": "sfu" })),
        })),
        NodeRequest::Calls,
        NodeRequest::Actors,
        NodeRequest::CommandActor(ActorCommandRequest {
            path: "/node/store".to_owned(),
            restart: true,
        }),
        NodeRequest::Drain,
        NodeRequest::Unknown,
    ]
}

/// What `told` is when it was told and understood; it must be the same.
fn travelled<T: Serialize + DeserializeOwned>(told: &T) -> Value {
    let text = serde_json::to_string(told).unwrap();
    let heard: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(serde_json::to_string(&heard).unwrap(), text);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn node_events_match_snapshot() {
    let frame = |event: &NodeEvent| {
        let urgency = format!("{:?}", event.priority());
        let event_name = event.name();
        json!({ "json": travelled(event), "urgency": urgency, "in_metrics": event_name })
    };
    insta::assert_json_snapshot!(events().iter().map(frame).collect::<Vec<_>>());
}

#[test]
fn node_requests_match_snapshot() {
    insta::assert_json_snapshot!(requests().iter().map(travelled).collect::<Vec<_>>());
}

#[test]
fn node_replies_match_snapshot() {
    let snapshot = NodeStateSnapshot { version: 8, people: vec![user(1)], calls: vec![standing()] };
    let keys = [
        CallKey::Pair(user(1), user(9)),
        CallKey::Conversation(conversation_id()),
        CallKey::Name("standup".to_owned()),
    ];
    let replies = [
        ForwardedCallReply::Done(raw(&json!({ "call_id": call_id() }))),
        ForwardedCallReply::Rejected("calls/not-in-call".to_owned()),
        ForwardedCallReply::CallNotHere,
    ];
    insta::assert_json_snapshot!([
        json!({ "shape": "Snapshot", "json": travelled(&snapshot) }),
        json!({ "shape": "CallKey", "json": keys.iter().map(travelled).collect::<Vec<_>>() }),
        json!({ "shape": "CallReply", "json": replies.iter().map(travelled).collect::<Vec<_>>() }),
    ]);
}

#[test]
fn unknown_bus_message_from_newer_version_is_accepted() {
    for data in ["null", "7", "[1]", r#"{ "x": { "y": 1 } }"#] {
        let event = format!(r#"{{ "event": "of_tomorrow", "data": {data} }}"#);
        let request = format!(r#"{{ "request": "of_tomorrow", "data": {data} }}"#);
        let event = NodeEvent::read(event.as_bytes());
        let request = NodeRequest::read(request.as_bytes());

        assert!(matches!(event, Ok(NodeEvent::Unknown)), "{data}: {event:?}");
        assert!(matches!(request, Ok(NodeRequest::Unknown)), "{data}: {request:?}");
    }
    let bare = NodeEvent::read(br#"{ "event": "of_tomorrow" }"#);
    assert!(matches!(bare, Ok(NodeEvent::Unknown)), "{bare:?}");
}

#[test]
fn malformed_known_bus_message_is_rejected() {
    for json in ["", "7", "{}", r#"{ "event": 7 }"#, r#"{ "event": "lost", "data": "nobody" }"#] {
        assert!(NodeEvent::read(json.as_bytes()).is_err(), "{json}");
        let asked = json.replace("event", "request").replace("lost", "gone");
        assert!(NodeRequest::read(asked.as_bytes()).is_err(), "{asked}");
    }
}

/// Puts a field of tomorrow into every object of several fields; one of a single field may be a
/// variant of an enum.
fn with_more(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(with_more);
            if fields.len() > 1 {
                fields.insert("of_tomorrow".to_owned(), json!({ "x": 1 }));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(with_more),
        _ => {}
    }
}

/// The JSON of tomorrow; what says which variant it is comes first, as nodes write it.
fn of_tomorrow(told: &impl Serialize) -> (Value, String) {
    let plain = serde_json::to_value(told).unwrap();
    let mut more = plain.clone();
    with_more(&mut more);
    let mut text = String::from("{");
    for name in ["event", "request", "data", "of_tomorrow"] {
        if let Some(field) = more.get(name) {
            text.push_str(&format!("{}\"{name}\":{field}", if text.len() > 1 { "," } else { "" }));
        }
    }
    (plain, text + "}")
}

#[test]
fn unknown_bus_field_from_newer_version_is_ignored() {
    for event in events() {
        let (plain, text) = of_tomorrow(&event);
        let heard = NodeEvent::read(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(serde_json::to_value(&heard).unwrap(), plain);
    }
    for request in requests() {
        let (plain, text) = of_tomorrow(&request);
        let asked = NodeRequest::read(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(serde_json::to_value(&asked).unwrap(), plain);
    }
}
