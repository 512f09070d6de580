//! User accounts as administrators manage them; at least one active admin always remains.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::{Conn, accounts, audit, sign_in};
use crate::rows::{NewAudit, Role, UserAdminRow, UserChangeOutcome, UserFilter};
use crate::schema::{second_factors, users};
use crate::types::Sql;

diesel::define_sql_function! { fn lower(text: Text) -> Text }

/// Locks a user until the transaction ends; false if there is no such user.
pub(super) fn lock_user(c: &mut Conn, user: UserId) -> QueryResult<bool> {
    let query = users::table.find(Sql(user)).filter(users::deleted_at.is_null()).select(users::id);
    Ok(for_update!(query).first::<UserId>(c).optional()?.is_some())
}

/// Locks those of these users who exist until the transaction ends, the lowest id first to avoid
/// deadlocks.
pub(super) fn lock_users(c: &mut Conn, all: &[UserId]) -> QueryResult<Vec<UserId>> {
    let existing = users::table
        .filter(users::id.eq_any(all.iter().copied().map(Sql)))
        .filter(users::deleted_at.is_null())
        .order(users::id)
        .select(users::id);
    for_update!(existing).load(c)
}

/// The query for the columns of a [`UserAdminRow`].
macro_rules! user_query {
    () => {
        users::table.left_join(second_factors::table).filter(users::deleted_at.is_null()).select((
            users::id,
            users::phone,
            users::name,
            users::role,
            users::created_at,
            users::suspended_at,
            second_factors::confirmed_at.nullable(),
        ))
    };
}

pub(crate) fn admin_user(c: &mut Conn, id: UserId) -> QueryResult<Option<UserAdminRow>> {
    user_query!().filter(users::id.eq(Sql(id))).first(c).optional()
}

pub(crate) fn admin_users(
    c: &mut Conn,
    filter: UserFilter,
    limit: i64,
) -> QueryResult<Vec<UserAdminRow>> {
    let mut query = user_query!().order(users::id).limit(limit).into_boxed();
    if let Some(name) = filter.name {
        let name = prefix_pattern(&name.to_lowercase());
        query = query.filter(lower(users::name).like(name).escape('\\'));
    }
    if let Some(phone) = filter.phone {
        query = query.filter(users::phone.like(prefix_pattern(&phone)).escape('\\'));
    }
    if let Some(role) = filter.role {
        query = query.filter(users::role.eq(role));
    }
    match filter.suspended {
        Some(true) => query = query.filter(users::suspended_at.is_not_null()),
        Some(false) => query = query.filter(users::suspended_at.is_null()),
        None => {}
    }
    if let Some(after) = filter.after {
        query = query.filter(users::id.gt(Sql(after)));
    }
    query.load(c)
}

/// The `LIKE` pattern for texts that start with `text`, with `\` as the escape character.
fn prefix_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 1);
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// Checks that a user exists and is not the only active admin. Call only under
/// [`accounts::lock_user_count`]: of two admins who demote each other, one comes second.
pub(super) fn can_lose_admin(
    c: &mut Conn,
    user: UserId,
) -> QueryResult<Result<(), UserChangeOutcome>> {
    let role: Option<Role> = users::table
        .find(Sql(user))
        .filter(users::deleted_at.is_null())
        .select(users::role)
        .first(c)
        .optional()?;
    let Some(role) = role else { return Ok(Err(UserChangeOutcome::UserNotFound)) };
    let other_admins = users::table
        .filter(users::role.eq(Role::Admin))
        .filter(users::suspended_at.is_null())
        .filter(users::id.ne(Sql(user)));
    let has_other_admin: bool = diesel::select(diesel::dsl::exists(other_admins)).get_result(c)?;
    Ok(if role == Role::Admin && !has_other_admin {
        Err(UserChangeOutcome::LastAdmin)
    } else {
        Ok(())
    })
}

pub(crate) fn set_user_role(
    c: &mut Conn,
    id: UserId,
    role: Role,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    accounts::lock_user_count(c)?;
    match can_lose_admin(c, id)? {
        Err(UserChangeOutcome::LastAdmin) if role == Role::Admin => {}
        Err(rejection) => return Ok(rejection),
        Ok(()) => {}
    }
    diesel::update(users::table.find(Sql(id))).set(users::role.eq(role)).execute(c)?;
    audit::insert(c, &entry, now)?;
    devices(c, id).map(UserChangeOutcome::Done)
}

pub(crate) fn suspend_user(
    c: &mut Conn,
    id: UserId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    accounts::lock_user_count(c)?;
    if let Err(rejection) = can_lose_admin(c, id)? {
        return Ok(rejection);
    }
    let changed = diesel::update(users::table.find(Sql(id)))
        .filter(users::suspended_at.is_null())
        .set(users::suspended_at.eq(Sql(now)))
        .execute(c)?;
    if changed == 1 {
        audit::insert(c, &entry, now)?;
    }
    devices(c, id).map(UserChangeOutcome::Done)
}

pub(crate) fn unsuspend_user(
    c: &mut Conn,
    id: UserId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    if !lock_user(c, id)? {
        return Ok(UserChangeOutcome::UserNotFound);
    }
    let changed = diesel::update(users::table.find(Sql(id)))
        .filter(users::suspended_at.is_not_null())
        .set(users::suspended_at.eq(None::<Sql<Timestamp>>))
        .execute(c)?;
    if changed == 1 {
        audit::insert(c, &entry, now)?;
    }
    devices(c, id).map(UserChangeOutcome::Done)
}

pub(crate) fn revoke_all_devices(
    c: &mut Conn,
    id: UserId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    if !lock_user(c, id)? {
        return Ok(UserChangeOutcome::UserNotFound);
    }
    audit::insert(c, &entry, now)?;
    sign_in::revoke_all(c, id, None, now).map(UserChangeOutcome::Done)
}

fn devices(c: &mut Conn, id: UserId) -> QueryResult<Vec<DeviceId>> {
    Ok(sign_in::devices(c, id)?.into_iter().map(|device| device.id).collect())
}
