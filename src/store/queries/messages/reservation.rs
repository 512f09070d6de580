//! Sequence numbers and times of new messages, reserved under the lock of their conversation.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;
use diesel::sql_types::Nullable;

use super::super::Conn;
use crate::limits::MAX_SENT_AT_CORRECTION;
use crate::rows::{Circle, Encryption};
use crate::schema::conversations;
use crate::types::{Sql, TimeSql};

/// State of a conversation while its row is locked.
pub(super) struct LockedConversation {
    pub(super) last_seq: i64,
    pub(super) roster: i64,
    pub(super) direct: Option<(UserId, UserId)>,
    pub(super) expires_in: Option<i64>,
    pub(super) who_writes: Circle,
    pub(super) encryption: Encryption,
    /// Time of the next message: of two messages, the later one never has an earlier time, although
    /// the clocks of nodes differ by milliseconds.
    pub(super) sent_at: Timestamp,
}

/// Advances the last sequence of a conversation by `by` and locks its row.
pub(super) fn reserve(
    c: &mut Conn,
    id: ConversationId,
    by: i64,
    now: Timestamp,
) -> QueryResult<Option<LockedConversation>> {
    type Row = (
        (i64, i64, Option<UserId>, Option<UserId>),
        (Option<i64>, Circle, Encryption, Option<Timestamp>),
    );
    // In the same statement, as another one would be another round trip.
    let newest_sent_at = diesel::dsl::sql::<Nullable<TimeSql>>(
        "(SELECT sent_at FROM messages WHERE conversation_id = conversations.id \
         ORDER BY seq DESC LIMIT 1)",
    );
    let row: Option<Row> = diesel::update(conversations::table.find(Sql(id)))
        .set(conversations::last_seq.eq(conversations::last_seq + by))
        .returning((
            (
                conversations::last_seq,
                conversations::roster,
                conversations::direct_low,
                conversations::direct_high,
            ),
            (
                conversations::expires_in,
                conversations::who_writes,
                conversations::encryption,
                newest_sent_at,
            ),
        ))
        .get_result(c)
        .optional()?;
    Ok(row.map(|(counters, settings)| {
        let (last_seq, roster, low, high) = counters;
        let (expires_in, who_writes, encryption, newest) = settings;
        let direct = low.zip(high);
        // A clock that was wrong by more must not keep all later messages in the future.
        let ahead = newest.filter(|newest| newest.since(now) <= MAX_SENT_AT_CORRECTION);
        let sent_at = ahead.map_or(now, |newest| newest.max(now));
        LockedConversation { last_seq, roster, direct, expires_in, who_writes, encryption, sent_at }
    }))
}
