//! Keys that sign access tokens, and re-encryption of sealed columns.

use base::clock::Timestamp;
use uuid::Uuid;

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{NewKey, SealedColumn, SealedRow, SigningKey};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// All signing keys, newest first; the one that is not retired signs.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        read_tx!(self, keys::signing_keys())
    }

    /// The active signing key: `new` if there was none. Nodes that start together get the same one.
    pub async fn ensure_signing_key(&self, new: NewKey, now: Timestamp) -> Result<SigningKey> {
        write_tx!(self, keys::ensure_signing_key(new, now))
    }

    /// Retires the active signing key and makes `new` the active one.
    pub async fn rotate_signing_key(&self, new: NewKey, now: Timestamp) -> Result<SigningKey> {
        write_tx!(self, keys::rotate_signing_key(new, now))
    }

    /// The sealed values of a column, in the order of the ids of their rows.
    pub async fn sealed_values(
        &self,
        column: SealedColumn,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<SealedRow>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, reencryption::sealed_values(column, after, limit))
    }

    /// Replaces a sealed value; false if it is not `old` any more.
    pub async fn reseal(
        &self,
        column: SealedColumn,
        row: Uuid,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> Result<bool> {
        write_tx!(self, reencryption::reseal(column, row, old, new))
    }
}
