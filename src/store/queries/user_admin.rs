//! People as administrators see and change them; somebody who may do everything always stays.

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::{Conn, accounts, audit, sign_in};
use crate::rows::{NewAudit, PeopleFilter, Role, UserAdminRow, UserChangeOutcome};
use crate::schema::{second_factors, users};
use crate::types::Sql;

diesel::define_sql_function! { fn lower(text: Text) -> Text }

/// Holds a person until the transaction ends; false if there is no such person.
pub(super) fn hold(c: &mut Conn, user: UserId) -> QueryResult<bool> {
    let person = users::table.find(Sql(user)).filter(users::deleted_at.is_null()).select(users::id);
    Ok(held!(person).first::<UserId>(c).optional()?.is_some())
}

/// Holds those of these people who are there until the transaction ends, the lowest id first, so
/// that nobody waits in a circle.
pub(super) fn hold_all(c: &mut Conn, all: &[UserId]) -> QueryResult<Vec<UserId>> {
    let there = users::table
        .filter(users::id.eq_any(all.iter().copied().map(Sql)))
        .filter(users::deleted_at.is_null())
        .order(users::id)
        .select(users::id);
    held!(there).load(c)
}

/// The columns of a [`UserAdminRow`].
macro_rules! person {
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

pub(crate) fn person(c: &mut Conn, id: UserId) -> QueryResult<Option<UserAdminRow>> {
    person!().filter(users::id.eq(Sql(id))).first(c).optional()
}

pub(crate) fn people(
    c: &mut Conn,
    filter: PeopleFilter,
    limit: i64,
) -> QueryResult<Vec<UserAdminRow>> {
    let mut query = person!().order(users::id).limit(limit).into_boxed();
    if let Some(name) = filter.name {
        let name = beginning(&name.to_lowercase());
        query = query.filter(lower(users::name).like(name).escape('\\'));
    }
    if let Some(phone) = filter.phone {
        query = query.filter(users::phone.like(beginning(&phone)).escape('\\'));
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

/// The pattern of what begins so.
fn beginning(text: &str) -> String {
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

/// Whether a person is there, and whether somebody else may do everything too. Only under
/// [`accounts::hold_count`]: of two administrators who put each other out, one comes second.
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
    let Some(role) = role else { return Ok(Err(UserChangeOutcome::NoSuchUser)) };
    let others = users::table
        .filter(users::role.eq(Role::Admin))
        .filter(users::suspended_at.is_null())
        .filter(users::id.ne(Sql(user)));
    let spare: bool = diesel::select(diesel::dsl::exists(others)).get_result(c)?;
    Ok(if role == Role::Admin && !spare { Err(UserChangeOutcome::LastAdmin) } else { Ok(()) })
}

pub(crate) fn set_role(
    c: &mut Conn,
    id: UserId,
    role: Role,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    accounts::hold_count(c)?;
    match can_lose_admin(c, id)? {
        Err(UserChangeOutcome::LastAdmin) if role == Role::Admin => {}
        Err(refused) => return Ok(refused),
        Ok(()) => {}
    }
    diesel::update(users::table.find(Sql(id))).set(users::role.eq(role)).execute(c)?;
    audit::insert(c, &entry, now)?;
    devices(c, id).map(UserChangeOutcome::Done)
}

pub(crate) fn suspend(
    c: &mut Conn,
    id: UserId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    accounts::hold_count(c)?;
    if let Err(refused) = can_lose_admin(c, id)? {
        return Ok(refused);
    }
    let fresh = diesel::update(users::table.find(Sql(id)))
        .filter(users::suspended_at.is_null())
        .set(users::suspended_at.eq(Sql(now)))
        .execute(c)?;
    if fresh == 1 {
        audit::insert(c, &entry, now)?;
    }
    devices(c, id).map(UserChangeOutcome::Done)
}

pub(crate) fn unsuspend(
    c: &mut Conn,
    id: UserId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    if !hold(c, id)? {
        return Ok(UserChangeOutcome::NoSuchUser);
    }
    let fresh = diesel::update(users::table.find(Sql(id)))
        .filter(users::suspended_at.is_not_null())
        .set(users::suspended_at.eq(None::<Sql<Timestamp>>))
        .execute(c)?;
    if fresh == 1 {
        audit::insert(c, &entry, now)?;
    }
    devices(c, id).map(UserChangeOutcome::Done)
}

pub(crate) fn sign_out_everywhere(
    c: &mut Conn,
    id: UserId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<UserChangeOutcome> {
    if !hold(c, id)? {
        return Ok(UserChangeOutcome::NoSuchUser);
    }
    audit::insert(c, &entry, now)?;
    sign_in::revoke_all(c, id, None, now).map(UserChangeOutcome::Done)
}

fn devices(c: &mut Conn, id: UserId) -> QueryResult<Vec<DeviceId>> {
    Ok(sign_in::devices(c, id)?.into_iter().map(|device| device.id).collect())
}
