//! Who did what, what is still to be told, and throwing away what is over.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::AuditId;

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{AuditEntry, AuditFilter, FencingTokenRow, NewAudit, PurgeCounts};
use crate::store::{Store, change, look};

impl Store {
    /// Remembers a deed that changed nothing in the store.
    pub async fn audit(&self, entry: NewAudit, now: Timestamp) -> Result<()> {
        change!(self, audit::audit(entry, now))
    }

    /// What was done, the newest first; `before` is the last one of the piece before.
    pub async fn audit_page(
        &self,
        filter: AuditFilter,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        let limit = rows(limit);
        look!(self, audit::audit_page(filter, before, limit))
    }

    /// How many entries the outbox has.
    pub async fn outbox_len(&self) -> Result<u64> {
        let count = look!(self, housekeeping::outbox_len())?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Throws away expired refresh tokens and setup links, entries of the outbox older than
    /// `outbox_older_than`, expired reset links and invites, jobs that ended a week ago, and
    /// signing keys retired more than 30 days ago. `None` if `fence` is void.
    pub async fn purge(
        &self,
        now: Timestamp,
        outbox_older_than: Duration,
        fence: Option<FencingTokenRow>,
    ) -> Result<Option<PurgeCounts>> {
        change!(self, housekeeping::purge(now, outbox_older_than, fence))
    }
}
