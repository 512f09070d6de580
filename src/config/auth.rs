//! Settings of accounts and their tokens.

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
    pub hash_memory_kib: u32,
    pub hash_passes: u32,
    pub hash_lanes: u32,
    pub password_hash_threads: usize,
    pub password_hash_queue_capacity: usize,
    pub setup_link_ttl_hours: u64,
    pub password_reset_ttl_hours: u64,
    pub export_ttl_hours: u64,
    pub deleted_account_messages: DeletedMessagePolicy,
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistrationPolicy {
    /// Anybody.
    Open,
    /// Nobody by themselves.
    Closed,
}

/// What becomes of what somebody said in groups when their account ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletedMessagePolicy {
    /// It stays, as said by somebody who is gone.
    Keep,
    /// It is emptied.
    Remove,
}

impl AuthConfig {
    /// How long an archive of one's own data waits to be fetched.
    pub fn export(&self) -> Duration {
        Duration::from_secs(self.export_ttl_hours * 3600)
    }

    /// How long a link to a new password works.
    pub fn reset_link(&self) -> Duration {
        Duration::from_secs(self.password_reset_ttl_hours * 3600)
    }

    /// How long an access token works.
    pub fn access(&self) -> Duration {
        Duration::from_secs(self.access_token_ttl_seconds)
    }

    /// How long an unused refresh token works.
    pub fn refresh(&self) -> Duration {
        Duration::from_secs(self.refresh_token_idle_days * 86_400)
    }

    /// How long a repeated refresh is taken as honest.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.refresh_reuse_grace_seconds)
    }

    /// The cap on people, if there is one.
    pub fn max_users(&self) -> Option<u64> {
        (self.max_users > 0).then_some(self.max_users)
    }
}
