//! Devices and their refresh tokens, and the setup link of the first admin.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{DeviceId, UserId};
use diesel::prelude::*;

use super::devices::{insert_device, insert_refresh};
use super::{Conn, accounts, audit};
use crate::rows::{
    DeviceIdentity, DeviceRow, FirstAdminOutcome, NewAudit, NewDeviceRow, NewRefresh, NewUserRow,
    RefreshOutcome, Role, UserRow,
};
use crate::schema::{devices, refresh_tokens, setup_links, users};
use crate::types::Sql;

pub(crate) fn create_device(
    c: &mut Conn,
    device: NewDeviceRow,
    refresh: NewRefresh,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<DeviceRow> {
    let device = insert_device(c, &device, &refresh, now)?;
    audit::insert(c, &entry, now)?;
    Ok(device)
}

pub(crate) fn create_setup_link(
    c: &mut Conn,
    hash: [u8; 32],
    expires_at: Timestamp,
    now: Timestamp,
) -> QueryResult<()> {
    accounts::lock_user_count(c)?; // two concurrent requests would otherwise leave two links
    diesel::delete(setup_links::table).execute(c)?;
    diesel::insert_into(setup_links::table)
        .values((
            setup_links::hash.eq(&hash[..]),
            setup_links::created_at.eq(Sql(now)),
            setup_links::expires_at.eq(Sql(expires_at)),
        ))
        .execute(c)?;
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
pub(crate) fn register_first_admin(
    c: &mut Conn,
    setup: [u8; 32],
    user: NewUserRow,
    device: NewDeviceRow,
    refresh: NewRefresh,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<FirstAdminOutcome> {
    accounts::lock_user_count(c)?; // also ensures that the link is used only once
    if accounts::has_admin(c)? {
        return Ok(FirstAdminOutcome::LinkNotFound); // created on the command line meanwhile
    }
    let valid = setup_links::table.find(&setup[..]).filter(setup_links::expires_at.gt(Sql(now)));
    if !diesel::select(diesel::dsl::exists(valid)).get_result(c)? {
        return Ok(FirstAdminOutcome::LinkNotFound);
    }
    if accounts::is_phone_taken(c, &user.phone)? {
        return Ok(FirstAdminOutcome::PhoneTaken);
    }
    diesel::delete(setup_links::table.find(&setup[..])).execute(c)?;
    let user = accounts::insert(c, &NewUserRow { role: Role::Admin, ..user }, now)?;
    let device = insert_device(c, &device, &refresh, now)?;
    audit::insert(c, &entry, now)?;
    Ok(FirstAdminOutcome::Done(user, device))
}

pub(crate) fn rotate_refresh(
    c: &mut Conn,
    old: [u8; 32],
    successor: NewRefresh,
    grace: Duration,
    now: Timestamp,
) -> QueryResult<RefreshOutcome> {
    // Locking the row serialises two requests with the same token.
    let query = refresh_tokens::table.find(&old[..]).select((
        refresh_tokens::device_id,
        refresh_tokens::expires_at,
        refresh_tokens::used_at,
        refresh_tokens::successor,
    ));
    type TokenColumns = (DeviceId, Timestamp, Option<Timestamp>, Option<Vec<u8>>);
    let Some((device_id, expires_at, used_at, next)) =
        for_update!(query).first::<TokenColumns>(c).optional()?
    else {
        return Ok(RefreshOutcome::Unknown);
    };
    let Some(DeviceIdentity { user, device }) = device_identity(c, device_id)? else {
        return Ok(RefreshOutcome::Unknown);
    };
    if expires_at <= now {
        return Ok(RefreshOutcome::Unknown);
    }
    let Some(used_at) = used_at else {
        diesel::update(refresh_tokens::table.find(&old[..]))
            .set((
                refresh_tokens::used_at.eq(Sql(now)),
                refresh_tokens::successor.eq(&successor.hash[..]),
            ))
            .execute(c)?;
        insert_refresh(c, device_id, &successor, now)?;
        let device = update_last_seen(c, device_id, now)?.unwrap_or(device);
        if successor.ip.is_some() && successor.ip != device.last_ip {
            diesel::update(devices::table.find(Sql(device_id)))
                .set(devices::last_ip.eq(successor.ip))
                .execute(c)?;
        }
        return Ok(RefreshOutcome::Rotated(user, device));
    };
    let is_same_successor = next.as_deref() == Some(&successor.hash[..]);
    if is_same_successor && now.since(used_at) <= grace && is_unused(c, &successor.hash)? {
        return Ok(RefreshOutcome::Repeated(user, device));
    }
    revoke(c, device_id, now)?;
    let entry = NewAudit {
        actor: Some(user.id),
        action: "auth.refresh_reused".into(),
        subject: device_id.to_string(),
        detail: serde_json::json!({}),
        ip: None,
    };
    audit::insert(c, &entry, now)?;
    Ok(RefreshOutcome::Reused { user_id: user.id, device_id })
}

fn is_unused(c: &mut Conn, hash: &[u8]) -> QueryResult<bool> {
    let unused = refresh_tokens::table.find(hash).filter(refresh_tokens::used_at.is_null());
    diesel::select(diesel::dsl::exists(unused)).get_result(c)
}

pub(crate) fn device_identity(c: &mut Conn, id: DeviceId) -> QueryResult<Option<DeviceIdentity>> {
    let found = devices::table
        .inner_join(users::table)
        .filter(devices::id.eq(Sql(id)))
        .filter(devices::revoked_at.is_null())
        .filter(users::suspended_at.is_null())
        .select((UserRow::as_select(), DeviceRow::as_select()))
        .first(c)
        .optional()?;
    Ok(found.map(|(user, device)| DeviceIdentity { user, device }))
}

pub(crate) fn devices(c: &mut Conn, user: UserId) -> QueryResult<Vec<DeviceRow>> {
    devices::table
        .filter(devices::user_id.eq(Sql(user)))
        .filter(devices::revoked_at.is_null())
        .order(devices::id)
        .select(DeviceRow::as_select())
        .load(c)
}

pub(crate) fn revoke_device(
    c: &mut Conn,
    user: UserId,
    id: DeviceId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    let own = devices::table.find(Sql(id)).filter(devices::user_id.eq(Sql(user)));
    if !diesel::select(diesel::dsl::exists(own)).get_result(c)? || !revoke(c, id, now)? {
        return Ok(false);
    }
    audit::insert(c, &entry, now)?;
    Ok(true)
}

fn revoke(c: &mut Conn, id: DeviceId, now: Timestamp) -> QueryResult<bool> {
    let count = diesel::update(devices::table.find(Sql(id)))
        .filter(devices::revoked_at.is_null())
        .set(devices::revoked_at.eq(Sql(now)))
        .execute(c)?;
    Ok(count == 1)
}

/// Signs out all devices of a user, or all but one; returns those that were signed in.
pub(super) fn revoke_all(
    c: &mut Conn,
    user: UserId,
    except: Option<DeviceId>,
    now: Timestamp,
) -> QueryResult<Vec<DeviceId>> {
    let mut ids: Vec<_> = devices(c, user)?.into_iter().map(|device| device.id).collect();
    ids.retain(|id| Some(*id) != except);
    diesel::update(devices::table.filter(devices::id.eq_any(ids.iter().copied().map(Sql))))
        .filter(devices::revoked_at.is_null())
        .set(devices::revoked_at.eq(Sql(now)))
        .execute(c)?;
    Ok(ids)
}

pub(crate) fn update_device_last_seen(
    c: &mut Conn,
    id: DeviceId,
    now: Timestamp,
) -> QueryResult<()> {
    update_last_seen(c, id, now).map(drop)
}

/// Updates a device's last-seen time; never moves it back.
fn update_last_seen(c: &mut Conn, id: DeviceId, now: Timestamp) -> QueryResult<Option<DeviceRow>> {
    diesel::update(devices::table.find(Sql(id)))
        .filter(devices::last_seen_at.lt(Sql(now)))
        .set(devices::last_seen_at.eq(Sql(now)))
        .returning(DeviceRow::as_returning())
        .get_result(c)
        .optional()
}
