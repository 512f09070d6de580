//! The audit log, and the counts of a housekeeping run.

use base::clock::Timestamp;
use base::ids::{AuditId, UserId};
use diesel::prelude::{Queryable, Selectable};

use crate::schema::audit_entries;

/// An audit entry, written in the transaction of the audited action.
#[derive(Clone, Debug)]
pub struct NewAudit {
    /// Who did it; `None` for the service itself, or somebody not signed in.
    pub actor: Option<UserId>,
    /// The action, such as `user.role_changed`.
    pub action: String,
    /// What it was done to: usually an id.
    pub subject: String,
    /// Further details; never a secret.
    pub detail: serde_json::Value,
    /// IP address of the actor.
    pub ip: Option<String>,
}

/// A stored audit entry.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = audit_entries)]
pub struct AuditEntry {
    /// Sorts by time.
    pub id: AuditId,
    /// Time of the action.
    pub at: Timestamp,
    /// Who did it; `None` for the service itself, or somebody not signed in.
    pub actor: Option<UserId>,
    /// The action, such as `user.role_changed`.
    pub action: String,
    /// What it was done to: usually an id.
    pub subject: String,
    /// Further details; never a secret.
    pub detail: serde_json::Value,
    /// IP address of the actor.
    pub ip: Option<String>,
}

/// Selects audit entries; a field that is `None` matches everything.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Actions of this user.
    pub actor: Option<UserId>,
    /// Actions on this subject.
    pub subject: Option<String>,
    /// Entries with this action.
    pub action: Option<String>,
    /// Actions of this user or on them.
    pub about: Option<UserId>,
}

/// Number of rows of each kind that housekeeping deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeCounts {
    /// Expired refresh tokens.
    pub refresh_tokens: usize,
    /// Expired setup links.
    pub setup_links: usize,
    /// Old entries of the outbox.
    pub outbox: usize,
    /// Signing keys that were retired longer ago than any token they signed lives.
    pub keys: usize,
    /// Expired password reset links.
    pub reset_links: usize,
    /// Expired group invites.
    pub invites: usize,
    /// Jobs that ended a week ago.
    pub jobs: usize,
}
