//! Settings of conversations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[chat]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    pub direct: Reach,
    pub groups: Reach,
    pub max_members: usize,
    pub body_bytes: usize,
    pub attachments: usize,
    pub plaintext: bool,
    pub queue: usize,
    pub outbox_days: u64,
}

/// Whom a person may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Contacts and people in a shared group.
    Contacts,
    /// Everybody who has not blocked them.
    Anybody,
}

impl Chat {
    /// How long a notification waits to be fetched.
    pub fn outbox(&self) -> Duration {
        Duration::from_secs(self.outbox_days * 86_400)
    }
}
