//! Uploads under way: what they will be; how far they are stands on disk.

use base::clock::Timestamp;
use base::ids::{UploadId, UserId};
use diesel::prelude::*;

use super::{Conn, files, user_admin};
use crate::rows::{AddUploadOutcome, NewUploadRow, Quota, UploadRow};
use crate::schema::uploads;
use crate::types::Sql;

/// Begins an upload; its size counts from now on.
pub(crate) fn add_upload(
    c: &mut Conn,
    new: NewUploadRow,
    quota: Quota,
    now: Timestamp,
) -> QueryResult<AddUploadOutcome> {
    if !user_admin::hold(c, new.owner)? {
        return Ok(AddUploadOutcome::Gone);
    }
    let running: i64 = uploads::table
        .filter(uploads::owner_id.eq(Sql(new.owner)))
        .filter(uploads::attachment_id.is_null())
        .count()
        .get_result(c)?;
    if running >= quota.uploads {
        return Ok(AddUploadOutcome::TooMany);
    }
    if files::kept(c, new.owner)?.saturating_add(new.size) > quota.bytes {
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

/// Forgets an upload; false if there is none.
pub(crate) fn remove_upload(c: &mut Conn, id: UploadId, owner: UserId) -> QueryResult<bool> {
    let own = uploads::table.find(Sql(id)).filter(uploads::owner_id.eq(Sql(owner)));
    Ok(diesel::delete(own).execute(c)? == 1)
}

/// Forgets uploads whose time is over; gives how many.
pub(crate) fn expire_uploads(c: &mut Conn, now: Timestamp) -> QueryResult<usize> {
    diesel::delete(uploads::table.filter(uploads::expires_at.le(Sql(now)))).execute(c)
}

/// Which of these uploads are under way.
pub(crate) fn known_uploads(c: &mut Conn, ids: Vec<UploadId>) -> QueryResult<Vec<UploadId>> {
    uploads::table
        .filter(uploads::id.eq_any(ids.into_iter().map(Sql)))
        .filter(uploads::attachment_id.is_null())
        .select(uploads::id)
        .load(c)
}
