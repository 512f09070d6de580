//! Uploads in progress: their metadata; the number of received bytes is on disk.

use base::clock::Timestamp;
use base::ids::{UploadId, UserId};
use diesel::prelude::*;

use super::{Conn, quota as quota_queries, user_admin};
use crate::rows::{AddUploadOutcome, NewUploadRow, Quota, UploadRow};
use crate::schema::uploads;
use crate::types::Sql;

/// Starts an upload; its size counts towards the quota from now on.
pub(crate) fn add_upload(
    c: &mut Conn,
    new: NewUploadRow,
    quota: Quota,
    now: Timestamp,
) -> QueryResult<AddUploadOutcome> {
    if !user_admin::lock_user(c, new.owner)? {
        return Ok(AddUploadOutcome::UserNotFound);
    }
    let in_progress: i64 = uploads::table
        .filter(uploads::owner_id.eq(Sql(new.owner)))
        .filter(uploads::attachment_id.is_null())
        .count()
        .get_result(c)?;
    if in_progress >= quota.uploads {
        return Ok(AddUploadOutcome::LimitReached);
    }
    if quota_queries::used_bytes(c, new.owner)?.saturating_add(new.size) > quota.bytes {
        return Ok(AddUploadOutcome::OverQuota);
    }
    diesel::insert_into(uploads::table)
        .values((
            uploads::id.eq(Sql(new.id)),
            uploads::owner_id.eq(Sql(new.owner)),
            uploads::purpose.eq(&new.purpose),
            uploads::name.eq(&new.name),
            uploads::size.eq(new.size),
            uploads::created_at.eq(Sql(now)),
            uploads::expires_at.eq(Sql(new.expires_at)),
        ))
        .execute(c)?;
    Ok(AddUploadOutcome::Added)
}

/// An upload, for its owner.
pub(crate) fn upload(c: &mut Conn, id: UploadId, owner: UserId) -> QueryResult<Option<UploadRow>> {
    uploads::table
        .find(Sql(id))
        .filter(uploads::owner_id.eq(Sql(owner)))
        .select(UploadRow::as_select())
        .first(c)
        .optional()
}

/// Deletes an upload; false if there is none.
pub(crate) fn remove_upload(c: &mut Conn, id: UploadId, owner: UserId) -> QueryResult<bool> {
    let own = uploads::table.find(Sql(id)).filter(uploads::owner_id.eq(Sql(owner)));
    Ok(diesel::delete(own).execute(c)? == 1)
}

/// Deletes expired uploads; returns how many.
pub(crate) fn expire_uploads(c: &mut Conn, now: Timestamp) -> QueryResult<usize> {
    diesel::delete(uploads::table.filter(uploads::expires_at.le(Sql(now)))).execute(c)
}

/// Which of these uploads are in progress.
pub(crate) fn active_uploads(c: &mut Conn, ids: Vec<UploadId>) -> QueryResult<Vec<UploadId>> {
    uploads::table
        .filter(uploads::id.eq_any(ids.into_iter().map(Sql)))
        .filter(uploads::attachment_id.is_null())
        .select(uploads::id)
        .load(c)
}
