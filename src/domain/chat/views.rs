//! Conversions between stored rows and wire types.

use std::collections::HashMap;

use base::ids::{MessageId, UserId};

use crate::domain::files;
use crate::protocol::{chat as wire, messages};

pub(super) const fn history_row(history: wire::HistoryVisibility) -> store::History {
    match history {
        wire::HistoryVisibility::All => store::History::All,
        wire::HistoryVisibility::SinceJoining => store::History::SinceJoining,
    }
}

pub(super) const fn circle_row(circle: wire::PermissionLevel) -> store::Circle {
    match circle {
        wire::PermissionLevel::Admins => store::Circle::Admins,
        wire::PermissionLevel::Members => store::Circle::Members,
    }
}

const fn history(history: store::History) -> wire::HistoryVisibility {
    match history {
        store::History::All => wire::HistoryVisibility::All,
        store::History::SinceJoining => wire::HistoryVisibility::SinceJoining,
    }
}

const fn circle(circle: store::Circle) -> wire::PermissionLevel {
    match circle {
        store::Circle::Admins => wire::PermissionLevel::Admins,
        store::Circle::Members => wire::PermissionLevel::Members,
    }
}

pub(super) const fn kind_row(kind: wire::ConversationKind) -> store::Kind {
    match kind {
        wire::ConversationKind::Direct => store::Kind::Direct,
        wire::ConversationKind::Group => store::Kind::Group,
    }
}

pub(super) const fn encryption_row(encryption: wire::Encryption) -> store::Encryption {
    match encryption {
        wire::Encryption::None => store::Encryption::None,
        wire::Encryption::Mls => store::Encryption::Mls,
    }
}

pub(super) const fn role_row(role: wire::GroupRole) -> store::MemberRole {
    match role {
        wire::GroupRole::Owner => store::MemberRole::Owner,
        wire::GroupRole::Admin => store::MemberRole::Admin,
        wire::GroupRole::Member => store::MemberRole::Member,
    }
}

const fn kind(kind: store::Kind) -> wire::ConversationKind {
    match kind {
        store::Kind::Direct => wire::ConversationKind::Direct,
        store::Kind::Group => wire::ConversationKind::Group,
    }
}

const fn encryption(encryption: store::Encryption) -> wire::Encryption {
    match encryption {
        store::Encryption::None => wire::Encryption::None,
        store::Encryption::Mls => wire::Encryption::Mls,
    }
}

const fn role(role: store::MemberRole) -> wire::GroupRole {
    match role {
        store::MemberRole::Owner => wire::GroupRole::Owner,
        store::MemberRole::Admin => wire::GroupRole::Admin,
        store::MemberRole::Member => wire::GroupRole::Member,
    }
}

pub(super) fn conversation(view: store::ConversationWithMembers) -> wire::ConversationDetail {
    let c = view.conversation;
    wire::ConversationDetail {
        id: c.id,
        kind: kind(c.kind),
        title: c.title,
        encryption: encryption(c.encryption),
        last_seq: c.last_seq,
        revision: c.revision,
        expires_in: c.expires_in,
        history: history(c.history),
        who_writes: circle(c.who_writes),
        who_adds: circle(c.who_adds),
        created_at: c.created_at,
        members: view.members.into_iter().map(member).collect(),
    }
}

fn member(row: store::MemberRow) -> wire::MemberView {
    wire::MemberView {
        user_id: row.user_id,
        name: row.name,
        role: role(row.role),
        delivered_seq: row.delivered_seq,
        read_seq: row.read_seq,
    }
}

pub(super) fn summary(row: store::ConversationSummaryRow) -> wire::ConversationSummary {
    let (peer_id, peer_name) = row.peer.unzip();
    let c = row.conversation;
    wire::ConversationSummary {
        id: c.id,
        kind: kind(c.kind),
        title: c.title.or(peer_name),
        encryption: encryption(c.encryption),
        last_seq: c.last_seq,
        role: role(row.role),
        revision: c.revision,
        joined_seq: row.joined_seq,
        visible_seq: row.visible_seq,
        delivered_seq: row.delivered_seq,
        read_seq: row.read_seq,
        unread: row.unread,
        unread_mentions: row.unread_mentions,
        muted_until: row.settings.muted_until,
        archived_at: row.settings.archived_at,
        expires_in: c.expires_in,
        peer_id,
    }
}

/// A message without attachments and reactions.
pub(in crate::domain) fn message(row: store::MessageRow) -> messages::MessageView {
    shown(store::MessageWithDetails {
        message: row,
        reactions: Vec::new(),
        attachments: Vec::new(),
    })
}

/// A message as a user sees it.
pub(super) fn shown(row: store::MessageWithDetails) -> messages::MessageView {
    let store::MessageWithDetails { message: row, reactions, attachments } = row;
    let own_name = row.system.is_none();
    messages::MessageView {
        id: row.id,
        conversation_id: row.conversation_id,
        seq: row.seq,
        sender_id: row.sender_id,
        client_id: if own_name { row.client_id } else { String::new() },
        body: row.body,
        reply_to: row.reply_to,
        attachments: attachments.into_iter().map(files::view).collect(),
        sent_at: row.sent_at,
        revision: row.revision,
        edited_at: row.edited_at,
        deleted_at: row.deleted_at,
        expires_at: row.expires_at,
        pinned_at: row.pinned_at,
        forwarded_from: row.forwarded_from,
        mentions: row
            .mentions
            .and_then(|list| serde_json::from_value(list).ok())
            .unwrap_or_default(),
        reactions: group_reactions(reactions),
        system: row.system.and_then(|what| serde_json::from_value(what).ok()).map(system),
    }
}

/// Groups reactions by emoji, in the order of the first reaction.
fn group_reactions(reactions: Vec<(UserId, String)>) -> Vec<messages::ReactionGroup> {
    let mut all: Vec<messages::ReactionGroup> = Vec::new();
    for (user, emoji) in reactions {
        match all.iter_mut().find(|group| group.emoji == emoji) {
            Some(group) => group.user_ids.push(user),
            None => all.push(messages::ReactionGroup { emoji, user_ids: vec![user] }),
        }
    }
    all
}

fn system(row: store::SystemEventRow) -> messages::SystemEvent {
    let what = match row.what {
        store::SystemEventKind::Joined => messages::SystemEventKind::Joined,
        store::SystemEventKind::Added => messages::SystemEventKind::Added,
        store::SystemEventKind::Left => messages::SystemEventKind::Left,
        store::SystemEventKind::Removed => messages::SystemEventKind::Removed,
        store::SystemEventKind::Renamed => messages::SystemEventKind::Renamed,
        store::SystemEventKind::Role => messages::SystemEventKind::Role,
        store::SystemEventKind::Settings => messages::SystemEventKind::Settings,
    };
    messages::SystemEvent { what, user_id: row.user_id, title: row.title, role: row.role.map(role) }
}

pub(super) fn invite(row: store::InviteRow) -> crate::protocol::invites::InviteView {
    crate::protocol::invites::InviteView {
        id: row.id,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        uses_left: row.uses_left,
        uses: row.uses,
    }
}

/// A message without reactions, with its attachments taken from `files`.
pub(super) fn message_with_attachments(
    row: store::MessageRow,
    files: &mut HashMap<MessageId, Vec<store::AttachmentRow>>,
) -> messages::MessageView {
    let attachments = files.remove(&row.id).unwrap_or_default();
    shown(store::MessageWithDetails { message: row, reactions: Vec::new(), attachments })
}
