//! Attachments: who owns them, which messages carry them, and who may see them.

use std::collections::{HashMap, HashSet};

use base::clock::Timestamp;
use base::ids::{AttachmentId, BlobId, MessageId, UserId};
use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::visible::is_visible;
use super::{
    Conn, blobs as blob_queries, quota as quota_queries, uploads as upload_queries, user_admin,
};
use crate::rows::{
    AddAttachmentOutcome, AttachmentRow, BlobRow, NewAttachmentRow, NewMessageRow, Quota,
};
use crate::schema::{
    attachments, blobs, hidden_messages, members, message_attachments, messages, uploads,
};
use crate::types::Sql;

/// Adds an attachment whose content is in storage, unless its owner is over quota.
pub(crate) fn add_attachment(
    c: &mut Conn,
    new: NewAttachmentRow,
    quota: Quota,
    now: Timestamp,
) -> QueryResult<AddAttachmentOutcome> {
    if !user_admin::lock_user(c, new.owner)? {
        return Ok(AddAttachmentOutcome::NotFound);
    }
    if let Some(upload) = new.upload {
        match upload_queries::upload(c, upload, new.owner)? {
            None => return Ok(AddAttachmentOutcome::NotFound),
            Some(row) => {
                if let Some(id) = row.attachment_id {
                    let existing =
                        attachments::table.find(Sql(id)).select(AttachmentRow::as_select());
                    let existing = existing.first(c).optional()?;
                    return Ok(existing.map_or(
                        AddAttachmentOutcome::NotFound,
                        AddAttachmentOutcome::AlreadyAdded,
                    ));
                }
                diesel::update(uploads::table.find(Sql(upload)))
                    .set(uploads::attachment_id.eq(Sql(new.id)))
                    .execute(c)?;
            }
        }
    }
    let all: Vec<BlobId> = [Some(new.blob), new.thumbnail].into_iter().flatten().collect();
    if quota_queries::used_bytes(c, new.owner)?.saturating_add(new.size) > quota.bytes {
        if let Some(upload) = new.upload {
            upload_queries::remove_upload(c, upload, new.owner)?;
        }
        blob_queries::abandon(c, all, now)?;
        return Ok(AddAttachmentOutcome::OverQuota);
    }
    // All claims are checked before any is finished: for a blob that another upload shares, that
    // upload still completes it.
    let claimed = blob_queries::claimed(c, &all)?;
    let lost: Vec<BlobId> = all.iter().copied().filter(|id| !claimed.contains(id)).collect();
    if !lost.is_empty() {
        if let Some(upload) = new.upload {
            diesel::update(uploads::table.find(Sql(upload)))
                .set(uploads::attachment_id.eq(None::<Sql<AttachmentId>>))
                .execute(c)?;
        }
        return Ok(AddAttachmentOutcome::ClaimsLost(lost));
    }
    blob_queries::finish_claim(c, &all, now)?;
    let (width, height) = new.pixels.unzip();
    diesel::insert_into(attachments::table)
        .values((
            attachments::id.eq(Sql(new.id)),
            attachments::owner_id.eq(Sql(new.owner)),
            attachments::blob_id.eq(Sql(new.blob)),
            attachments::thumbnail_id.eq(new.thumbnail.map(Sql)),
            attachments::name.eq(&new.name),
            attachments::content_type.eq(&new.content_type),
            attachments::size.eq(new.size),
            attachments::width.eq(width),
            attachments::height.eq(height),
            attachments::duration_ms.eq(new.duration_ms),
            attachments::created_at.eq(Sql(now)),
            attachments::expires_at.eq(Sql(new.expires_at)),
        ))
        .returning(AttachmentRow::as_returning())
        .get_result(c)
        .map(AddAttachmentOutcome::Added)
}

/// Whether some message that the user may read carries the attachment, by the same rules as the
/// message history.
fn is_visible_to(
    c: &mut Conn,
    id: AttachmentId,
    viewer: UserId,
    now: Timestamp,
) -> QueryResult<bool> {
    let carriers = message_attachments::table
        .inner_join(messages::table)
        .inner_join(members::table.on(members::conversation_id.eq(messages::conversation_id)))
        .filter(message_attachments::attachment_id.eq(Sql(id)))
        .filter(members::user_id.eq(Sql(viewer)))
        .filter(messages::seq.gt(members::visible_seq))
        .filter(
            messages::expires_at.is_null().or(messages::expires_at.gt(Sql(now)).assume_not_null()),
        )
        .filter(is_visible!(viewer));
    diesel::select(exists(carriers)).get_result(c)
}

