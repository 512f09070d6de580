//! From what the store keeps to what crosses the wire, and back.

use std::collections::HashMap;

use base::ids::MessageId;

use crate::domain::files;
use crate::protocol::chat as wire;

pub(super) const fn kind_row(kind: wire::Kind) -> store::Kind {
    match kind {
        wire::Kind::Direct => store::Kind::Direct,
        wire::Kind::Group => store::Kind::Group,
    }
}

pub(super) const fn encryption_row(encryption: wire::Encryption) -> store::Encryption {
    match encryption {
        wire::Encryption::None => store::Encryption::None,
        wire::Encryption::Mls => store::Encryption::Mls,
    }
}

pub(super) const fn role_row(role: wire::MemberRole) -> store::MemberRole {
    match role {
        wire::MemberRole::Owner => store::MemberRole::Owner,
        wire::MemberRole::Admin => store::MemberRole::Admin,
        wire::MemberRole::Member => store::MemberRole::Member,
    }
}

const fn kind(kind: store::Kind) -> wire::Kind {
    match kind {
        store::Kind::Direct => wire::Kind::Direct,
        store::Kind::Group => wire::Kind::Group,
    }
}

const fn encryption(encryption: store::Encryption) -> wire::Encryption {
    match encryption {
        store::Encryption::None => wire::Encryption::None,
        store::Encryption::Mls => wire::Encryption::Mls,
    }
}

const fn role(role: store::MemberRole) -> wire::MemberRole {
    match role {
        store::MemberRole::Owner => wire::MemberRole::Owner,
        store::MemberRole::Admin => wire::MemberRole::Admin,
        store::MemberRole::Member => wire::MemberRole::Member,
    }
}

pub(super) fn conversation(view: store::ConversationView) -> wire::Conversation {
    let c = view.conversation;
    wire::Conversation {
        id: c.id,
        kind: kind(c.kind),
        title: c.title,
        encryption: encryption(c.encryption),
        last_seq: c.last_seq,
        created_at: c.created_at,
        members: view.members.into_iter().map(member).collect(),
    }
}

fn member(row: store::Member) -> wire::Member {
    wire::Member {
        user_id: row.user_id,
        name: row.name,
        role: role(row.role),
        delivered_seq: row.delivered_seq,
        read_seq: row.read_seq,
    }
}

pub(super) fn summary(row: store::Summary) -> wire::Summary {
    let (peer_id, peer_name) = row.peer.unzip();
    let c = row.conversation;
    wire::Summary {
        id: c.id,
        kind: kind(c.kind),
        title: c.title.or(peer_name),
        encryption: encryption(c.encryption),
        last_seq: c.last_seq,
        role: role(row.role),
        joined_seq: row.joined_seq,
        delivered_seq: row.delivered_seq,
        read_seq: row.read_seq,
        peer_id,
    }
}

fn message(row: store::Message) -> wire::Message {
    wire::Message {
        id: row.id,
        conversation_id: row.conversation_id,
        seq: row.seq,
        sender_id: row.sender_id,
        client_id: row.client_id,
        body: row.body,
        reply_to: row.reply_to,
        attachments: Vec::new(),
        sent_at: row.sent_at,
    }
}

/// With the files that it carries.
pub(super) fn carrying(
    row: store::Message,
    files: &mut HashMap<MessageId, Vec<store::Attachment>>,
) -> wire::Message {
    let carried = files.remove(&row.id).unwrap_or_default();
    let attachments = carried.into_iter().map(files::view).collect();
    wire::Message { attachments, ..message(row) }
}
