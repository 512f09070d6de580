//! Column types with one Rust type and a different representation in each database.

use std::io::Write;

use base::clock::Timestamp;
use base::ids::{
    ApiTokenId, AttachmentId, AuditId, BlobId, CallId, ConversationId, DeviceId, InviteId, JobId,
    KeyId, MessageId, NodeId, UploadId, UserId,
};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, Queryable};
use diesel::expression::AsExpression;
use diesel::internal::derives::as_expression::Bound;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Binary, Nullable, SqlType, Text};
use diesel::sqlite::Sqlite;
use serde_json::Value;
use uuid::Uuid;

/// `uuid` in PostgreSQL, a BLOB of 16 bytes in SQLite.
#[derive(SqlType, QueryId)]
#[diesel(postgres_type(oid = 2950, array_oid = 2951), sqlite_type(name = "Binary"))]
pub struct IdSql;

/// `timestamptz` in PostgreSQL, microseconds since 1970 in SQLite.
#[derive(SqlType, QueryId)]
#[diesel(postgres_type(oid = 1184, array_oid = 1185), sqlite_type(name = "Long"))]
pub struct TimeSql;

/// `jsonb` in PostgreSQL, TEXT in SQLite.
#[derive(SqlType, QueryId)]
#[diesel(postgres_type(oid = 3802, array_oid = 3807), sqlite_type(name = "Text"))]
pub struct JsonSql;

type Raw<'a, DB> = <DB as Backend>::RawValue<'a>;

/// A value of a foreign type bound in a query: diesel's traits cannot be implemented on it
/// directly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sql<T>(pub(crate) T);

/// Implements binding as [`Sql`] and reading as the plain value.
macro_rules! foreign_value {
    ($($value:ty as $sql:ty),+ $(,)?) => {$(
        impl AsExpression<$sql> for Sql<$value> {
            type Expression = Bound<$sql, Self>;
            fn as_expression(self) -> Self::Expression {
                Bound::new(self)
            }
        }

        impl AsExpression<Nullable<$sql>> for Sql<$value> {
            type Expression = Bound<Nullable<$sql>, Option<Self>>;
            fn as_expression(self) -> Self::Expression {
                Bound::new(Some(self))
            }
        }

        impl<DB: Backend> Queryable<$sql, DB> for $value
        where
            Self: FromSql<$sql, DB>,
        {
            type Row = Self;
            fn build(row: Self) -> deserialize::Result<Self> {
                Ok(row)
            }
        }
    )+};
}

macro_rules! ids {
    ($($id:ty),+ $(,)?) => {$(
        foreign_value!($id as IdSql);

        impl ToSql<IdSql, Pg> for Sql<$id> {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(self.0.uuid().as_bytes())?;
                Ok(IsNull::No)
            }
        }

        impl FromSql<IdSql, Pg> for $id {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                Ok(Self::from_uuid(Uuid::from_slice(value.as_bytes())?))
            }
        }

        impl ToSql<IdSql, Sqlite> for Sql<$id> {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.0.uuid().as_bytes().to_vec());
                Ok(IsNull::No)
            }
        }

        impl FromSql<IdSql, Sqlite> for $id {
            fn from_sql(value: Raw<'_, Sqlite>) -> deserialize::Result<Self> {
                let bytes = <Vec<u8> as FromSql<Binary, Sqlite>>::from_sql(value)?;
                Ok(Self::from_uuid(Uuid::from_slice(&bytes)?))
            }
        }
    )+};
}

ids!(
    UserId,
    DeviceId,
    ConversationId,
    MessageId,
    ApiTokenId,
    KeyId,
    AuditId,
    CallId,
    NodeId,
    JobId,
    AttachmentId,
    BlobId,
    InviteId,
    UploadId
);
foreign_value!(Timestamp as TimeSql, Value as JsonSql);

/// PostgreSQL's timestamps count microseconds from 2000-01-01; this is that instant since 1970.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl ToSql<TimeSql, Pg> for Sql<Timestamp> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&self.0.micros().saturating_sub(POSTGRES_EPOCH_MICROS).to_be_bytes())?;
        Ok(IsNull::No)
    }
}

impl FromSql<TimeSql, Pg> for Timestamp {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        let micros = i64::from_be_bytes(value.as_bytes().try_into()?);
        Ok(Self::from_micros(micros.saturating_add(POSTGRES_EPOCH_MICROS)))
    }
}

impl ToSql<TimeSql, Sqlite> for Sql<Timestamp> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(self.0.micros());
        Ok(IsNull::No)
    }
}

impl FromSql<TimeSql, Sqlite> for Timestamp {
    fn from_sql(value: Raw<'_, Sqlite>) -> deserialize::Result<Self> {
        <i64 as FromSql<BigInt, Sqlite>>::from_sql(value).map(Self::from_micros)
    }
}

impl ToSql<JsonSql, Pg> for Sql<Value> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[1])?; // version of jsonb's binary format
        serde_json::to_writer(out, &self.0)?;
        Ok(IsNull::No)
    }
}

impl FromSql<JsonSql, Pg> for Value {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes().split_first() {
            Some((1, text)) => Ok(serde_json::from_slice(text)?),
            _ => Err("unknown jsonb version".into()),
        }
    }
}

impl ToSql<JsonSql, Sqlite> for Sql<Value> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        out.set_value(serde_json::to_string(&self.0)?);
        Ok(IsNull::No)
    }
}

impl FromSql<JsonSql, Sqlite> for Value {
    fn from_sql(value: Raw<'_, Sqlite>) -> deserialize::Result<Self> {
        let text = <String as FromSql<Text, Sqlite>>::from_sql(value)?;
        Ok(serde_json::from_str(&text)?)
    }
}
