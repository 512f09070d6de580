//! Every message that crosses a wire, snapshotted: the manual of the wire.

use base::clock::Timestamp;
use base::ids::{
    ApiTokenId, AttachmentId, AuditId, ConversationId, DeviceId, MessageId, SessionId, UserId,
};
use base::secret::Secret;
use securevox::protocol::accounts::{
    DeviceSummary, DeviceView, Devices, Jwk, Jwks, OwnAccount, SignedIn,
};
use securevox::protocol::admin::{
    ActorFailure, ActorTreeView, ActorView, ApiTokenView, AuditEntryView, CreatedApiToken,
};
use securevox::protocol::chat::{
    ConversationDetail, ConversationKind, ConversationSummary, Encryption, GroupRole,
    HistoryVisibility, MemberView, PermissionLevel,
};
use securevox::protocol::client::ClientEvent;
use securevox::protocol::contacts::{ContactRequested, ContactState, ContactView};
use securevox::protocol::files::AttachmentView;
use securevox::protocol::health::{Health, HealthChecks, ProbeReply};
use securevox::protocol::messages::MessageView;
use securevox::protocol::presence::{PresenceEvent, PresenceState};
use securevox::protocol::problem::{FieldError, Problem};
use securevox::protocol::server::{
    Authenticated, EmptyReply, MemberLeft, ReceiptEvent, Reconnect, ServerEvent, SyncReply,
    TypingEvent,
};
use securevox::protocol::users::UserSummary;
use serde::Serialize;
use serde_json::{Value, json};

macro_rules! id {
    ($kind:ident, $n:literal) => {
        $kind::from_uuid(uuid::Uuid::from_u128($n))
    };
}
pub(crate) use id;

pub const NOON: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

pub fn message() -> MessageView {
    MessageView {
        id: id!(MessageId, 3),
        conversation_id: id!(ConversationId, 2),
        seq: 7,
        sender_id: id!(UserId, 1),
        client_id: "phone-42".to_owned(),
        body: "hello".to_owned(),
        reply_to: Some(id!(MessageId, 4)),
        attachments: vec![attachment()],
        sent_at: NOON,
        revision: 0,
        edited_at: None,
        deleted_at: None,
        expires_at: None,
        pinned_at: None,
        forwarded_from: None,
        mentions: Vec::new(),
        reactions: Vec::new(),
        system: None,
    }
}

pub fn attachment() -> AttachmentView {
    AttachmentView {
        id: id!(AttachmentId, 9),
        name: "photo.jpg".into(),
        size: 1234,
        content_type: "image/jpeg".into(),
        width: Some(800),
        height: Some(600),
        duration_ms: Some(1500),
        thumbnail: true,
    }
}

fn conversation() -> ConversationDetail {
    ConversationDetail {
        id: id!(ConversationId, 2),
        kind: ConversationKind::Group,
        title: Some("Newsroom".to_owned()),
        encryption: Encryption::None,
        last_seq: 7,
        revision: 9,
        expires_in: Some(3600),
        history: HistoryVisibility::SinceJoining,
        who_writes: PermissionLevel::Members,
        who_adds: PermissionLevel::Admins,
        created_at: NOON,
        members: vec![MemberView {
            user_id: id!(UserId, 1),
            name: "Alice".to_owned(),
            role: GroupRole::Owner,
            delivered_seq: 7,
            read_seq: 5,
        }],
    }
}

fn summary() -> ConversationSummary {
    ConversationSummary {
        id: id!(ConversationId, 2),
        kind: ConversationKind::Direct,
        title: Some("Bob".to_owned()),
        encryption: Encryption::Mls,
        last_seq: 7,
        role: GroupRole::Member,
        revision: 9,
        joined_seq: 0,
        visible_seq: 0,
        delivered_seq: 7,
        read_seq: 5,
        unread: 2,
        unread_mentions: 1,
        muted_until: Some(NOON),
        archived_at: Some(NOON),
        expires_in: None,
        peer_id: Some(id!(UserId, 9)),
    }
}

