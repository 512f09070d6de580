//! Keys that sign access tokens: one active, the others kept to verify earlier tokens.

use base::clock::Timestamp;
use base::ids::KeyId;
use base::secret::Secret;
use diesel::prelude::*;

use super::Conn;
use crate::rows::{NewKey, SigningKey};
use crate::schema::{counters, signing_keys};
use crate::types::Sql;

type Row = (KeyId, Vec<u8>, Vec<u8>, Timestamp, Option<Timestamp>);

fn to_signing_key((id, private, public, created_at, retired_at): Row) -> SigningKey {
    SigningKey { id, private: Secret::new(private), public, created_at, retired_at }
}

pub(crate) fn signing_keys(c: &mut Conn) -> QueryResult<Vec<SigningKey>> {
    let rows: Vec<Row> = signing_keys::table.order(signing_keys::id.desc()).load(c)?;
    Ok(rows.into_iter().map(to_signing_key).collect())
}

pub(crate) fn ensure_signing_key(
    c: &mut Conn,
    new: NewKey,
    now: Timestamp,
) -> QueryResult<SigningKey> {
    lock_keys(c)?;
    let active: Option<Row> =
        signing_keys::table.filter(signing_keys::retired_at.is_null()).first(c).optional()?;
    match active {
        Some(row) => Ok(to_signing_key(row)),
        None => insert(c, &new, now),
    }
}

pub(crate) fn rotate_signing_key(
    c: &mut Conn,
    new: NewKey,
    now: Timestamp,
) -> QueryResult<SigningKey> {
    lock_keys(c)?;
    diesel::update(signing_keys::table.filter(signing_keys::retired_at.is_null()))
        .set(signing_keys::retired_at.eq(Sql(now)))
        .execute(c)?;
    insert(c, &new, now)
}

/// Locks the row that everyone locks who changes the active key: nodes that start together agree.
fn lock_keys(c: &mut Conn) -> QueryResult<i64> {
    for_update!(counters::table.find("keys").select(counters::value)).first(c)
}

fn insert(c: &mut Conn, new: &NewKey, now: Timestamp) -> QueryResult<SigningKey> {
    diesel::update(counters::table.find("keys"))
        .set(counters::value.eq(counters::value + 1))
        .execute(c)?;
    let row: Row = diesel::insert_into(signing_keys::table)
        .values((
            signing_keys::id.eq(Sql(new.id)),
            signing_keys::private.eq(new.private.expose()),
            signing_keys::public.eq(&new.public),
            signing_keys::created_at.eq(Sql(now)),
        ))
        .returning(signing_keys::all_columns)
        .get_result(c)?;
    Ok(to_signing_key(row))
}
