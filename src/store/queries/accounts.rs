//! User accounts: creation, lookup and an exact count.

use base::clock::Timestamp;
use base::ids::UserId;
use diesel::prelude::*;

use super::{Conn, audit, devices};
use crate::rows::{
    AddUserOutcome, NewAudit, NewDeviceRow, NewRefresh, NewUserRow, RegisterOutcome, Role, UserRow,
};
use crate::schema::{counters, users};
use crate::types::Sql;

#[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
pub(crate) fn register(
    c: &mut Conn,
    user: NewUserRow,
    device: NewDeviceRow,
    refresh: NewRefresh,
    user_limit: Option<u64>,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<RegisterOutcome> {
    let count = lock_user_count(c)?;
    if is_phone_taken(c, &user.phone)? {
        return Ok(RegisterOutcome::PhoneTaken);
    }
    if user_limit
        .is_some_and(|user_limit| u64::try_from(count).is_ok_and(|count| count >= user_limit))
    {
        return Ok(RegisterOutcome::UserLimitReached);
    }
    let user = insert(c, &user, now)?;
    let device = devices::insert_device(c, &device, &refresh, now)?;
    audit::insert(c, &entry, now)?;
    Ok(RegisterOutcome::Done(user, device))
}

pub(crate) fn add(
    c: &mut Conn,
    user: NewUserRow,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<AddUserOutcome> {
    lock_user_count(c)?;
    if is_phone_taken(c, &user.phone)? {
        return Ok(AddUserOutcome::PhoneTaken);
    }
    let user = insert(c, &user, now)?;
    audit::insert(c, &entry, now)?;
    Ok(AddUserOutcome::Done(user))
}

/// Number of users. Everyone who adds one locks this row, so what they read meanwhile stays true
/// until their transaction ends.
pub(super) fn lock_user_count(c: &mut Conn) -> QueryResult<i64> {
    for_update!(counters::table.find("users").select(counters::value)).first(c)
}

/// Whether a user has this phone number. Stable only under [`lock_user_count`].
pub(super) fn is_phone_taken(c: &mut Conn, phone: &str) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(users::table.filter(users::phone.eq(phone)))).get_result(c)
}

/// Inserts a user and counts them. Call only under [`lock_user_count`].
pub(super) fn insert(c: &mut Conn, user: &NewUserRow, now: Timestamp) -> QueryResult<UserRow> {
    diesel::update(counters::table.find("users"))
        .set(counters::value.eq(counters::value + 1))
        .execute(c)?;
    diesel::insert_into(users::table)
        .values((
            users::id.eq(Sql(user.id)),
            users::phone.eq(&user.phone),
            users::name.eq(&user.name),
            users::role.eq(user.role),
            users::password_hash.eq(&user.password_hash),
            users::created_at.eq(Sql(now)),
        ))
        .returning(UserRow::as_returning())
        .get_result(c)
}

pub(crate) fn user(c: &mut Conn, id: UserId) -> QueryResult<Option<UserRow>> {
    let query = users::table.find(Sql(id)).filter(users::deleted_at.is_null());
    query.select(UserRow::as_select()).first(c).optional()
}

pub(crate) fn user_by_phone(c: &mut Conn, phone: String) -> QueryResult<Option<(UserRow, String)>> {
    users::table
        .filter(users::phone.eq(phone))
        .select((UserRow::as_select(), users::password_hash))
        .first(c)
        .optional()
}

pub(crate) fn has_admin(c: &mut Conn) -> QueryResult<bool> {
    let admins = users::table.filter(users::role.eq(Role::Admin));
    diesel::select(diesel::dsl::exists(admins)).get_result(c)
}

pub(crate) fn users(c: &mut Conn, after: Option<UserId>, limit: i64) -> QueryResult<Vec<UserRow>> {
    let mut query = users::table
        .filter(users::deleted_at.is_null())
        .select(UserRow::as_select())
        .order(users::id)
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(users::id.gt(Sql(after)));
    }
    query.load(c)
}

pub(crate) fn count_users(c: &mut Conn) -> QueryResult<i64> {
    counters::table.find("users").select(counters::value).first(c)
}

pub(crate) fn rename_user(c: &mut Conn, id: UserId, name: String) -> QueryResult<Option<UserRow>> {
    diesel::update(users::table.find(Sql(id)))
        .filter(users::deleted_at.is_null())
        .set(users::name.eq(name))
        .returning(UserRow::as_returning())
        .get_result(c)
        .optional()
}
