//! Settings of accounts, passwords and tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[auth]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthConfig {
    pub registration: RegistrationPolicy,
    pub max_users: u64,
    pub default_phone_region: String,
    pub access_token_ttl_seconds: u64,
    pub refresh_token_idle_days: u64,
    pub refresh_reuse_grace_seconds: u64,
    pub password_min_length: usize,
    pub argon2_memory_kib: u32,
    pub argon2_iterations: u32,
    pub argon2_parallelism: u32,
    pub password_hash_threads: usize,
    pub password_hash_queue_capacity: usize,
    pub setup_link_ttl_hours: u64,
    pub password_reset_ttl_hours: u64,
    pub export_ttl_hours: u64,
    pub deleted_account_messages: DeletedMessagePolicy,
}

/// Who may register an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationPolicy {
    /// Everybody.
    Open,
    /// Nobody; accounts are created by administrators.
    Closed,
}

/// What happens to a user's group messages when their account is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletedMessagePolicy {
    /// They stay, attributed to a deleted account.
    Keep,
    /// Their content is erased.
    Remove,
}

impl AuthConfig {
    /// How long an export archive is available for download.
    pub fn export_ttl(&self) -> Duration {
        Duration::from_secs(self.export_ttl_hours * 3600)
    }

    /// Lifetime of a password reset link.
    pub fn password_reset_ttl(&self) -> Duration {
        Duration::from_secs(self.password_reset_ttl_hours * 3600)
    }

    /// Lifetime of an access token.
    pub fn access_token_ttl(&self) -> Duration {
        Duration::from_secs(self.access_token_ttl_seconds)
    }

    /// Lifetime of an unused refresh token.
    pub fn refresh_token_ttl(&self) -> Duration {
        Duration::from_secs(self.refresh_token_idle_days * 86_400)
    }

    /// How long a repeated use of a refresh token counts as an honest retry.
    pub fn refresh_reuse_grace(&self) -> Duration {
        Duration::from_secs(self.refresh_reuse_grace_seconds)
    }

    /// The maximum number of users; `None` without limit.
    pub fn max_users(&self) -> Option<u64> {
        (self.max_users > 0).then_some(self.max_users)
    }
}