/// An attachment and its blob, for its owner or anyone who may read a message that carries it.
pub(crate) fn attachment(
    c: &mut Conn,
    id: AttachmentId,
    viewer: UserId,
    now: Timestamp,
) -> QueryResult<Option<(AttachmentRow, BlobRow)>> {
    let found: Option<(AttachmentRow, BlobRow)> = attachments::table
        .inner_join(blobs::table)
        .filter(attachments::id.eq(Sql(id)))
        .select((AttachmentRow::as_select(), BlobRow::as_select()))
        .first(c)
        .optional()?;
    let Some(found) = found else { return Ok(None) };
    Ok((found.0.owner_id == viewer || is_visible_to(c, id, viewer, now)?).then_some(found))
}

/// The thumbnail of an attachment, with the same access rule.
pub(crate) fn thumbnail(
    c: &mut Conn,
    id: AttachmentId,
    viewer: UserId,
    now: Timestamp,
) -> QueryResult<Option<BlobRow>> {
    let Some((file, _)) = attachment(c, id, viewer, now)? else { return Ok(None) };
    let Some(thumbnail_id) = file.thumbnail_id else { return Ok(None) };
    blobs::table.find(Sql(thumbnail_id)).select(BlobRow::as_select()).first(c).optional()
}

/// The attachments of these messages, in their order.
pub(crate) fn attachments_of(
    c: &mut Conn,
    message_ids: Vec<MessageId>,
) -> QueryResult<HashMap<MessageId, Vec<AttachmentRow>>> {
    let rows: Vec<(MessageId, AttachmentRow)> = message_attachments::table
        .inner_join(attachments::table)
        .filter(message_attachments::message_id.eq_any(message_ids.into_iter().map(Sql)))
        .order((message_attachments::message_id, message_attachments::position))
        .select((message_attachments::message_id, AttachmentRow::as_select()))
        .load(c)?;
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for (message, attachment) in rows {
        found.entry(message).or_default().push(attachment);
    }
    Ok(found)
}

/// Locks attachments, and those of these messages, so that none is deleted before it is attached
/// again. Call it once in a transaction: locking some and then others can deadlock.
pub(super) fn lock_attachments(
    c: &mut Conn,
    mut ids: Vec<AttachmentId>,
    message_ids: &[MessageId],
) -> QueryResult<()> {
    if !message_ids.is_empty() {
        let of_messages =
            message_attachments::message_id.eq_any(message_ids.iter().copied().map(Sql));
        let carried = message_attachments::table.filter(of_messages);
        ids.extend(carried.select(message_attachments::attachment_id).load::<AttachmentId>(c)?);
    }
    if !ids.is_empty() {
        let rows = attachments::table
            .filter(attachments::id.eq_any(ids.into_iter().map(Sql)))
            .order(attachments::id)
            .select(attachments::id);
        for_update!(rows).load::<AttachmentId>(c)?;
    }
    Ok(())
}

/// Which attachments these senders may send: their own, and those they may see.
pub(super) fn sendable(
    c: &mut Conn,
    new: &[NewMessageRow],
    now: Timestamp,
) -> QueryResult<HashSet<(UserId, AttachmentId)>> {
    let mut wanted: Vec<(UserId, AttachmentId)> = Vec::new();
    for new in new {
        wanted.extend(new.attachments.iter().map(|id| (new.sender, *id)));
    }
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let owners: HashMap<AttachmentId, UserId> = attachments::table
        .filter(attachments::id.eq_any(wanted.iter().map(|(_, id)| Sql(*id))))
        .select((attachments::id, attachments::owner_id))
        .load::<(AttachmentId, UserId)>(c)?
        .into_iter()
        .collect();
    let mut sendable = HashSet::new();
    for (sender, id) in wanted {
        let Some(owner) = owners.get(&id) else { continue };
        if *owner == sender || is_visible_to(c, id, sender, now)? {
            sendable.insert((sender, id));
        }
    }
    Ok(sendable)
}

