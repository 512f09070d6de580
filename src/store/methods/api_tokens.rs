//! Tokens with which machines authenticate.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::ApiTokenId;

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{ApiToken, NewApiToken, NewAudit};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Stores a new API token.
    pub async fn create_token(
        &self,
        token: NewApiToken,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<ApiToken> {
        write_tx!(self, api_tokens::create_token(token, audit, now))
    }

    /// The valid token with that hash; its last use is recorded to the minute.
    pub async fn token_by_hash(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<ApiToken>> {
        let Some(token) = read_tx!(self, api_tokens::token_by_hash(hash, now))? else {
            return Ok(None);
        };
        let is_recent = |last_used_at: Timestamp| now.since(last_used_at) < Duration::from_mins(1);
        if !token.last_used_at.is_some_and(is_recent) {
            let id = token.id;
            // The token is valid whether or not this write succeeds.
            if let Err(error) = write_tx!(self, api_tokens::touch_token(id, now)) {
                tracing::debug!(%error, "API token last-used update failed");
            }
        }
        Ok(Some(token))
    }

    /// All tokens, valid or not, in the order of their ids.
    pub async fn tokens(&self, after: Option<ApiTokenId>, limit: usize) -> Result<Vec<ApiToken>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, api_tokens::tokens(after, limit))
    }

    /// Revokes a token; false if it does not exist or was revoked before.
    pub async fn revoke_token(
        &self,
        id: ApiTokenId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        write_tx!(self, api_tokens::revoke_token(id, audit, now))
    }
}
