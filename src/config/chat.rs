//! Settings of conversations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[chat]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatConfig {
    pub direct: ContactRequirement,
    pub groups: ContactRequirement,
    pub max_members: usize,
    pub body_bytes: usize,
    pub attachments: usize,
    pub plaintext: bool,
    pub queue: usize,
    pub outbox_days: u64,
    pub edit_minutes: u64,
    pub delete_minutes: u64,
    pub invite_days: u64,
    pub expiry_round_ms: u64,
    pub find_by_phone: bool,
    pub presence_grace_seconds: u64,
    pub presence_pause_seconds: u64,
}

/// Whom a person may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactRequirement {
    /// Contacts and people in a shared group.
    Contacts,
    /// Everybody who has not blocked them.
    Anybody,
}

impl ChatConfig {
    /// How long after it was said a message may be edited.
    pub const fn edit(&self) -> Duration {
        Duration::from_secs(self.edit_minutes * 60)
    }

    /// How long after it was said its sender may delete a message for everybody.
    pub const fn delete(&self) -> Duration {
        Duration::from_secs(self.delete_minutes * 60)
    }

    /// How long an invite may be good.
    pub const fn invite(&self) -> Duration {
        Duration::from_secs(self.invite_days * 86_400)
    }

    /// How often messages whose time is over are removed.
    pub const fn expiry_round(&self) -> Duration {
        Duration::from_millis(self.expiry_round_ms)
    }

    /// How long somebody may be away before others are told.
    pub const fn presence_grace(&self) -> Duration {
        Duration::from_secs(self.presence_grace_seconds)
    }

    /// The least time between two things that others are told of a person's presence.
    pub const fn presence_pause(&self) -> Duration {
        Duration::from_secs(self.presence_pause_seconds)
    }

    /// How long a notification waits to be fetched.
    pub fn outbox(&self) -> Duration {
        Duration::from_secs(self.outbox_days * 86_400)
    }
}
