//! Sealed column values, to be re-encrypted with another key.

use base::ids::{KeyId, UserId};
use diesel::prelude::*;
use uuid::Uuid;

use super::Conn;
use crate::rows::{SealedColumn, SealedRow};
use crate::schema::{second_factors, signing_keys};
use crate::types::Sql;

pub(crate) fn sealed_values(
    c: &mut Conn,
    column: SealedColumn,
    after: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<SealedRow>> {
    let after = after.unwrap_or(Uuid::nil());
    let rows = match column {
        SealedColumn::SigningKey => signing_keys::table
            .filter(signing_keys::id.gt(Sql(KeyId::from_uuid(after))))
            .order(signing_keys::id)
            .limit(limit)
            .select((signing_keys::id, signing_keys::private))
            .load::<(KeyId, Vec<u8>)>(c)?
            .into_iter()
            .map(|(id, value)| SealedRow { row_id: id.uuid(), value })
            .collect(),
        SealedColumn::SecondFactor => second_factors::table
            .filter(second_factors::user_id.gt(Sql(UserId::from_uuid(after))))
            .order(second_factors::user_id)
            .limit(limit)
            .select((second_factors::user_id, second_factors::secret))
            .load::<(UserId, Vec<u8>)>(c)?
            .into_iter()
            .map(|(id, value)| SealedRow { row_id: id.uuid(), value })
            .collect(),
    };
    Ok(rows)
}

/// Replaces `old` by `new`; not if somebody wrote another value meanwhile.
pub(crate) fn reseal(
    c: &mut Conn,
    column: SealedColumn,
    row: Uuid,
    old: Vec<u8>,
    new: Vec<u8>,
) -> QueryResult<bool> {
    let changed = match column {
        SealedColumn::SigningKey => {
            diesel::update(signing_keys::table.find(Sql(KeyId::from_uuid(row))))
                .filter(signing_keys::private.eq(old))
                .set(signing_keys::private.eq(new))
                .execute(c)?
        }
        SealedColumn::SecondFactor => {
            diesel::update(second_factors::table.find(Sql(UserId::from_uuid(row))))
                .filter(second_factors::secret.eq(old))
                .set(second_factors::secret.eq(new))
                .execute(c)?
        }
    };
    Ok(changed == 1)
}
