//! Keys that sign access tokens, and values that others seal.

use base::clock::Timestamp;
use uuid::Uuid;

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{NewKey, SealedColumn, SealedRow, SigningKey};
use crate::store::{Store, change, look};

impl Store {
    /// All keys, the newest first; the one that is not retired signs.
    pub async fn keys(&self) -> Result<Vec<SigningKey>> {
        look!(self, keys::keys())
    }

    /// The key that signs: `new`, if there was none. Nodes that start together get the same one.
    pub async fn ensure_key(&self, new: NewKey, now: Timestamp) -> Result<SigningKey> {
        change!(self, keys::ensure_key(new, now))
    }

    /// Retires the key that signs, and makes `new` the one that does.
    pub async fn rotate_key(&self, new: NewKey, now: Timestamp) -> Result<SigningKey> {
        change!(self, keys::rotate_key(new, now))
    }

    /// The values of a column that somebody above seals, in the order of the ids of their rows.
    pub async fn sealed_values(
        &self,
        column: SealedColumn,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<SealedRow>> {
        let limit = rows(limit);
        look!(self, reencryption::sealed_values(column, after, limit))
    }

    /// Puts `new` in place of a value; false if it is not `old` any more.
    pub async fn reseal(
        &self,
        column: SealedColumn,
        row: Uuid,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> Result<bool> {
        change!(self, reencryption::reseal(column, row, old, new))
    }
}
