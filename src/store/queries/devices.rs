//! Devices and refresh tokens: insertion, which every way to sign in shares.

use base::clock::Timestamp;
use base::ids::DeviceId;
use diesel::prelude::*;

use super::Conn;
use crate::rows::{DeviceRow, NewDeviceRow, NewRefresh};
use crate::schema::{devices, refresh_tokens};
use crate::types::Sql;

pub(super) fn insert_device(
    c: &mut Conn,
    device: &NewDeviceRow,
    refresh: &NewRefresh,
    now: Timestamp,
) -> QueryResult<DeviceRow> {
    let device = diesel::insert_into(devices::table)
        .values((
            devices::id.eq(Sql(device.id)),
            devices::user_id.eq(Sql(device.user_id)),
            devices::name.eq(&device.name),
            devices::platform.eq(&device.platform),
            devices::created_at.eq(Sql(now)),
            devices::last_seen_at.eq(Sql(now)),
            devices::last_ip.eq(refresh.ip.as_deref()),
            devices::user_agent.eq(device.user_agent.as_deref()),
        ))
        .returning(DeviceRow::as_returning())
        .get_result(c)?;
    insert_refresh(c, device.id, refresh, now)?;
    Ok(device)
}

pub(super) fn insert_refresh(
    c: &mut Conn,
    id: DeviceId,
    refresh: &NewRefresh,
    now: Timestamp,
) -> QueryResult<()> {
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::hash.eq(&refresh.hash[..]),
            refresh_tokens::device_id.eq(Sql(id)),
            refresh_tokens::created_at.eq(Sql(now)),
            refresh_tokens::expires_at.eq(Sql(refresh.expires_at)),
        ))
        .execute(c)?;
    Ok(())
}
