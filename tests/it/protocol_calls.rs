//! Every message about calls that crosses a wire, snapshotted: the manual of the wire.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, UserId};
use base::secret::Secret;
use securevox::protocol::calls::{
    ActiveCall, ActiveSpeaker, CallAnswered, CallEndReason, CallEnded, CallJoined, CallMedia,
    CallMode, CallMoved, CallOutcome, CallQuality, CallStarted, CallStats, CallToken, CallTopology,
    CallView, IceServer, IncomingCall, ParticipantChanged, ParticipantLeft, ParticipantQuality,
    ParticipantView, PastCall, PastParticipant, PublishSource, RelayedCandidate,
    RelayedDescription, RequestedLayer, ServerAnswer, TrackPublished, TrackUnpublished, TrackView,
    TrackWanted,
};
use securevox::protocol::client::ClientEvent;
use securevox::protocol::server::{CallServerEvent, ServerEvent};
use securevox::protocol::users::UserSummary;
use serde::Serialize;
use serde_json::{Value, json};

const NOON: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

fn call_id() -> CallId {
    CallId::from_uuid(uuid::Uuid::from_u128(11))
}

fn user(n: u128) -> UserId {
    UserId::from_uuid(uuid::Uuid::from_u128(n))
}

fn conversation() -> ConversationId {
    ConversationId::from_uuid(uuid::Uuid::from_u128(2))
}

fn alice() -> UserSummary {
    UserSummary { user_id: user(1), name: "Alice".to_owned() }
}

fn bob() -> ParticipantView {
    ParticipantView {
        participant_id: "p2".to_owned(),
        user_id: user(9),
        name: "Bob".to_owned(),
        audio: true,
        video: false,
    }
}

fn track() -> TrackView {
    TrackView {
        track_id: "t1-3".to_owned(),
        participant_id: "p2".to_owned(),
        kind: CallMedia::Video,
        source: PublishSource::Camera,
        layers: vec![RequestedLayer::Low, RequestedLayer::Medium, RequestedLayer::High],
    }
}

fn quality() -> ParticipantQuality {
    ParticipantQuality {
        rtt_ms: 21.5,
        up_bps: 640_000,
        down_bps: 1_200_000,
        up_loss: 0.01,
        down_loss: 0.0,
        up_jitter_ms: 2.5,
        down_jitter_ms: 1.5,
        estimate_bps: 2_000_000,
        freezes: 1,
    }
}

fn ice_servers() -> Vec<IceServer> {
    vec![IceServer {
        urls: vec!["turn:vox.example.org:3478?transport=udp".to_owned()],
        username: Some("1790043200:usr_1".to_owned()),
        credential: Some("F9ZKM7g=".to_owned()),
    }]
}

#[test]
fn server_call_events_match_snapshot() {
    let call_id = call_id();
    let taken = CallAnswered { call_id, user_id: user(9) };
    let sdp = || "v=0\r\n…".to_owned();
    let relayed = || RelayedDescription { call_id, from: "p2".to_owned(), sdp: sdp() };
    let events = [
        CallServerEvent::IncomingCall(IncomingCall {
            call_id,
            from: alice(),
            media: CallMedia::Video,
            conversation_id: Some(conversation()),
            expires_at: NOON,
        }),
        CallServerEvent::CallAnswered(taken),
        CallServerEvent::CallDeclined(taken),
        CallServerEvent::CallEnded(CallEnded { call_id, reason: CallEndReason::Hangup }),
        CallServerEvent::CallJoined(CallJoined {
            call_id,
            session: Some("standup".to_owned()),
            participant_id: "p3".to_owned(),
            mode: CallTopology::Sfu,
            epoch: 1,
            participants: vec![bob()],
            tracks: vec![track()],
            ice_servers: ice_servers(),
        }),
        CallServerEvent::ParticipantJoined(ParticipantChanged { call_id, participant: bob() }),
        CallServerEvent::ParticipantUpdated(ParticipantChanged { call_id, participant: bob() }),
        CallServerEvent::ParticipantLeft(ParticipantLeft {
            call_id,
            participant_id: "p2".to_owned(),
            user_id: user(9),
        }),
        CallServerEvent::Offer(relayed()),
        CallServerEvent::Answer(relayed()),
        CallServerEvent::ServerAnswer(ServerAnswer { call_id, epoch: 1, sdp: sdp() }),
        CallServerEvent::IceCandidate(RelayedCandidate {
            call_id,
            from: "p2".to_owned(),
            candidate: json!({ "candidate": "candidate:1 1 udp …", "sdpMid": "0" }),
        }),
        CallServerEvent::TrackPublished(TrackPublished { call_id, track: track() }),
        CallServerEvent::TrackUnpublished(TrackUnpublished {
            call_id,
            track_id: "t1-3".to_owned(),
            participant_id: "p2".to_owned(),
        }),
        CallServerEvent::TrackWanted(TrackWanted {
            call_id,
            track_id: "t1-3".to_owned(),
            layers: vec![RequestedLayer::Low],
        }),
        CallServerEvent::ActiveSpeaker(ActiveSpeaker {
            call_id,
            participant_ids: vec!["p2".to_owned(), "p3".to_owned()],
        }),
        CallServerEvent::CallMode(CallMode { call_id, mode: CallTopology::P2p }),
        CallServerEvent::CallMoved(CallMoved { call_id, epoch: 2 }),
        CallServerEvent::CallQuality(CallQuality { call_id, quality: quality() }),
    ];
    let frame = |news: &CallServerEvent| {
        let event = ServerEvent::Call(news.clone());
        json!({ "event": event.name(), "data": event })
    };
    insta::assert_json_snapshot!(events.iter().map(frame).collect::<Vec<_>>());
}

