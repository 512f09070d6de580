//! Exports: one archive with everything of a person, made as a job, for its owner alone.

mod attachments;
mod contents;

use std::net::IpAddr;
use std::time::Duration;

use base::clock::Clock;
use base::error::{CodedError, ErrorKind};
use base::ids::JobId;
use serde_json::json;
use store::{JobRow, JobState, NewJob, Store};

use super::DirectedEvent;
use super::accounts::{Principal, audit};
use super::export_store::{ArchiveFile, ExportStore};
use super::files::FileService;
use super::jobs::{JobError, JobHandler};
use crate::cluster::BoxFuture;
use crate::protocol::accounts::ExportPending;

/// The kind of its jobs.
pub const KIND: &str = "account.export";

/// Why there is no archive.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExportError {
    /// The account ended meanwhile.
    #[error("this account is no more")]
    Gone,
    /// The disk.
    #[error("the archive cannot be read: {0}")]
    Disk(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl CodedError for ExportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Gone => ErrorKind::NotFound,
            Self::Disk(_) => ErrorKind::Internal,
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Gone => "exports/expired",
            Self::Disk(_) => "internal",
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        if let Self::Store(e) = self { e.retry_after() } else { None }
    }
}

/// What a person is given who asks for their archive.
#[derive(Debug)]
pub enum ExportStatus {
    /// Not yet.
    Soon(ExportPending),
    /// Here.
    Here(ArchiveFile),
}

/// The deeds of this area, and the work behind them; cheap to clone.
#[derive(Clone)]
pub struct ExportService {
    store: Store,
    clock: Clock,
    shelf: ExportStore,
    files: FileService,
    kept: Duration,
}

impl ExportService {
    /// Puts the parts together; `kept` is how long an archive waits for its owner.
    pub const fn new(
        store: Store,
        clock: Clock,
        shelf: ExportStore,
        files: FileService,
        kept: Duration,
    ) -> Self {
        Self { store, clock, shelf, files, kept }
    }

    /// The person's archive; if there is none, one is begun.
    ///
    /// # Errors
    /// [`ExportError::Gone`], [`ExportError::Disk`], or the database's.
    pub async fn get(
        &self,
        me: &Principal,
        ip: Option<IpAddr>,
    ) -> Result<ExportStatus, ExportError> {
        let mut lost = None;
        loop {
            let job = NewJob {
                id: JobId::new(),
                kind: KIND.to_owned(),
                user_id: Some(me.user),
                payload: json!({}),
            };
            let entry = audit(Some(me.user), "account.export_requested", me.user.to_string(), ip);
            let now = self.clock.now();
            let export = self.store.request_export(job, me.user, lost, entry, now).await?;
            let export = export.ok_or(ExportError::Gone)?;
            if export.ready_at.is_none() {
                let state = match export.state {
                    JobState::Running => "running",
                    _ => "waiting",
                };
                return Ok(ExportStatus::Soon(ExportPending {
                    state,
                    created_at: export.created_at,
                }));
            }
            match self.shelf.open(export.id).await {
                Ok(Some(ready)) => {
                    let action = "account.export_fetched";
                    let entry = audit(Some(me.user), action, me.user.to_string(), ip);
                    self.store.record_audit(entry, self.clock.now()).await?;
                    return Ok(ExportStatus::Here(ready));
                }
                Ok(None) if lost.is_none() => lost = Some(export.id), // to be made anew
                Ok(None) => return Err(ExportError::Disk("it is gone again".to_owned())),
                Err(error) => return Err(ExportError::Disk(error.to_string())),
            }
        }
    }

    async fn make(&self, job: &JobRow) -> Result<Vec<DirectedEvent>, JobError> {
        let user = job.user_id.ok_or_else(|| JobError::permanent("a job about nobody"))?;
        if self.store.existing_exports(vec![job.id]).await?.is_empty() {
            return Ok(Vec::new()); // nobody wants it any more
        }
        let mut archive = self.shelf.begin(job.id, job.attempts);
        contents::write(&self.store, user, self.clock.now(), &mut archive).await?;
        attachments::write(&self.store, &self.files, user, &mut archive).await?;
        let size = archive.finish().await?;
        let now = self.clock.now();
        if !self.store.finish_export(job.id, size, now + self.kept, now).await? {
            self.shelf.sweep(&self.store).await?; // the account ended meanwhile
        }
        Ok(Vec::new())
    }
}

impl JobHandler for ExportService {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn run<'a>(&'a self, job: &'a JobRow) -> BoxFuture<'a, Result<Vec<DirectedEvent>, JobError>> {
        Box::pin(self.make(job))
    }

    fn reap_expired(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Err(error) = self.store.expire_exports(self.clock.now()).await {
                tracing::warn!(%error, "export expiry failed");
            }
            if let Err(error) = self.shelf.sweep(&self.store).await {
                tracing::warn!(%error, "export store sweep failed");
            }
        })
    }
}
