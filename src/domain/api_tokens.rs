//! API tokens: how machines sign in, and what each may do.

use std::net::IpAddr;
use std::time::Duration;

use base::clock::Clock;
use base::error::{CodedError, ErrorKind};
use base::ids::ApiTokenId;
use base::page::Page;
use base::random::RandomSource;
use base::secret::Secret;
use store::{ApiToken, NewApiToken, Store};

use super::accounts::{Principal, audit, hash};
use crate::protocol::admin as wire;

/// What a token may be allowed to do.
pub const SCOPES: [&str; 4] = ["builds:read", "builds:write", "calls:token", "metrics:read"];
/// What a token begins with, so that a leaked one is recognised.
pub const PREFIX: &str = "svx_";

/// Why something about an API token was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiTokenError {
    /// A name that is empty or too long.
    #[error("a token's name has 1 to 100 characters")]
    BadName,
    /// A scope that does not exist.
    #[error(
        "there is no scope `{0}`: choose among builds:read, builds:write, calls:token, metrics:read"
    )]
    BadScope(String),
    /// An end that is not 1 to 3650 days away.
    #[error("a token ends after 1 to 3650 days, or never")]
    BadEnd,
    /// No such token, or its time is over.
    #[error("this API token does not work")]
    InvalidToken,
    /// No such token.
    #[error("there is no such token")]
    NoSuchToken,
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl CodedError for ApiTokenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::BadName | Self::BadScope(_) | Self::BadEnd => ErrorKind::Invalid,
            Self::InvalidToken => ErrorKind::Unauthenticated,
            Self::NoSuchToken => ErrorKind::NotFound,
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::BadName => "tokens/invalid-name",
            Self::BadScope(_) => "tokens/invalid-scope",
            Self::BadEnd => "tokens/invalid-expiry",
            Self::InvalidToken => "auth/invalid-token",
            Self::NoSuchToken => "tokens/token-not-found",
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        if let Self::Store(e) = self { e.retry_after() } else { None }
    }
}

/// The deeds of this area; cheap to clone.
#[derive(Clone)]
pub struct ApiTokenService {
    store: Store,
    clock: Clock,
    entropy: RandomSource,
}

impl ApiTokenService {
    /// Puts the parts together.
    pub const fn new(store: Store, clock: Clock, entropy: RandomSource) -> Self {
        Self { store, clock, entropy }
    }

    /// Makes a token; the secret is shown this once. `by` is `None` on the command line.
    ///
    /// # Errors
    /// What is wrong with the request, or the database's.
    pub async fn create(
        &self,
        by: Option<&Principal>,
        new: wire::CreateApiToken,
        ip: Option<IpAddr>,
    ) -> Result<wire::CreatedApiToken, ApiTokenError> {
        let name = new.name.trim().to_owned();
        if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(ApiTokenError::BadName);
        }
        if let Some(scope) = new.scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
            return Err(ApiTokenError::BadScope(scope.chars().take(40).collect()));
        }
        let days = new.expires_in_days.unwrap_or(1);
        if !(1..=3650).contains(&days) {
            return Err(ApiTokenError::BadEnd);
        }
        let now = self.clock.now();
        let end = new.expires_in_days.map(|d| now + Duration::from_secs(u64::from(d) * 86_400));
        let secret = format!("{PREFIX}{}", self.entropy.token());
        let id = ApiTokenId::new();
        let row = NewApiToken {
            id,
            name: name.clone(),
            hash: hash(&secret),
            scopes: new.scopes.clone(),
            created_by: by.map(|me| me.user),
            expires_at: end,
        };
        let audit = audit(by.map(|me| me.user), "token.created", id.to_string(), ip);
        self.store.create_token(row, audit, now).await?;
        let token = wire::ApiTokenView {
            id,
            name,
            scopes: new.scopes,
            created_at: now,
            expires_at: end,
            last_used_at: None,
            revoked_at: None,
        };
        Ok(wire::CreatedApiToken { secret: Secret::new(secret), token })
    }

    /// The token of this secret, if it works.
    ///
    /// # Errors
    /// [`ApiTokenError::InvalidToken`], or the database's.
    pub async fn identify(&self, secret: &str) -> Result<ApiToken, ApiTokenError> {
        let found = self.store.token_by_hash(hash(secret), self.clock.now()).await?;
        found.ok_or(ApiTokenError::InvalidToken)
    }

    /// All tokens, without their secrets.
    ///
    /// # Errors
    /// The database's.
    pub async fn list(
        &self,
        after: Option<ApiTokenId>,
        limit: usize,
    ) -> Result<Page<wire::ApiTokenView>, ApiTokenError> {
        let rows = self.store.tokens(after, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(view))
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// [`ApiTokenError::NoSuchToken`], or the database's.
    pub async fn revoke(
        &self,
        me: &Principal,
        id: ApiTokenId,
        ip: Option<IpAddr>,
    ) -> Result<(), ApiTokenError> {
        let audit = audit(Some(me.user), "token.revoked", id.to_string(), ip);
        let found = self.store.revoke_token(id, audit, self.clock.now()).await?;
        if found { Ok(()) } else { Err(ApiTokenError::NoSuchToken) }
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
