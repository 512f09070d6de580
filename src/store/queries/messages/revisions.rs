//! Revisions of a conversation: each change of a message takes the next one.

use base::ids::ConversationId;
use diesel::prelude::*;

use super::super::Conn;
use crate::schema::conversations;
use crate::types::Sql;

/// Reserves `by` revisions; returns the newest of them.
pub(in super::super) fn reserve_revisions(
    c: &mut Conn,
    id: ConversationId,
    by: i64,
) -> QueryResult<i64> {
    diesel::update(conversations::table.find(Sql(id)))
        .set(conversations::revision.eq(conversations::revision + by))
        .returning(conversations::revision)
        .get_result(c)
}
