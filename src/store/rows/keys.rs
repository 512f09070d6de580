//! Keys that sign access tokens.

use base::clock::Timestamp;
use base::ids::KeyId;
use base::secret::Secret;

/// A key pair.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The `kid` of the tokens it signs.
    pub id: KeyId,
    /// Signs; in the form the caller gave.
    pub private: Secret<Vec<u8>>,
    /// Verifies; in the form the caller gave.
    pub public: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it only verifies; `None` for the one that signs.
    pub retired_at: Option<Timestamp>,
}

/// A key pair to be kept.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Made by the caller.
    pub id: KeyId,
    /// Signs.
    pub private: Secret<Vec<u8>>,
    /// Verifies.
    pub public: Vec<u8>,
}

/// Where the database holds values that only the holder of a key outside it can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SealedColumn {
    /// The private halves of keys that sign.
    SigningKey,
    /// The secrets of second factors.
    SecondFactor,
}

impl SealedColumn {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::SigningKey, Self::SecondFactor];
}

/// A value that is sealed, or was written before there was a seal.
#[derive(Clone, Debug)]
pub struct SealedRow {
    /// The id of its row.
    pub row: uuid::Uuid,
    /// As it is kept.
    pub value: Vec<u8>,
}