fn person() -> UserSummary {
    UserSummary { user_id: id!(UserId, 1), name: "Alice".to_owned() }
}

#[test]
fn server_events_match_snapshot() {
    let events = [
        ServerEvent::Authenticated(Authenticated {
            user_id: id!(UserId, 1),
            device_id: id!(DeviceId, 5),
            session_id: id!(SessionId, 6),
            server_time: NOON,
            resumed: false,
        }),
        ServerEvent::Message(message()),
        ServerEvent::Receipt(ReceiptEvent {
            conversation_id: id!(ConversationId, 2),
            user_id: id!(UserId, 1),
            delivered_seq: 7,
            read_seq: 5,
        }),
        ServerEvent::Typing(TypingEvent {
            conversation_id: id!(ConversationId, 2),
            user_id: id!(UserId, 1),
        }),
        ServerEvent::Conversation(conversation()),
        ServerEvent::ConversationLeft(MemberLeft {
            id: id!(ConversationId, 2),
            left: id!(UserId, 1),
        }),
        ServerEvent::ContactRequest(person()),
        ServerEvent::ContactAccepted(person()),
        ServerEvent::Reconnect(Reconnect { after_ms: 500 }),
    ];
    let frames: Vec<_> = events.iter().map(|e| json!({ "event": e.name(), "data": e })).collect();
    insta::assert_json_snapshot!(frames);
}

#[test]
fn client_events_match_snapshot() {
    let conversation = id!(ConversationId, 2).to_string();
    let frames = [
        ("authenticate", json!({ "token": "eyJ…" })),
        ("sync", json!({ "cursors": { (conversation.clone()): 7 } })),
        (
            "sync",
            json!({
                "cursors": { (conversation.clone()): 7 }, "changes": { (conversation.clone()): 9 },
            }),
        ),
        ("sync", json!({})),
        (
            "send_message",
            json!({ "conversation_id": conversation, "client_id": "phone-42", "body": "hello" }),
        ),
        ("ack", json!({ "conversation_id": conversation, "seq": 7 })),
        ("read", json!({ "conversation_id": conversation, "seq": 7 })),
        ("typing", json!({ "conversation_id": conversation })),
    ];
    let read = |(name, data): &(&str, Value)| {
        let event = ClientEvent::parse(name, &data.to_string()).unwrap();
        json!({ "event": name, "data": data, "understood_as": format!("{event:?}") })
    };
    insta::assert_json_snapshot!(frames.iter().map(read).collect::<Vec<_>>());
}

