//! The full-text index: lexemes of our own tokenizer, no dictionary, in one column.

use base::ids::MessageId;
use diesel::sql_types::{BigInt, Text};
use diesel::{QueryResult, RunQueryDsl, sql_query};

use super::Conn;
use crate::tokenizer::allows_prefix_match;
use crate::types::{IdSql, Sql};

#[derive(diesel::QueryableByName)]
struct PgNumber {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

pub(crate) fn insert(c: &mut Conn, message: MessageId, words: &str) -> QueryResult<()> {
    sql_query(
        "INSERT INTO search_entries (message_id, words) \
         VALUES ($1, array_to_tsvector(string_to_array($2, ' ')))",
    )
    .bind::<IdSql, _>(Sql(message))
    .bind::<Text, _>(words)
    .execute(c)?;
    Ok(())
}

pub(crate) fn update(c: &mut Conn, entry: i64, words: &str) -> QueryResult<()> {
    sql_query(
        "UPDATE search_entries SET words = array_to_tsvector(string_to_array($1, ' ')) \
         WHERE id = $2",
    )
    .bind::<Text, _>(words)
    .bind::<BigInt, _>(entry)
    .execute(c)?;
    Ok(())
}

/// The numbers below `before` of entries that are in one of the conversations and contain all
/// words, highest first.
pub(crate) fn find(
    c: &mut Conn,
    conversations: &[String],
    words: &[String],
    before: i64,
    limit: i64,
) -> QueryResult<Vec<i64>> {
    let quoted = |word: &String| format!("'{word}'");
    let any: Vec<_> = conversations.iter().map(quoted).collect();
    let all: Vec<_> = words.iter().map(quoted).collect();
    let suffix = if words.last().is_some_and(|last| allows_prefix_match(last)) { ":*" } else { "" };
    let mut query = format!("{}{suffix}", all.join(" & "));
    if !any.is_empty() {
        query = format!("({}) & {query}", any.join(" | "));
    }
    let found: Vec<PgNumber> = sql_query(
        "SELECT id FROM search_entries WHERE words @@ $1::tsquery AND id < $2 \
         ORDER BY id DESC LIMIT $3",
    )
    .bind::<Text, _>(query)
    .bind::<BigInt, _>(before)
    .bind::<BigInt, _>(limit)
    .load(c)?;
    Ok(found.into_iter().map(|number| number.id).collect())
}
