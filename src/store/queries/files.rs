//! Files: whose they are, which messages carry them, and who may see them.

use std::collections::{HashMap, HashSet};

use base::clock::Timestamp;
use base::ids::{AttachmentId, BlobId, MessageId, UserId};
use diesel::dsl::{exists, not, sql};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::messages::is_visible;
use super::{Conn, blobs as bytes, uploads as running, user_admin};
use crate::rows::{
    AddAttachmentOutcome, AttachmentRow, BlobRow, NewAttachmentRow, NewMessageRow, Quota,
};
use crate::schema::{
    attachments, blobs, hidden_messages, members, message_attachments, messages, uploads,
};
use crate::types::Sql;

/// Keeps a file whose bytes are in storage; whoever is over the quota does not.
pub(crate) fn add_attachment(
    c: &mut Conn,
    new: NewAttachmentRow,
    quota: Quota,
    now: Timestamp,
) -> QueryResult<AddAttachmentOutcome> {
    if !user_admin::hold(c, new.owner)? {
        return Ok(AddAttachmentOutcome::Gone);
    }
    if let Some(upload) = new.upload {
        match running::upload(c, upload, new.owner)? {
            None => return Ok(AddAttachmentOutcome::Gone),
            Some(row) => {
                if let Some(id) = row.attachment_id {
                    let before =
                        attachments::table.find(Sql(id)).select(AttachmentRow::as_select());
                    let before = before.first(c).optional()?;
                    return Ok(
                        before.map_or(AddAttachmentOutcome::Gone, AddAttachmentOutcome::Before)
                    );
                }
                diesel::update(uploads::table.find(Sql(upload)))
                    .set(uploads::attachment_id.eq(Sql(new.id)))
                    .execute(c)?;
            }
        }
    }
    let all: Vec<BlobId> = [Some(new.blob), new.thumbnail].into_iter().flatten().collect();
    if kept(c, new.owner)?.saturating_add(new.size) > quota.bytes {
        if let Some(upload) = new.upload {
            running::remove_upload(c, upload, new.owner)?;
        }
        bytes::abandon(c, all, now)?;
        return Ok(AddAttachmentOutcome::OverQuota);
    }
    // All of them are asked for before any is settled: whoever shares the others still puts them.
    let claimed = bytes::claimed(c, &all)?;
    let lost: Vec<BlobId> = all.iter().copied().filter(|id| !claimed.contains(id)).collect();
    if !lost.is_empty() {
        if let Some(upload) = new.upload {
            diesel::update(uploads::table.find(Sql(upload)))
                .set(uploads::attachment_id.eq(None::<Sql<AttachmentId>>))
                .execute(c)?;
        }
        return Ok(AddAttachmentOutcome::BlobGone(lost));
    }
    bytes::finish_claim(c, &all, now)?;
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

/// How many bytes a person keeps, uploads under way included.
pub(crate) fn kept(c: &mut Conn, user: UserId) -> QueryResult<i64> {
    const SUM: &str = "CAST(COALESCE(SUM(size), 0) AS BIGINT)";
    let files: i64 = attachments::table
        .filter(attachments::owner_id.eq(Sql(user)))
        .select(sql::<BigInt>(SUM))
        .first(c)?;
    let coming: i64 = uploads::table
        .filter(uploads::owner_id.eq(Sql(user)))
        .filter(uploads::attachment_id.is_null())
        .select(sql::<BigInt>(SUM))
        .first(c)?;
    Ok(files.saturating_add(coming))
}

/// Whether a message carries the file that the person may read: as history does.
fn shown(c: &mut Conn, id: AttachmentId, viewer: UserId, now: Timestamp) -> QueryResult<bool> {
    let carried = message_attachments::table
        .inner_join(messages::table)
        .inner_join(members::table.on(members::conversation_id.eq(messages::conversation_id)))
        .filter(message_attachments::attachment_id.eq(Sql(id)))
        .filter(members::user_id.eq(Sql(viewer)))
        .filter(messages::seq.gt(members::visible_seq))
        .filter(
            messages::expires_at.is_null().or(messages::expires_at.gt(Sql(now)).assume_not_null()),
        )
        .filter(is_visible!(viewer));
    diesel::select(exists(carried)).get_result(c)
}

/// A file and its bytes, for whoever brought it or may read a message that carries it.
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
    Ok((found.0.owner_id == viewer || shown(c, id, viewer, now)?).then_some(found))
}

/// The small picture of a file, for the same people.
pub(crate) fn thumbnail(
    c: &mut Conn,
    id: AttachmentId,
    viewer: UserId,
    now: Timestamp,
) -> QueryResult<Option<BlobRow>> {
    let Some((file, _)) = attachment(c, id, viewer, now)? else { return Ok(None) };
    let Some(small) = file.thumbnail_id else { return Ok(None) };
    blobs::table.find(Sql(small)).select(BlobRow::as_select()).first(c).optional()
}

/// What these messages carry, in order.
pub(crate) fn attachments_of(
    c: &mut Conn,
    of: Vec<MessageId>,
) -> QueryResult<HashMap<MessageId, Vec<AttachmentRow>>> {
    let rows: Vec<(MessageId, AttachmentRow)> = message_attachments::table
        .inner_join(attachments::table)
        .filter(message_attachments::message_id.eq_any(of.into_iter().map(Sql)))
        .order((message_attachments::message_id, message_attachments::position))
        .select((message_attachments::message_id, AttachmentRow::as_select()))
        .load(c)?;
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for (message, attachment) in rows {
        found.entry(message).or_default().push(attachment);
    }
    Ok(found)
}

