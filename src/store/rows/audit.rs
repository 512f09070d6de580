//! Who did what, and what housekeeping threw away.

use base::clock::Timestamp;
use base::ids::{AuditId, UserId};
use diesel::prelude::{Queryable, Selectable};

use crate::schema::audit_entries;

/// Something to be remembered, written in the transaction that did it.
#[derive(Clone, Debug)]
pub struct NewAudit {
    /// Who did it; nobody if the service did, or somebody not signed in.
    pub actor: Option<UserId>,
    /// What, such as `user.role_changed`.
    pub action: String,
    /// To whom or what: an id, most often.
    pub subject: String,
    /// What else is worth knowing; never a secret.
    pub detail: serde_json::Value,
    /// From where.
    pub ip: Option<String>,
}

/// Something remembered.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = audit_entries)]
pub struct AuditEntry {
    /// Which; later ones sort later.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub actor: Option<UserId>,
    /// What.
    pub action: String,
    /// To whom or what.
    pub subject: String,
    /// What else is worth knowing.
    pub detail: serde_json::Value,
    /// From where.
    pub ip: Option<String>,
}

/// Which of what is remembered; what is left out fits everything.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Done by this person.
    pub actor: Option<UserId>,
    /// Done to this.
    pub subject: Option<String>,
    /// This was done.
    pub action: Option<String>,
    /// Done by this person, or to them.
    pub about: Option<UserId>,
}

/// How many rows of each kind housekeeping threw away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeCounts {
    /// Expired refresh tokens.
    pub refresh_tokens: usize,
    /// Expired setup links.
    pub setup_links: usize,
    /// Old entries of the outbox.
    pub outbox: usize,
    /// Signing keys retired longer ago than any token they signed lives.
    pub keys: usize,
    /// Expired links to a new password.
    pub reset_links: usize,
    /// Expired invites into groups.
    pub invites: usize,
    /// Jobs that ended a week ago.
    pub jobs: usize,
}
