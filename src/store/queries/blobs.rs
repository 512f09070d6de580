//! Bytes of files: once for the same content, and gone when nobody refers to them.
//!
//! A row is `coming` before its object is put into storage and `here` after, in the transaction
//! that first refers to it; it is `going` before the object is removed, and never comes back: the
//! same content has a new row then, and its object another name. So at any moment every reference
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

/// How long whoever claimed bytes has to put them into storage.
const BLOB_CLAIM_TTL: Duration = Duration::from_hours(1);

/// Where bytes are, or under which name they are to be put.
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
        let known = blobs::table
            .filter(blobs::hash.eq(&new.hash))
            .filter(blobs::state.ne("going"))
            .select((blobs::id, blobs::state));
        // What stood in the way may have been doomed before it could be held: then nothing does.
        if let Some(found) = held!(known).first(c).optional()? {
            break found;
        }
    };
    if state == "here" {
        return Ok(BlobClaimOutcome::Here(id));
    }
    diesel::update(blobs::table.find(Sql(id))).set(blobs::since.eq(Sql(now))).execute(c)?;
    Ok(BlobClaimOutcome::Coming(id))
}

/// Those of these bytes that are claimed or in storage, which they stay until the transaction ends.
pub(super) fn claimed(c: &mut Conn, ids: &[BlobId]) -> QueryResult<Vec<BlobId>> {
    let rows = blobs::table
        .filter(blobs::id.eq_any(ids.iter().copied().map(Sql)))
        .filter(blobs::state.ne("going"))
        .order(blobs::id)
        .select(blobs::id);
    held!(rows).load(c)
}

/// Bytes that are claimed are in storage, and about to be referred to.
pub(super) fn finish_claim(c: &mut Conn, ids: &[BlobId], now: Timestamp) -> QueryResult<()> {
    let coming = blobs::table
        .filter(blobs::id.eq_any(ids.iter().copied().map(Sql)))
        .filter(blobs::state.eq("coming"));
    diesel::update(coming).set((blobs::state.eq("here"), blobs::since.eq(Sql(now)))).execute(c)?;
    Ok(())
}

/// Gives claims up; whoever claimed the same bytes meanwhile claims them again.
pub(super) fn abandon(c: &mut Conn, ids: Vec<BlobId>, now: Timestamp) -> QueryResult<()> {
    let claimed = blobs::table
        .filter(blobs::id.eq_any(ids.into_iter().map(Sql)))
        .filter(blobs::state.eq("coming"));
    diesel::update(claimed)
        .set((blobs::state.eq("going"), blobs::since.eq(Sql(now))))
        .execute(c)?;
    Ok(())
}

/// Dooms those of these bytes to which no file refers any more.
pub(super) fn mark_for_deletion(
    c: &mut Conn,
    mut ids: Vec<BlobId>,
    now: Timestamp,
) -> QueryResult<()> {
    ids.sort_unstable();
    ids.dedup();
    let all = || ids.iter().copied().map(Sql);
    // Held first, so that what is asked next is asked after whoever refers to them just now.
    let rows = blobs::table.filter(blobs::id.eq_any(all())).order(blobs::id).select(blobs::id);
    held!(rows).load::<BlobId>(c)?;
    let referred = attachments::table.filter(
        attachments::blob_id
            .eq(blobs::id)
            .or(attachments::thumbnail_id.assume_not_null().eq(blobs::id)),
    );
    diesel::update(
        blobs::table
            .filter(blobs::id.eq_any(all()))
            .filter(blobs::state.eq("here"))
            .filter(diesel::dsl::not(exists(referred))),
    )
    .set((blobs::state.eq("going"), blobs::since.eq(Sql(now))))
    .execute(c)?;
    Ok(())
}

/// Gives up every claim that was made before then: whoever made it is no more.
pub(crate) fn abandon_claims(c: &mut Conn, before: Timestamp) -> QueryResult<usize> {
    let claimed =
        blobs::table.filter(blobs::state.eq("coming")).filter(blobs::since.le(Sql(before)));
    diesel::update(claimed).set(blobs::state.eq("going")).execute(c)
}

/// Some of the bytes that are to be removed from storage, those among them whose putter was never
/// heard of again.
pub(crate) fn doomed_blobs(c: &mut Conn, limit: i64, now: Timestamp) -> QueryResult<Vec<BlobRow>> {
    abandon_claims(c, now - BLOB_CLAIM_TTL)?;
    blobs::table
        .filter(blobs::state.eq("going"))
        .order(blobs::since)
        .limit(limit)
        .select(BlobRow::as_select())
        .load(c)
}

/// Forgets bytes that were removed from storage.
pub(crate) fn forget_blobs(c: &mut Conn, ids: Vec<BlobId>) -> QueryResult<usize> {
    let gone = blobs::table
        .filter(blobs::id.eq_any(ids.into_iter().map(Sql)))
        .filter(blobs::state.eq("going"));
    diesel::delete(gone).execute(c)
}
