//! Tokens that machines sign in with.

use base::clock::Timestamp;
use base::ids::{ApiTokenId, UserId};

/// A token that was given to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Which.
    pub id: ApiTokenId,
    /// What it is for.
    pub name: String,
    /// What it allows; the store does not care.
    pub scopes: Vec<String>,
    /// Who made it; nobody if the command line did.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: Timestamp,
    /// From then on it is worth nothing; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<Timestamp>,
    /// When it was last shown, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A token to be given to a machine.
#[derive(Clone, Debug)]
pub struct NewApiToken {
    /// Made by the caller.
    pub id: ApiTokenId,
    /// What it is for.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// What it allows.
    pub scopes: Vec<String>,
    /// Who makes it; nobody if the command line does.
    pub created_by: Option<UserId>,
    /// From then on it is worth nothing; `None` is never.
    pub expires_at: Option<Timestamp>,
}
