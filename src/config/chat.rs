//! Settings of conversations and messages.

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

/// Whom a user may contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContactRequirement {
    /// Contacts and members of a shared group.
    Contacts,
    /// Everybody who has not blocked them.
    Anybody,
}

impl ChatConfig {
    /// How long after sending a message may be edited.
    pub const fn edit_window(&self) -> Duration {
        Duration::from_secs(self.edit_window_minutes * 60)
    }

    /// How long after sending its sender may delete a message for everybody.
    pub const fn delete_window(&self) -> Duration {
        Duration::from_secs(self.delete_window_minutes * 60)
    }

    /// Maximum lifetime of an invite.
    pub const fn max_invite_ttl(&self) -> Duration {
        Duration::from_secs(self.max_invite_ttl_days * 86_400)
    }

    /// Interval at which expired messages are erased.
    pub const fn expiry_interval(&self) -> Duration {
        Duration::from_millis(self.expiry_interval_ms)
    }

    /// How long a user may be disconnected before contacts are notified.
    pub const fn presence_offline_delay(&self) -> Duration {
        Duration::from_secs(self.presence_offline_delay_seconds)
    }

    /// Minimum interval between two presence updates about a user.
    pub const fn presence_min_interval(&self) -> Duration {
        Duration::from_secs(self.presence_min_interval_seconds)
    }

    /// How long a notification stays in the outbox.
    pub fn notification_retention(&self) -> Duration {
        Duration::from_secs(self.notification_retention_days * 86_400)
    }
}
