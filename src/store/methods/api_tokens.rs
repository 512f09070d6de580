//! Tokens that machines sign in with.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::ApiTokenId;

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{ApiToken, NewApiToken, NewAudit};
use crate::store::{Store, change, look};

impl Store {
    /// Keeps a token.
    pub async fn create_token(
        &self,
        token: NewApiToken,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<ApiToken> {
        change!(self, api_tokens::create_token(token, audit, now))
    }

    /// The token with that hash, if it is worth anything; its use is remembered to the minute.
    pub async fn token_by_hash(&self, hash: [u8; 32], now: Timestamp) -> Result<Option<ApiToken>> {
        let Some(token) = look!(self, api_tokens::token_by_hash(hash, now))? else {
            return Ok(None);
        };
        let fresh = |used: Timestamp| now.since(used) < Duration::from_mins(1);
        if !token.last_used_at.is_some_and(fresh) {
            let id = token.id;
            // The token is good whether or not this works.
            if let Err(error) = change!(self, api_tokens::touch_token(id, now)) {
                tracing::debug!(%error, "API token last-used update failed");
            }
        }
        Ok(Some(token))
    }

    /// All tokens, worth something or not, in the order of their ids.
    pub async fn tokens(&self, after: Option<ApiTokenId>, limit: usize) -> Result<Vec<ApiToken>> {
        let limit = rows(limit);
        look!(self, api_tokens::tokens(after, limit))
    }

    /// Makes a token worthless; false if it is not there or was worthless before.
    pub async fn revoke_token(
        &self,
        id: ApiTokenId,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        change!(self, api_tokens::revoke_token(id, audit, now))
    }
}
