//! Data exports: one archive with all data of a user, created by a job, for its owner only.

mod attachments;
mod contents;

use std::net::IpAddr;
use std::time::Duration;

use base::clock::Clock;
use base::error::CodedError;
use base::ids::JobId;
use serde_json::json;
use store::{JobRow, JobState, NewJob, Store};

use super::DirectedEvent;
use super::accounts::audit;
use super::export_store::{ArchiveFile, ExportStore};
use super::files::FileService;
use super::jobs::{JobError, JobHandler};
use crate::cluster::BoxFuture;
use crate::domain::identity::Principal;
use crate::domain::job_kinds::EXPORT_JOB_KIND;
use crate::protocol::accounts::ExportPending;

/// Error of the export service.
#[derive(Clone, Debug, thiserror::Error, CodedError)]
pub enum ExportError {
    /// The account was deleted meanwhile.
    #[error("this account has been deleted")]
    #[code("exports/expired", NotFound)]
    Expired,
    /// The archive cannot be opened.
    #[error("the archive cannot be read: {0}")]
    #[code("internal", Internal)]
    Io(String),
    /// A database error.
    #[error(transparent)]
    #[code(transparent)]
    Store(#[from] store::StoreError),
}

/// Response to an export request.
#[derive(Debug)]
pub enum ExportStatus {
    /// The export job is not finished.
    Pending(ExportPending),
    /// The archive is ready for download.
    Ready(ArchiveFile),
}

/// Export service and job handler; cheap to clone.
#[derive(Clone)]
pub struct ExportService {
    store: Store,
    clock: Clock,
    exports: ExportStore,
    files: FileService,
    retention: Duration,
}

impl ExportService {
    /// Creates the service. `retention` is how long a finished archive is available.
    pub const fn new(
        store: Store,
        clock: Clock,
        exports: ExportStore,
        files: FileService,
        retention: Duration,
    ) -> Self {
        Self { store, clock, exports, files, retention }
    }

    /// Returns the caller's archive, or starts an export if there is none.
    ///
    /// # Errors
    /// [`ExportError::Expired`], [`ExportError::Io`], or a database error.
    pub async fn get(
        &self,
        principal: &Principal,
        ip: Option<IpAddr>,
    ) -> Result<ExportStatus, ExportError> {
        let mut missing = None;
        loop {
            let job = NewJob {
                id: JobId::new(),
                kind: EXPORT_JOB_KIND.to_owned(),
                user_id: Some(principal.user),
                payload: json!({}),
            };
            let entry = audit(
                Some(principal.user),
                "account.export_requested",
                principal.user.to_string(),
                ip,
            );
            let now = self.clock.now();
            let export =
                self.store.request_export(job, principal.user, missing, entry, now).await?;
            let export = export.ok_or(ExportError::Expired)?;
            if export.ready_at.is_none() {
                let state = match export.state {
                    JobState::Running => "running",
                    _ => "waiting",
                };
                return Ok(ExportStatus::Pending(ExportPending {
                    state,
                    created_at: export.created_at,
                }));
            }
            match self.exports.open(export.id).await {
                Ok(Some(ready)) => {
                    let action = "account.export_fetched";
                    let entry = audit(Some(principal.user), action, principal.user.to_string(), ip);
                    self.store.record_audit(entry, self.clock.now()).await?;
                    return Ok(ExportStatus::Ready(ready));
                }
                // File is missing: export again.
                Ok(None) if missing.is_none() => missing = Some(export.id),
                Ok(None) => return Err(ExportError::Io("archive disappeared again".to_owned())),
                Err(error) => return Err(ExportError::Io(error.to_string())),
            }
        }
    }

    async fn export(&self, job: &JobRow) -> Result<Vec<DirectedEvent>, JobError> {
        let user = job.user_id.ok_or_else(|| JobError::permanent("export job has no user id"))?;
        if self.store.existing_exports(vec![job.id]).await?.is_empty() {
            return Ok(Vec::new()); // the export was deleted
        }
        let mut archive = self.exports.begin(job.id, job.attempts);
        contents::write(&self.store, user, self.clock.now(), &mut archive).await?;
        attachments::write(&self.store, &self.files, user, &mut archive).await?;
        let size = archive.finish().await?;
        let now = self.clock.now();
        if !self.store.finish_export(job.id, size, now + self.retention, now).await? {
            self.exports.sweep(&self.store).await?; // the account was deleted meanwhile
        }
        Ok(Vec::new())
    }
}

impl JobHandler for ExportService {
    fn kind(&self) -> &'static str {
        EXPORT_JOB_KIND
    }

    fn run<'a>(&'a self, job: &'a JobRow) -> BoxFuture<'a, Result<Vec<DirectedEvent>, JobError>> {
        Box::pin(self.export(job))
    }

    fn reap_expired(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Err(error) = self.store.expire_exports(self.clock.now()).await {
                tracing::warn!(%error, "export expiry failed");
            }
            if let Err(error) = self.exports.sweep(&self.store).await {
                tracing::warn!(%error, "export store sweep failed");
            }
        })
    }
}
