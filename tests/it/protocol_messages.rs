//! What becomes of messages as it crosses the wire, snapshotted.

use base::ids::{ConversationId, InviteId, MessageId, UserId};
use base::secret::Secret;
use securevox::protocol::chat::{GroupRole, MemberSettings};
use securevox::protocol::invites::{CreatedInvite, InviteView};
use securevox::protocol::messages::{
    DeleteScope, MessageDeleted, MessageRevision, MessageView, Reaction, ReactionGroup,
    SystemEvent, SystemEventKind,
};
use securevox::protocol::presence::{PresenceEvent, PresenceState};
use securevox::protocol::server::ServerEvent;
use serde_json::json;

use crate::protocol::{NOON, id, message, shape};

/// One to which everything happened.
fn changed_message() -> MessageView {
    MessageView {
        revision: 9,
        edited_at: Some(NOON),
        deleted_at: Some(NOON),
        expires_at: Some(NOON),
        pinned_at: Some(NOON),
        forwarded_from: Some(id!(UserId, 5)),
        mentions: vec![id!(UserId, 6)],
        reactions: vec![ReactionGroup { emoji: "👍".to_owned(), user_ids: vec![id!(UserId, 6)] }],
        system: Some(SystemEvent {
            what: SystemEventKind::Role,
            user_id: Some(id!(UserId, 6)),
            title: Some("x".to_owned()),
            role: Some(GroupRole::Admin),
        }),
        ..message()
    }
}

#[test]
fn server_change_events_match_snapshot() {
    let events = [
        ServerEvent::MessageEdited(changed_message()),
        ServerEvent::MessageDeleted(MessageDeleted {
            conversation_id: id!(ConversationId, 2),
            message_id: id!(MessageId, 3),
            seq: 7,
            revision: 9,
            r#for: DeleteScope::All,
        }),
        ServerEvent::Reaction(Reaction {
            conversation_id: id!(ConversationId, 2),
            message_id: id!(MessageId, 3),
            seq: 7,
            revision: 9,
            user_id: id!(UserId, 1),
            emoji: "👍".to_owned(),
            added: true,
        }),
        ServerEvent::Presence(PresenceEvent {
            user_id: id!(UserId, 1),
            state: PresenceState::Away,
            text: String::new(),
            last_seen_at: None,
        }),
        ServerEvent::ConversationKept(MemberSettings {
            id: id!(ConversationId, 2),
            muted_until: Some(NOON),
            archived_at: None,
        }),
    ];
    let frames: Vec<_> = events.iter().map(|e| json!({ "event": e.name(), "data": e })).collect();
    insta::assert_json_snapshot!(frames);
}

#[test]
fn change_http_responses_match_snapshot() {
    let shapes = [
        shape("Edit", MessageRevision { body: "hallo".to_owned(), edited_at: NOON }),
        shape(
            "InviteMade",
            CreatedInvite {
                invite: InviteView {
                    id: id!(InviteId, 12),
                    created_by: id!(UserId, 1),
                    created_at: NOON,
                    expires_at: NOON,
                    uses_left: Some(3),
                    uses: 1,
                },
                token: Secret::new("5f2a…".to_owned()),
            },
        ),
        shape("Message", message()),
    ];
    insta::assert_json_snapshot!(shapes);
}
