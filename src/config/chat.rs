//! Settings of conversations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[chat]` in `config.toml`, which explains each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatConfig {
    pub direct_conversations_from: ContactRequirement,
    pub group_adds_from: ContactRequirement,
    pub max_members: usize,
    pub max_body_bytes: usize,
    pub max_attachments: usize,
    pub allow_unencrypted: bool,
    pub shard_queue_capacity: usize,
    pub notification_retention_days: u64,
    pub edit_window_minutes: u64,
    pub delete_window_minutes: u64,
    pub max_invite_ttl_days: u64,
    pub expiry_interval_ms: u64,
    pub discoverable_by_phone: bool,
    pub presence_offline_delay_seconds: u64,
    pub presence_min_interval_seconds: u64,
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
        Duration::from_secs(self.edit_window_minutes * 60)
    }

    /// How long after it was said its sender may delete a message for everybody.
    pub const fn delete(&self) -> Duration {
        Duration::from_secs(self.delete_window_minutes * 60)
    }

    /// How long an invite may be good.
    pub const fn invite(&self) -> Duration {
        Duration::from_secs(self.max_invite_ttl_days * 86_400)
    }

    /// How often messages whose time is over are removed.
    pub const fn expiry_round(&self) -> Duration {
        Duration::from_millis(self.expiry_interval_ms)
    }

    /// How long somebody may be away before others are told.
    pub const fn presence_grace(&self) -> Duration {
        Duration::from_secs(self.presence_offline_delay_seconds)
    }

    /// The least time between two things that others are told of a person's presence.
    pub const fn presence_pause(&self) -> Duration {
        Duration::from_secs(self.presence_min_interval_seconds)
    }

    /// How long a notification waits to be fetched.
    pub fn outbox(&self) -> Duration {
        Duration::from_secs(self.notification_retention_days * 86_400)
    }
}