/// Attaches files to messages.
pub(super) fn attach(c: &mut Conn, new: &[(MessageId, Vec<AttachmentId>)]) -> QueryResult<()> {
    for (message, files) in new {
        let rows: Vec<_> = (0i64..)
            .zip(files)
            .map(|(position, file)| {
                (
                    message_attachments::message_id.eq(Sql(*message)),
                    message_attachments::position.eq(position),
                    message_attachments::attachment_id.eq(Sql(*file)),
                )
            })
            .collect();
        diesel::insert_into(message_attachments::table).values(rows).execute(c)?;
        let files = files.iter().copied().map(Sql);
        diesel::update(attachments::table.filter(attachments::id.eq_any(files)))
            .set(attachments::expires_at.eq(None::<Sql<Timestamp>>))
            .execute(c)?;
    }
    Ok(())
}

/// Detaches the files of messages; files that no message carries any more are removed. Call it
/// before messages are deleted or erased, in the same transaction.
pub(crate) fn detach(c: &mut Conn, message_ids: &[MessageId], now: Timestamp) -> QueryResult<()> {
    let of_messages = message_attachments::message_id.eq_any(message_ids.iter().copied().map(Sql));
    let carried: Vec<AttachmentId> = message_attachments::table
        .filter(of_messages)
        .select(message_attachments::attachment_id)
        .load(c)?;
    if carried.is_empty() {
        return Ok(());
    }
    let of_messages = message_attachments::message_id.eq_any(message_ids.iter().copied().map(Sql));
    diesel::delete(message_attachments::table.filter(of_messages)).execute(c)?;
    delete_unreferenced(c, carried, now)
}

/// Deletes those of these attachments that no message carries, and marks their blobs for deletion.
fn delete_unreferenced(c: &mut Conn, ids: Vec<AttachmentId>, now: Timestamp) -> QueryResult<()> {
    let all = || ids.iter().copied().map(Sql);
    // Locked first, so that the next query sees messages that are attaching them just now.
    lock_attachments(c, ids.clone(), &[])?;
    let carriers =
        message_attachments::table.filter(message_attachments::attachment_id.eq(attachments::id));
    let unreferenced: Vec<(AttachmentId, BlobId, Option<BlobId>)> = attachments::table
        .filter(attachments::id.eq_any(all()))
        .filter(not(exists(carriers)))
        .select((attachments::id, attachments::blob_id, attachments::thumbnail_id))
        .load(c)?;
    let ids = unreferenced.iter().map(|(id, ..)| Sql(*id));
    diesel::delete(attachments::table.filter(attachments::id.eq_any(ids))).execute(c)?;
    let blobs = unreferenced.into_iter().flat_map(|(_, blob, thumbnail)| [Some(blob), thumbnail]);
    blob_queries::mark_for_deletion(c, blobs.flatten().collect(), now)
}

/// Removes up to `limit` attachments that no message used in time; returns how many.
pub(crate) fn expire_attachments(c: &mut Conn, limit: i64, now: Timestamp) -> QueryResult<usize> {
    let expired: Vec<AttachmentId> = attachments::table
        .filter(attachments::expires_at.le(Sql(now)))
        .limit(limit)
        .select(attachments::id)
        .load(c)?;
    let count = expired.len();
    if count > 0 {
        delete_unreferenced(c, expired, now)?;
    }
    Ok(count)
}

/// Deletes a user's attachments that no message carries, and their uploads.
pub(super) fn delete_user_files(c: &mut Conn, user: UserId, now: Timestamp) -> QueryResult<()> {
    diesel::delete(uploads::table.filter(uploads::owner_id.eq(Sql(user)))).execute(c)?;
    let unused: Vec<AttachmentId> = attachments::table
        .filter(attachments::owner_id.eq(Sql(user)))
        .filter(attachments::expires_at.is_not_null())
        .select(attachments::id)
        .load(c)?;
    delete_unreferenced(c, unused, now)
}

/// The attachments that a user owns, by id.
pub(crate) fn attachments_by(
    c: &mut Conn,
    user: UserId,
    after: Option<AttachmentId>,
    limit: i64,
) -> QueryResult<Vec<(AttachmentRow, BlobRow)>> {
    let mut page = attachments::table
        .inner_join(blobs::table)
        .filter(attachments::owner_id.eq(Sql(user)))
        .order(attachments::id)
        .limit(limit)
        .select((AttachmentRow::as_select(), BlobRow::as_select()))
        .into_boxed();
    if let Some(after) = after {
        page = page.filter(attachments::id.gt(Sql(after)));
    }
    page.load(c)
}
