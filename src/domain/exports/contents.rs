//! Contents of an export: all data of a user as JSON, read page by page.

use std::io;

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use serde_json::{Value, json};
use store::{AuditFilter, MessageRange, Store};

use crate::domain::export_store::ArchiveWriter;
use crate::domain::jobs::JobError;

const PAGE_SIZE: usize = 200;

/// Writes everything except attachments. Long lists are JSON lines (one object per line).
pub(super) async fn write(
    store: &Store,
    user: UserId,
    now: Timestamp,
    archive: &mut ArchiveWriter,
) -> Result<(), JobError> {
    account(store, user, archive).await?;
    contacts(store, user, archive).await?;
    let conversations = conversations(store, user, now, archive).await?;
    for id in conversations {
        messages(store, (user, now), id, archive).await?;
    }
    calls(store, user, archive).await?;
    audit(store, user, archive).await
}

async fn account(store: &Store, user: UserId, archive: &mut ArchiveWriter) -> Result<(), JobError> {
    // The account was deleted after the job started; the next attempt finds no export job.
    let account_deleted = || JobError::transient("the account was deleted meanwhile");
    let person = store.admin_user(user).await?.ok_or_else(account_deleted)?;
    let devices: Vec<_> = store
        .devices(user)
        .await?
        .into_iter()
        .map(|device| {
            json!({
                "id": device.id, "name": device.name, "platform": device.platform,
                "created_at": device.created_at, "last_seen_at": device.last_seen_at,
                "last_ip": device.last_ip, "user_agent": device.user_agent,
            })
        })
        .collect();
    let status = store.statuses(vec![user]).await?.pop().map(|status| {
        json!({
            "state": status.state, "text": status.text, "last_seen_at": status.last_seen_at,
        })
    });
    archive.file("account.json").await?;
    let account = json!({
        "id": person.id, "phone": person.phone, "name": person.name, "role": person.role,
        "created_at": person.created_at, "second_factor_since": person.second_factor_since,
        "status": status, "devices": devices,
    });
    archive.write(to_pretty_json(&account)?).await?;
    Ok(())
}

async fn contacts(
    store: &Store,
    user: UserId,
    archive: &mut ArchiveWriter,
) -> Result<(), JobError> {
    archive.file("contacts.jsonl").await?;
    let mut after = None;
    loop {
        let page = store.contacts(user, after, PAGE_SIZE).await?;
        let rows = page.iter().map(|contact| {
            json!({
                "user_id": contact.user_id, "name": contact.name, "phone": contact.phone,
                "state": contact.state, "since": contact.since,
            })
        });
        archive.write(to_json_lines(rows)?).await?;
        match page.last() {
            Some(last) if page.len() == PAGE_SIZE => after = Some(last.user_id),
            _ => break,
        }
    }
    archive.file("blocked.jsonl").await?;
    let blocked = store.blocked_users(user).await?;
    let rows = blocked.iter().map(
        |blocked| json!({ "user_id": blocked.user_id, "name": blocked.name, "since": blocked.since }),
    );
    archive.write(to_json_lines(rows)?).await?;
    Ok(())
}

async fn conversations(
    store: &Store,
    user: UserId,
    now: Timestamp,
    archive: &mut ArchiveWriter,
) -> Result<Vec<ConversationId>, JobError> {
    archive.file("conversations.jsonl").await?;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.user_conversations(user, after, PAGE_SIZE, now).await?;
        let rows = page.iter().map(|row| {
            json!({
                "id": row.conversation.id, "kind": row.conversation.kind,
                "title": row.conversation.title, "encryption": row.conversation.encryption,
                "created_at": row.conversation.created_at, "role": row.role,
                "delivered_seq": row.delivered_seq, "read_seq": row.read_seq,
                "muted_until": row.settings.muted_until, "archived_at": row.settings.archived_at,
                "with": row.peer.as_ref().map(|(id, name)| json!({ "user_id": id, "name": name })),
            })
        });
        archive.write(to_json_lines(rows)?).await?;
        all.extend(page.iter().map(|row| row.conversation.id));
        match page.last() {
            Some(last) if page.len() == PAGE_SIZE => after = Some(last.conversation.id),
            _ => return Ok(all),
        }
    }
}

