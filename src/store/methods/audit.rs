//! The audit log, the outbox, and the deletion of expired rows.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::AuditId;

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{AuditEntry, AuditFilter, FencingTokenRow, NewAudit, PurgeCounts};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Records an action that changed nothing else in the store.
    pub async fn record_audit(&self, entry: NewAudit, now: Timestamp) -> Result<()> {
        write_tx!(self, audit::audit(entry, now))
    }

    /// Audit entries, newest first; `before` is the last one of the previous page.
    pub async fn audit_page(
        &self,
        filter: AuditFilter,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, audit::audit_page(filter, before, limit))
    }

    /// Number of entries in the outbox.
    pub async fn outbox_len(&self) -> Result<u64> {
        let count = read_tx!(self, housekeeping::outbox_len())?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Deletes expired refresh tokens and setup links, outbox entries older than
    /// `outbox_older_than`, expired reset links and invites, jobs that ended a week ago, and
    /// signing keys retired more than 30 days ago. `None` if the fencing token is stale.
    pub async fn purge(
        &self,
        now: Timestamp,
        outbox_older_than: Duration,
        token: Option<FencingTokenRow>,
    ) -> Result<Option<PurgeCounts>> {
        write_tx!(self, housekeeping::purge(now, outbox_older_than, token))
    }
}
