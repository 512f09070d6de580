//! Tokens with which machines authenticate.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{ApiTokenId, UserId};
use diesel::prelude::*;
use serde_json::Value;

use super::{Conn, audit};
use crate::rows::{ApiToken, NewApiToken, NewAudit};
use crate::schema::api_tokens;
use crate::types::Sql;

type Row = (
    ApiTokenId,
    String,
    Value,
    Option<UserId>,
    Timestamp,
    Option<Timestamp>,
    Option<Timestamp>,
    Option<Timestamp>,
);

const COLUMNS: (
    api_tokens::id,
    api_tokens::name,
    api_tokens::scopes,
    api_tokens::created_by,
    api_tokens::created_at,
    api_tokens::expires_at,
    api_tokens::revoked_at,
    api_tokens::last_used_at,
) = (
    api_tokens::id,
    api_tokens::name,
    api_tokens::scopes,
    api_tokens::created_by,
    api_tokens::created_at,
    api_tokens::expires_at,
    api_tokens::revoked_at,
    api_tokens::last_used_at,
);

fn to_api_token(row: Row) -> QueryResult<ApiToken> {
    let (id, name, scopes, created_by, created_at, expires_at, revoked_at, last_used_at) = row;
    let scopes = serde_json::from_value(scopes)
        .map_err(|error| diesel::result::Error::DeserializationError(Box::new(error)))?;
    Ok(ApiToken { id, name, scopes, created_by, created_at, expires_at, revoked_at, last_used_at })
}

pub(crate) fn create_token(
    c: &mut Conn,
    new: NewApiToken,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<ApiToken> {
    let row: Row = diesel::insert_into(api_tokens::table)
        .values((
            api_tokens::id.eq(Sql(new.id)),
            api_tokens::name.eq(new.name),
            api_tokens::hash.eq(&new.hash[..]),
            api_tokens::scopes.eq(Sql(Value::from(new.scopes))),
            api_tokens::created_by.eq(new.created_by.map(Sql)),
            api_tokens::created_at.eq(Sql(now)),
            api_tokens::expires_at.eq(new.expires_at.map(Sql)),
        ))
        .returning(COLUMNS)
        .get_result(c)?;
    audit::insert(c, &entry, now)?;
    to_api_token(row)
}

pub(crate) fn token_by_hash(
    c: &mut Conn,
    hash: [u8; 32],
    now: Timestamp,
) -> QueryResult<Option<ApiToken>> {
    let row: Option<Row> = api_tokens::table
        .filter(api_tokens::hash.eq(&hash[..]))
        .filter(api_tokens::revoked_at.is_null())
        .filter(api_tokens::expires_at.is_null().or(api_tokens::expires_at.gt(Sql(now))))
        .select(COLUMNS)
        .first(c)
        .optional()?;
    row.map(to_api_token).transpose()
}

/// Records a use, unless one within the last minute is recorded.
pub(crate) fn touch_token(c: &mut Conn, id: ApiTokenId, now: Timestamp) -> QueryResult<()> {
    let a_minute_ago = now - Duration::from_mins(1);
    diesel::update(api_tokens::table.find(Sql(id)))
        .filter(
            api_tokens::last_used_at.is_null().or(api_tokens::last_used_at.le(Sql(a_minute_ago))),
        )
        .set(api_tokens::last_used_at.eq(Sql(now)))
        .execute(c)?;
    Ok(())
}

pub(crate) fn tokens(
    c: &mut Conn,
    after: Option<ApiTokenId>,
    limit: i64,
) -> QueryResult<Vec<ApiToken>> {
    let mut query =
        api_tokens::table.select(COLUMNS).order(api_tokens::id).limit(limit).into_boxed();
    if let Some(after) = after {
        query = query.filter(api_tokens::id.gt(Sql(after)));
    }
    query.load::<Row>(c)?.into_iter().map(to_api_token).collect()
}

pub(crate) fn revoke_token(
    c: &mut Conn,
    id: ApiTokenId,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    let count = diesel::update(api_tokens::table.find(Sql(id)))
        .filter(api_tokens::revoked_at.is_null())
        .set(api_tokens::revoked_at.eq(Sql(now)))
        .execute(c)?;
    if count == 0 {
        return Ok(false);
    }
    audit::insert(c, &entry, now)?;
    Ok(true)
}