/// Messages of a conversation that the user can see.
async fn messages(
    store: &Store,
    (user, now): (UserId, Timestamp),
    id: ConversationId,
    archive: &mut ArchiveWriter,
) -> Result<(), JobError> {
    archive.file(format!("messages/{id}.jsonl")).await?;
    let mut after = 0;
    loop {
        let page = store.messages(id, user, MessageRange::After(after), PAGE_SIZE, now).await?;
        let page = page.unwrap_or_default(); // the user left meanwhile
        let mut rows = Vec::with_capacity(page.len());
        for row in &page {
            let message = &row.message;
            let mut edits = Vec::new();
            if message.edited_at.is_some() {
                let found = store.message_edits(id, user, message.id, now).await?;
                let found = found.unwrap_or_default().into_iter();
                edits.extend(found.map(|e| json!({ "body": e.body, "until": e.edited_at })));
            }
            rows.push(json!({
                "id": message.id, "seq": message.seq, "sender_id": message.sender_id,
                "body": message.body, "reply_to": message.reply_to, "sent_at": message.sent_at,
                "edited_at": message.edited_at, "deleted_at": message.deleted_at,
                "expires_at": message.expires_at, "pinned_at": message.pinned_at,
                "forwarded_from": message.forwarded_from, "mentions": message.mentions,
                "attachments": (!row.attachments.is_empty()).then(|| attachment_list(&row.attachments)),
                "system": message.system, "reactions": row.reactions, "edits": edits,
            }));
        }
        archive.write(to_json_lines(rows.into_iter())?).await?;
        match page.last() {
            Some(last) if page.len() == PAGE_SIZE => after = last.message.seq,
            _ => return Ok(()),
        }
    }
}

async fn calls(store: &Store, user: UserId, archive: &mut ArchiveWriter) -> Result<(), JobError> {
    archive.file("calls.jsonl").await?;
    let mut before = None;
    loop {
        let page = store.call_history(user, before, PAGE_SIZE).await?;
        let rows = page.iter().map(|record| {
            let people = record.participants.iter().map(|(person, name)| {
                json!({
                    "user_id": person.user_id, "name": name, "outcome": person.outcome,
                    "joined_at": person.joined_at, "left_at": person.left_at,
                })
            });
            json!({
                "id": record.call.id, "conversation_id": record.call.conversation_id,
                "caller": record.caller_name, "media": record.call.media,
                "started_at": record.call.started_at, "answered_at": record.call.answered_at,
                "ended_at": record.call.ended_at, "reason": record.call.reason,
                "people": people.collect::<Vec<_>>(),
            })
        });
        archive.write(to_json_lines(rows)?).await?;
        match page.last() {
            Some(last) if page.len() == PAGE_SIZE => before = Some(last.call.id),
            _ => return Ok(()),
        }
    }
}

async fn audit(store: &Store, user: UserId, archive: &mut ArchiveWriter) -> Result<(), JobError> {
    archive.file("audit.jsonl").await?;
    let mut before = None;
    loop {
        let filter = AuditFilter { about: Some(user), ..AuditFilter::default() };
        let page = store.audit_page(filter, before, PAGE_SIZE).await?;
        let rows = page.iter().map(|entry| {
            let ip = entry.ip.as_ref().filter(|_| entry.actor == Some(user));
            json!({
                "at": entry.at, "action": entry.action, "subject": entry.subject,
                "detail": entry.detail, "ip": ip,
            })
        });
        archive.write(to_json_lines(rows)?).await?;
        match page.last() {
            Some(last) if page.len() == PAGE_SIZE => before = Some(last.id),
            _ => return Ok(()),
        }
    }
}

/// Attachments of a message.
fn attachment_list(files: &[store::AttachmentRow]) -> Vec<Value> {
    let entry = |file: &store::AttachmentRow| json!({ "id": file.id, "name": file.name, "content_type": file.content_type, "size": file.size });
    files.iter().map(entry).collect()
}

fn to_pretty_json(value: &Value) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec_pretty(value)?)
}

pub(super) fn to_json_lines(values: impl Iterator<Item = Value>) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for value in values {
        serde_json::to_writer(&mut text, &value)?;
        text.push(b'\n');
    }
    Ok(text)
}
