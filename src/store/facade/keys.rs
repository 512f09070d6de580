//! Keys that sign access tokens.

use base::clock::Time;

use crate::error::Result;
use crate::model::{NewKey, SigningKey};
use crate::store::{Store, change, look};

impl Store {
    /// All keys, the newest first; the one that is not retired signs.
    pub async fn keys(&self) -> Result<Vec<SigningKey>> {
        look!(self, keys::keys())
    }

    /// The key that signs: `new`, if there was none. Nodes that start together get the same one.
    pub async fn ensure_key(&self, new: NewKey, now: Time) -> Result<SigningKey> {
        change!(self, keys::ensure_key(new, now))
    }

    /// Retires the key that signs, and makes `new` the one that does.
    pub async fn rotate_key(&self, new: NewKey, now: Time) -> Result<SigningKey> {
        change!(self, keys::rotate_key(new, now))
    }
}
