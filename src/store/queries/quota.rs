//! How much of their storage quota users have used.

use base::ids::UserId;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::Conn;
use crate::schema::{attachments, uploads};
use crate::types::Sql;

/// How many bytes a user stores, uploads in progress included.
pub(crate) fn used_bytes(c: &mut Conn, user: UserId) -> QueryResult<i64> {
    const SUM: &str = "CAST(COALESCE(SUM(size), 0) AS BIGINT)";
    let files: i64 = attachments::table
        .filter(attachments::owner_id.eq(Sql(user)))
        .select(sql::<BigInt>(SUM))
        .first(c)?;
    let in_progress: i64 = uploads::table
        .filter(uploads::owner_id.eq(Sql(user)))
        .filter(uploads::attachment_id.is_null())
        .select(sql::<BigInt>(SUM))
        .first(c)?;
    Ok(files.saturating_add(in_progress))
}
