//! New passwords: by whoever knows the old one, or by a link that an administrator gave.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};
use diesel::prelude::*;

use super::{Conn, audit, second_factor, sign_in, user_admin};
use crate::rows::NewAudit;
use crate::schema::{reset_links, users};
use crate::types::Sql;

pub(crate) fn password_of(c: &mut Conn, user: UserId) -> QueryResult<Option<String>> {
    users::table.find(Sql(user)).select(users::password_hash).first(c).optional()
}

#[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
pub(crate) fn change_password(
    c: &mut Conn,
    user: UserId,
    old: String,
    new: String,
    keep: DeviceId,
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
    drop_links(c, user)?;
    audit::insert(c, &entry, now)?;
    sign_in::revoke_all(c, user, Some(keep), now).map(Some)
}

#[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
pub(crate) fn put_reset_link(
    c: &mut Conn,
    user: UserId,
    hash: [u8; 32],
    drops_second_factor: bool,
    expires_at: Timestamp,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::hold(c, user)? {
        return Ok(false);
    }
    drop_links(c, user)?;
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

pub(crate) fn reset_link(
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
    // The person first, as everybody does who changes their links.
    let Some(owner) = reset_link(c, hash, now)? else { return Ok(None) };
    if !user_admin::hold(c, owner)? {
        return Ok(None);
    }
    // Whoever deletes it has it: the link works once.
    let spent: Option<(UserId, bool)> = diesel::delete(reset_links::table.find(hash.to_vec()))
        .filter(reset_links::expires_at.gt(Sql(now)))
        .returning((reset_links::user_id, reset_links::drops_second_factor))
        .get_result(c)
        .optional()?;
    let Some((user, drops_second_factor)) = spent else { return Ok(None) };
    diesel::update(users::table.find(Sql(user))).set(users::password_hash.eq(new)).execute(c)?;
    if drops_second_factor {
        second_factor::remove(c, user)?;
    }
    audit::insert(c, &entry, now)?;
    sign_in::revoke_all(c, user, None, now).map(Some)
}

pub(super) fn drop_links(c: &mut Conn, user: UserId) -> QueryResult<()> {
    diesel::delete(reset_links::table.filter(reset_links::user_id.eq(Sql(user)))).execute(c)?;
    Ok(())
}