/// Holds files, and those that these messages carry, so that none goes before it is carried on. To
/// be asked once in a transaction: whoever holds some and then others waits in a circle.
pub(super) fn hold(c: &mut Conn, mut ids: Vec<AttachmentId>, of: &[MessageId]) -> QueryResult<()> {
    if !of.is_empty() {
        let theirs = message_attachments::message_id.eq_any(of.iter().copied().map(Sql));
        let carried = message_attachments::table.filter(theirs);
        ids.extend(carried.select(message_attachments::attachment_id).load::<AttachmentId>(c)?);
    }
    if !ids.is_empty() {
        let rows = attachments::table
            .filter(attachments::id.eq_any(ids.into_iter().map(Sql)))
            .order(attachments::id)
            .select(attachments::id);
        held!(rows).load::<AttachmentId>(c)?;
    }
    Ok(())
}

/// Which files these senders may send: their own, and those they may see.
pub(super) fn sendable(
    c: &mut Conn,
    new: &[NewMessageRow],
    now: Timestamp,
) -> QueryResult<HashSet<(UserId, AttachmentId)>> {
    let mut asked: Vec<(UserId, AttachmentId)> = Vec::new();
    for new in new {
        asked.extend(new.attachments.iter().map(|id| (new.sender, *id)));
    }
    if asked.is_empty() {
        return Ok(HashSet::new());
    }
    let owners: HashMap<AttachmentId, UserId> = attachments::table
        .filter(attachments::id.eq_any(asked.iter().map(|(_, id)| Sql(*id))))
        .select((attachments::id, attachments::owner_id))
        .load::<(AttachmentId, UserId)>(c)?
        .into_iter()
        .collect();
    let mut may = HashSet::new();
    for (sender, id) in asked {
        let Some(owner) = owners.get(&id) else { continue };
        if *owner == sender || shown(c, id, sender, now)? {
            may.insert((sender, id));
        }
    }
    Ok(may)
}

/// Has messages carry files.
pub(super) fn carry(c: &mut Conn, what: &[(MessageId, Vec<AttachmentId>)]) -> QueryResult<()> {
    for (message, files) in what {
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

/// Messages no longer carry their files; those that none carries any more are removed. To be
/// called before messages are deleted or emptied, in the same transaction.
pub(crate) fn release(c: &mut Conn, of: &[MessageId], now: Timestamp) -> QueryResult<()> {
    let theirs = message_attachments::message_id.eq_any(of.iter().copied().map(Sql));
    let carried: Vec<AttachmentId> = message_attachments::table
        .filter(theirs)
        .select(message_attachments::attachment_id)
        .load(c)?;
    if carried.is_empty() {
        return Ok(());
    }
    let theirs = message_attachments::message_id.eq_any(of.iter().copied().map(Sql));
    diesel::delete(message_attachments::table.filter(theirs)).execute(c)?;
    drop_loose(c, carried, now)
}

/// Removes those of these files that no message carries, and dooms their bytes.
fn drop_loose(c: &mut Conn, ids: Vec<AttachmentId>, now: Timestamp) -> QueryResult<()> {
    let all = || ids.iter().copied().map(Sql);
    // Held first, so that what is asked next is asked after whoever sends them on just now.
    hold(c, ids.clone(), &[])?;
    let carried =
        message_attachments::table.filter(message_attachments::attachment_id.eq(attachments::id));
    let loose: Vec<(AttachmentId, BlobId, Option<BlobId>)> = attachments::table
        .filter(attachments::id.eq_any(all()))
        .filter(not(exists(carried)))
        .select((attachments::id, attachments::blob_id, attachments::thumbnail_id))
        .load(c)?;
    let ids = loose.iter().map(|(id, ..)| Sql(*id));
    diesel::delete(attachments::table.filter(attachments::id.eq_any(ids))).execute(c)?;
    let theirs = loose.into_iter().flat_map(|(_, blob, small)| [Some(blob), small]);
    bytes::mark_for_deletion(c, theirs.flatten().collect(), now)
}

/// Removes some of the files that no message took in time; gives how many.
pub(crate) fn expire_attachments(c: &mut Conn, limit: i64, now: Timestamp) -> QueryResult<usize> {
    let over: Vec<AttachmentId> = attachments::table
        .filter(attachments::expires_at.le(Sql(now)))
        .limit(limit)
        .select(attachments::id)
        .load(c)?;
    let count = over.len();
    if count > 0 {
        drop_loose(c, over, now)?;
    }
    Ok(count)
}

/// Removes a person's files that no message carries, and their uploads.
pub(super) fn forget_files(c: &mut Conn, user: UserId, now: Timestamp) -> QueryResult<()> {
    diesel::delete(uploads::table.filter(uploads::owner_id.eq(Sql(user)))).execute(c)?;
    let theirs: Vec<AttachmentId> = attachments::table
        .filter(attachments::owner_id.eq(Sql(user)))
        .filter(attachments::expires_at.is_not_null())
        .select(attachments::id)
        .load(c)?;
    drop_loose(c, theirs, now)
}

/// A person's own files, by id.
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
