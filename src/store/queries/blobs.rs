//! Blobs: stored once per content, deleted when nothing refers to them.
//!
//! A row is `coming` before its object is put into storage and `here` after, in the transaction
//! that first refers to it; it is `going` before the object is removed, and never comes back: the
//! same content then gets a new row, and its object another name. So at any moment every reference
//! has its object and every object its row.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::BlobId;
use diesel::dsl::exists;
use diesel::prelude::*;

use super::Conn;
use crate::rows::{BlobClaimOutcome, BlobRow};
use crate::schema::{attachments, blobs};
use crate::types::Sql;

/// How long the maker of a claim has to put the content into storage.
const BLOB_CLAIM_TTL: Duration = Duration::from_hours(1);

/// The stored blob with this hash, or the id under which its content is to be stored.
pub(crate) fn claim_blob(
    c: &mut Conn,
    new: BlobRow,
    now: Timestamp,
) -> QueryResult<BlobClaimOutcome> {
    let (id, state): (BlobId, String) = loop {
        diesel::insert_into(blobs::table)
            .values((
                blobs::id.eq(Sql(new.id)),
                blobs::hash.eq(&new.hash),
                blobs::size.eq(new.size),
                blobs::state.eq("coming"),
                blobs::since.eq(Sql(now)),
            ))
            .on_conflict_do_nothing()
            .execute(c)?;
        let existing = blobs::table
            .filter(blobs::hash.eq(&new.hash))
            .filter(blobs::state.ne("going"))
            .select((blobs::id, blobs::state));
        // The conflicting row may have been marked `going` before it could be locked: then nothing
        // conflicts any more, and the insert is retried.
        if let Some(found) = for_update!(existing).first(c).optional()? {
            break found;
        }
    };
    if state == "here" {
        return Ok(BlobClaimOutcome::Stored(id));
    }
    diesel::update(blobs::table.find(Sql(id))).set(blobs::since.eq(Sql(now))).execute(c)?;
    Ok(BlobClaimOutcome::UploadNeeded(id))
}

/// Those of these blobs that are claimed or stored; locked, so they stay so until the transaction
/// ends.
pub(super) fn claimed(c: &mut Conn, ids: &[BlobId]) -> QueryResult<Vec<BlobId>> {
    let rows = blobs::table
        .filter(blobs::id.eq_any(ids.iter().copied().map(Sql)))
        .filter(blobs::state.ne("going"))
        .order(blobs::id)
        .select(blobs::id);
    for_update!(rows).load(c)
}

/// Marks claimed blobs as stored; a reference to them is about to be written.
pub(super) fn finish_claim(c: &mut Conn, ids: &[BlobId], now: Timestamp) -> QueryResult<()> {
    let coming = blobs::table
        .filter(blobs::id.eq_any(ids.iter().copied().map(Sql)))
        .filter(blobs::state.eq("coming"));
    diesel::update(coming).set((blobs::state.eq("here"), blobs::since.eq(Sql(now)))).execute(c)?;
    Ok(())
}

/// Abandons claims; whoever claimed the same content meanwhile claims it again.
pub(super) fn abandon(c: &mut Conn, ids: Vec<BlobId>, now: Timestamp) -> QueryResult<()> {
    let claims = blobs::table
        .filter(blobs::id.eq_any(ids.into_iter().map(Sql)))
        .filter(blobs::state.eq("coming"));
    diesel::update(claims).set((blobs::state.eq("going"), blobs::since.eq(Sql(now)))).execute(c)?;
    Ok(())
}

/// Marks those of these blobs for deletion to which no attachment refers any more.
pub(super) fn mark_for_deletion(
    c: &mut Conn,
    mut ids: Vec<BlobId>,
    now: Timestamp,
) -> QueryResult<()> {
    ids.sort_unstable();
    ids.dedup();
    let all = || ids.iter().copied().map(Sql);
    // Locked first, so that the next query sees references that were being written just now.
    let rows = blobs::table.filter(blobs::id.eq_any(all())).order(blobs::id).select(blobs::id);
    for_update!(rows).load::<BlobId>(c)?;
    let references = attachments::table.filter(
        attachments::blob_id
            .eq(blobs::id)
            .or(attachments::thumbnail_id.assume_not_null().eq(blobs::id)),
    );
    diesel::update(
        blobs::table
            .filter(blobs::id.eq_any(all()))
            .filter(blobs::state.eq("here"))
            .filter(diesel::dsl::not(exists(references))),
    )
    .set((blobs::state.eq("going"), blobs::since.eq(Sql(now))))
    .execute(c)?;
    Ok(())
}

/// Abandons every claim made before that instant, as its maker is gone.
pub(crate) fn abandon_claims(c: &mut Conn, before: Timestamp) -> QueryResult<usize> {
    let claims =
        blobs::table.filter(blobs::state.eq("coming")).filter(blobs::since.le(Sql(before)));
    diesel::update(claims).set(blobs::state.eq("going")).execute(c)
}

/// Some of the blobs whose content is to be removed from storage, including expired claims.
pub(crate) fn blobs_to_delete(
    c: &mut Conn,
    limit: i64,
    now: Timestamp,
) -> QueryResult<Vec<BlobRow>> {
    abandon_claims(c, now - BLOB_CLAIM_TTL)?;
    blobs::table
        .filter(blobs::state.eq("going"))
        .order(blobs::since)
        .limit(limit)
        .select(BlobRow::as_select())
        .load(c)
}

/// Deletes the rows of blobs whose content was removed from storage.
pub(crate) fn delete_blobs(c: &mut Conn, ids: Vec<BlobId>) -> QueryResult<usize> {
    let deleted = blobs::table
        .filter(blobs::id.eq_any(ids.into_iter().map(Sql)))
        .filter(blobs::state.eq("going"));
    diesel::delete(deleted).execute(c)
}
