//! API tokens for programs: creation, authentication, scopes.

use std::net::IpAddr;
use std::time::Duration;

use base::clock::Clock;
use base::error::CodedError;
use base::ids::ApiTokenId;
use base::page::Page;
use base::random::RandomSource;
use base::secret::Secret;
use store::{ApiToken, NewApiToken, Store};

use super::accounts::audit;
use crate::domain::identity::Principal;
use crate::domain::token_hash::hash_token;
use crate::protocol::admin as wire;

/// Scopes a token may have.
pub const SCOPES: [&str; 4] = ["builds:read", "builds:write", "calls:token", "metrics:read"];
/// Prefix of every token, so that secret scanners recognise a leaked one.
pub const PREFIX: &str = "svx_";

/// Error of the API token service.
#[derive(Clone, Debug, thiserror::Error, CodedError)]
pub enum ApiTokenError {
    /// The name is empty or too long.
    #[error("a token's name has 1 to 100 characters")]
    #[code("tokens/invalid-name", Invalid)]
    InvalidName,
    /// The scope does not exist.
    #[error(
        "there is no scope `{0}`: choose among builds:read, builds:write, calls:token, metrics:read"
    )]
    #[code("tokens/invalid-scope", Invalid)]
    InvalidScope(String),
    /// The expiry is not 1 to 3650 days away.
    #[error("a token expires after 1 to 3650 days, or never")]
    #[code("tokens/invalid-expiry", Invalid)]
    InvalidExpiry,
    /// The token is unknown, revoked or expired.
    #[error("this API token is not valid")]
    #[code("auth/invalid-token", Unauthenticated)]
    InvalidToken,
    /// No token has this id.
    #[error("token not found")]
    #[code("tokens/token-not-found", NotFound)]
    TokenNotFound,
    /// A database error.
    #[error(transparent)]
    #[code(transparent)]
    Store(#[from] store::StoreError),
}

/// API token service; cheap to clone.
#[derive(Clone)]
pub struct ApiTokenService {
    store: Store,
    clock: Clock,
    entropy: RandomSource,
}

impl ApiTokenService {
    /// Creates the service from its dependencies.
    pub const fn new(store: Store, clock: Clock, entropy: RandomSource) -> Self {
        Self { store, clock, entropy }
    }

    /// Creates a token. The secret is returned only once. `by` is `None` on the command line.
    ///
    /// # Errors
    /// Validation errors, or a database error.
    pub async fn create(
        &self,
        by: Option<&Principal>,
        new: wire::CreateApiToken,
        ip: Option<IpAddr>,
    ) -> Result<wire::CreatedApiToken, ApiTokenError> {
        let name = new.name.trim().to_owned();
        if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(ApiTokenError::InvalidName);
        }
        if let Some(scope) = new.scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
            return Err(ApiTokenError::InvalidScope(scope.chars().take(40).collect()));
        }
        let days = new.expires_in_days.unwrap_or(1);
        if !(1..=3650).contains(&days) {
            return Err(ApiTokenError::InvalidExpiry);
        }
        let now = self.clock.now();
        let expires_at =
            new.expires_in_days.map(|d| now + Duration::from_secs(u64::from(d) * 86_400));
        let secret = format!("{PREFIX}{}", self.entropy.token());
        let id = ApiTokenId::new();
        let row = NewApiToken {
            id,
            name: name.clone(),
            hash: hash_token(&secret),
            scopes: new.scopes.clone(),
            created_by: by.map(|principal| principal.user),
            expires_at,
        };
        let audit = audit(by.map(|principal| principal.user), "token.created", id.to_string(), ip);
        self.store.create_token(row, audit, now).await?;
        let token = wire::ApiTokenView {
            id,
            name,
            scopes: new.scopes,
            created_at: now,
            expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        Ok(wire::CreatedApiToken { secret: Secret::new(secret), token })
    }

    /// Returns the token with this secret if it is valid.
    ///
    /// # Errors
    /// [`ApiTokenError::InvalidToken`], or a database error.
    pub async fn identify(&self, secret: &str) -> Result<ApiToken, ApiTokenError> {
        let found = self.store.token_by_hash(hash_token(secret), self.clock.now()).await?;
        found.ok_or(ApiTokenError::InvalidToken)
    }

    /// Lists all tokens without their secrets.
    ///
    /// # Errors
    /// A database error.
    pub async fn list(
        &self,
        after: Option<ApiTokenId>,
        limit: usize,
    ) -> Result<Page<wire::ApiTokenView>, ApiTokenError> {
        let rows = self.store.tokens(after, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(view))
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// [`ApiTokenError::TokenNotFound`], or a database error.
    pub async fn revoke(
        &self,
        principal: &Principal,
        id: ApiTokenId,
        ip: Option<IpAddr>,
    ) -> Result<(), ApiTokenError> {
        let audit = audit(Some(principal.user), "token.revoked", id.to_string(), ip);
        let found = self.store.revoke_token(id, audit, self.clock.now()).await?;
        if found { Ok(()) } else { Err(ApiTokenError::TokenNotFound) }
    }
}

fn view(row: ApiToken) -> wire::ApiTokenView {
    wire::ApiTokenView {
        id: row.id,
        name: row.name,
        scopes: row.scopes,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
        revoked_at: row.revoked_at,
    }
}