#[test]
fn unknown_field_is_rejected_in_every_event() {
    for name in ClientEvent::NAMES {
        let complaint = ClientEvent::parse(name, r#"{"colour":"red"}"#).unwrap_err().to_string();
        assert!(
            complaint.contains("colour") || complaint.contains("missing"),
            "{name}: {complaint}"
        );
    }
    assert!(ClientEvent::parse("dance", "{}").is_err());
}

pub fn shape<T: Serialize>(name: &str, value: T) -> Value {
    json!({ "shape": name, "json": value })
}

#[test]
fn http_responses_match_snapshot() {
    let failure = || ActorFailure {
        at: NOON,
        exit: "panic: boom".to_owned(),
        message: "securevox::actors::chat::Say".to_owned(),
    };
    let token = || ApiTokenView {
        id: id!(ApiTokenId, 8),
        name: "ci".to_owned(),
        scopes: vec!["builds:write".to_owned()],
        created_at: NOON,
        expires_at: None,
        last_used_at: Some(NOON),
        revoked_at: None,
    };
    let user = || OwnAccount {
        id: id!(UserId, 1),
        phone: "+4915112345678".to_owned(),
        name: "Alice".to_owned(),
        role: "user".to_owned(),
    };
    let shapes = vec![
        shape(
            "SignedIn",
            SignedIn {
                user: user(),
                device: DeviceSummary { id: id!(DeviceId, 5) },
                access_token: Secret::new("eyJ…".to_owned()),
                refresh_token: Secret::new("93eb…".to_owned()),
                token_type: "Bearer",
                expires_in: 600,
            },
        ),
        shape(
            "Devices",
            Devices {
                items: vec![DeviceView {
                    id: id!(DeviceId, 5),
                    name: "phone".to_owned(),
                    platform: "android".to_owned(),
                    created_at: NOON,
                    last_seen_at: NOON,
                    last_ip: Some("203.0.113.7".to_owned()),
                    user_agent: Some("SecureVOX/1.0 (Android)".to_owned()),
                    current: true,
                }],
                next: None,
            },
        ),
        shape(
            "Jwks",
            Jwks {
                keys: vec![Jwk {
                    kty: "OKP",
                    crv: "Ed25519",
                    alg: "EdDSA",
                    r#use: "sig",
                    kid: "key_1".to_owned(),
                    x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned(),
                }],
            },
        ),
        shape(
            "Contact",
            ContactView {
                user_id: id!(UserId, 9),
                name: "Bob".to_owned(),
                phone: Some("+4915187654321".to_owned()),
                state: ContactState::Accepted,
                since: NOON,
                presence: Some(PresenceEvent {
                    user_id: id!(UserId, 9),
                    state: PresenceState::Offline,
                    text: "on a train".to_owned(),
                    last_seen_at: Some(NOON),
                }),
            },
        ),
        shape(
            "ContactRequested",
            ContactRequested { user_id: id!(UserId, 9), state: ContactState::PendingOut },
        ),
        shape("Conversation", conversation()),
        shape("Summary", summary()),
        shape("Synced", SyncReply { conversations: vec![summary()] }),
        shape("Done", EmptyReply {}),
        shape(
            "Problem",
            Problem {
                r#type: "urn:securevox:http/invalid-body".to_owned(),
                title: "Unprocessable Entity".to_owned(),
                status: 422,
                detail: "the request does not have the shape it should".to_owned(),
                code: "http/invalid-body".to_owned(),
                request_id: Some("req_1".to_owned()),
                errors: vec![FieldError {
                    field: "phone".to_owned(),
                    detail: "missing".to_owned(),
                }],
            },
        ),
        shape(
            "Health",
            Health {
                status: "healthy",
                service: "SecureVOX",
                version: "0.1.0",
                active_calls: 0,
                connected_users: 2,
                checks: HealthChecks { database: "ok", cache: "ok", bus: "off", telegram: "off" },
            },
        ),
        shape("Probe", ProbeReply { status: "ok" }),
        shape(
            "Actors",
            ActorTreeView {
                node: "nod_1".to_owned(),
                items: vec![ActorView {
                    path: "/node/chat/0".to_owned(),
                    state: "running".to_owned(),
                    kind: "actor".to_owned(),
                    restart: "permanent".to_owned(),
                    uptime_ms: 1000,
                    restarts: 1,
                    mailbox: 0,
                    handled: 12,
                    longest_wait_us: 90,
                    stuck_ms: 0,
                    doing: String::new(),
                    last_failure: Some(failure()),
                    failures: vec![failure()],
                }],
            },
        ),
        shape(
            "TokenMade",
            CreatedApiToken { secret: Secret::new("svx_…".to_owned()), token: token() },
        ),
        shape(
            "Audit",
            AuditEntryView {
                id: id!(AuditId, 10),
                at: NOON,
                actor: Some(id!(UserId, 1)),
                action: "actor.restart".to_owned(),
                subject: "/node/chat/0".to_owned(),
                detail: json!({}),
                ip: Some("203.0.113.7".to_owned()),
            },
        ),
    ];
    insta::assert_json_snapshot!(shapes);
}
