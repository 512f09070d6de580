//! Password changes: with the old password, or with a reset link from an administrator.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};
use diesel::prelude::*;

use super::{Conn, audit, second_factor, sign_in, user_admin};
use crate::rows::NewAudit;
use crate::schema::{reset_links, users};
use crate::types::Sql;

pub(crate) fn password_hash(c: &mut Conn, user: UserId) -> QueryResult<Option<String>> {
    users::table.find(Sql(user)).select(users::password_hash).first(c).optional()
}

#[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
pub(crate) fn change_password(
    c: &mut Conn,
    user: UserId,
    old: String,
    new: String,
    keep_device: DeviceId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<Option<Vec<DeviceId>>> {
    let changed = diesel::update(users::table.find(Sql(user)))
        .filter(users::password_hash.eq(old))
        .filter(users::deleted_at.is_null())
        .set(users::password_hash.eq(new))
        .execute(c)?;
    if changed == 0 {
        return Ok(None);
    }
    delete_reset_links(c, user)?;
    audit::insert(c, &entry, now)?;
    sign_in::revoke_all(c, user, Some(keep_device), now).map(Some)
}

#[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
pub(crate) fn create_reset_link(
    c: &mut Conn,
    user: UserId,
    hash: [u8; 32],
    drops_second_factor: bool,
    expires_at: Timestamp,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::lock_user(c, user)? {
        return Ok(false);
    }
    delete_reset_links(c, user)?;
    diesel::insert_into(reset_links::table)
        .values((
            reset_links::hash.eq(&hash[..]),
            reset_links::user_id.eq(Sql(user)),
            reset_links::drops_second_factor.eq(drops_second_factor),
            reset_links::created_at.eq(Sql(now)),
            reset_links::expires_at.eq(Sql(expires_at)),
        ))
        .execute(c)?;
    audit::insert(c, &entry, now)?;
    Ok(true)
}

pub(crate) fn reset_link_user(
    c: &mut Conn,
    hash: [u8; 32],
    now: Timestamp,
) -> QueryResult<Option<UserId>> {
    reset_links::table
        .find(hash.to_vec())
        .filter(reset_links::expires_at.gt(Sql(now)))
        .select(reset_links::user_id)
        .first(c)
        .optional()
}

pub(crate) fn reset_password(
    c: &mut Conn,
    hash: [u8; 32],
    new: String,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<Option<Vec<DeviceId>>> {
    // The user row is locked first, as in every change of their links.
    let Some(owner) = reset_link_user(c, hash, now)? else { return Ok(None) };
    if !user_admin::lock_user(c, owner)? {
        return Ok(None);
    }
    // Whoever deletes the row has consumed the link: it works once.
    let consumed: Option<(UserId, bool)> = diesel::delete(reset_links::table.find(hash.to_vec()))
        .filter(reset_links::expires_at.gt(Sql(now)))
        .returning((reset_links::user_id, reset_links::drops_second_factor))
        .get_result(c)
        .optional()?;
    let Some((user, drops_second_factor)) = consumed else { return Ok(None) };
    diesel::update(users::table.find(Sql(user))).set(users::password_hash.eq(new)).execute(c)?;
    if drops_second_factor {
        second_factor::remove(c, user)?;
    }
    audit::insert(c, &entry, now)?;
    sign_in::revoke_all(c, user, None, now).map(Some)
}

pub(super) fn delete_reset_links(c: &mut Conn, user: UserId) -> QueryResult<()> {
    diesel::delete(reset_links::table.filter(reset_links::user_id.eq(Sql(user)))).execute(c)?;
    Ok(())
}