#[test]
fn client_call_events_match_snapshot() {
    let call = json!({ "call_id": call_id() });
    let with = |more: Value| {
        let mut all = call.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let frames = [
        ("start_call", json!({ "user_id": user(9), "media": "video" })),
        ("start_call", json!({ "conversation_id": conversation(), "media": "audio" })),
        ("accept_call", call.clone()),
        ("decline_call", call.clone()),
        ("cancel_call", call.clone()),
        ("invite_call", with(json!({ "user_id": user(9) }))),
        ("upgrade_call", call.clone()),
        ("join_call", call.clone()),
        ("join_call", json!({ "sessionId": "standup" })),
        ("leave_call", json!({})),
        ("offer", with(json!({ "to": "p2", "sdp": "v=0…" }))),
        (
            "offer",
            with(json!({
                "sdp": "v=0…",
                "publish": { "0": { "source": "microphone" }, "1": { "source": "camera" } },
                "receive": { "2": "t1-3" },
            })),
        ),
        ("answer", with(json!({ "to": "p2", "sdp": "v=0…" }))),
        ("ice_candidate", with(json!({ "to": "p2", "candidate": { "candidate": "…" } }))),
        ("mute_audio", with(json!({ "muted": true }))),
        ("mute_video", json!({ "muted": false })),
        ("set_layer", with(json!({ "track_id": "t1-3", "max": "medium" }))),
        ("moderate", with(json!({ "participant_id": "p2", "action": "kick" }))),
    ];
    let read = |(name, data): &(&str, Value)| {
        let event = ClientEvent::parse(name, &data.to_string()).unwrap();
        json!({ "event": name, "data": data, "understood_as": format!("{event:?}") })
    };
    insta::assert_json_snapshot!(frames.iter().map(read).collect::<Vec<_>>());
}

fn shape<T: Serialize>(name: &str, value: T) -> Value {
    json!({ "shape": name, "json": value })
}

#[test]
fn call_http_responses_match_snapshot() {
    let active = ActiveCall {
        call_id: call_id(),
        session_id: Some("standup".to_owned()),
        mode: CallTopology::Sfu,
        participants: 3,
        started_at: NOON,
    };
    let past = PastCall {
        call_id: call_id(),
        conversation_id: Some(conversation()),
        session_id: None,
        from: alice(),
        media: CallMedia::Audio,
        started_at: NOON,
        answered_at: Some(NOON),
        ended_at: Some(NOON),
        reason: Some(CallEndReason::Hangup),
        people: vec![PastParticipant {
            person: alice(),
            outcome: CallOutcome::Joined,
            joined_at: Some(NOON),
            left_at: Some(NOON),
        }],
    };
    let view = CallView {
        call_id: call_id(),
        session_id: None,
        mode: CallTopology::Sfu,
        epoch: 1,
        started_at: NOON,
        path: "/node/rooms/0/cal_1".to_owned(),
        participants: vec![bob()],
        quality: HashMap::from([("p2".to_owned(), quality())]),
    };
    let token = CallToken {
        token: Secret::new("eyJ…".to_owned()),
        session_id: "standup".to_owned(),
        expires_at: NOON,
        ice_servers: ice_servers(),
    };
    let stats = CallStats { active_calls: vec![active], total_active_calls: 4, connected_users: 9 };
    let started = CallStarted { call_id: call_id(), mode: CallTopology::P2p, ring_timeout: 45 };
    insta::assert_json_snapshot!([
        shape("CallStarted", started),
        shape("CallToken", token),
        shape("CallStats", stats),
        shape("PastCall", past),
        shape("CallView", view),
    ]);
}
