//! Resumable uploads: a file received in several requests, across hours and restarts.
//!
//! The upload is a database row; its offset is the length of its staging file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use base::ids::{UploadId, UserId};
use bytes::Bytes;
use store::AddUploadOutcome;

use super::staging::run_blocking;
use super::{FileError, FileService, StoredFileParts, content_type};
use crate::protocol::files as wire;

/// Allowed purposes of uploads.
const PURPOSES: [&str; 1] = ["attachment"];

/// A resumable upload to create.
#[derive(Clone, Debug)]
pub struct CreateUpload {
    /// Total size in bytes.
    pub size: u64,
    /// File name for display.
    pub display_name: String,
    /// Purpose; an attachment if absent.
    pub purpose: Option<String>,
}

/// A locked upload that is open for writing.
#[derive(Debug)]
pub struct UploadFile {
    /// Database row of the upload.
    pub upload: store::UploadRow,
    /// Length in bytes when it was opened.
    pub offset: u64,
    file: Arc<File>,
}

/// The attachment that a completed upload became.
pub type CompletedUpload = wire::UploadedAttachment;

impl FileService {
    /// Creates an upload.
    ///
    /// # Errors
    /// [`FileError::InvalidUpload`], [`FileError::TooLarge`], [`FileError::QuotaExceeded`],
    /// [`FileError::UploadLimitReached`], or a database error.
    pub async fn begin_upload(
        &self,
        owner: UserId,
        new: CreateUpload,
    ) -> Result<wire::UploadView, FileError> {
        let config = &self.0.config;
        let purpose = new.purpose.unwrap_or_else(|| PURPOSES[0].to_owned());
        if !PURPOSES.contains(&purpose.as_str()) {
            return Err(FileError::InvalidUpload("the purpose of an upload must be `attachment`"));
        }
        if new.size == 0 {
            return Err(FileError::Empty);
        }
        if new.size > config.max_bytes {
            return Err(FileError::TooLarge(config.max_bytes));
        }
        let now = self.0.clock.now();
        let row = store::NewUploadRow {
            id: UploadId::new(),
            owner,
            purpose,
            name: content_type::display_name(&new.display_name),
            size: i64::try_from(new.size).unwrap_or(i64::MAX),
            expires_at: now + config.upload_ttl(),
        };
        let (id, expires_at) = (row.id, row.expires_at);
        match self.0.store.add_upload(row, self.quota(), now).await? {
            AddUploadOutcome::Added => {}
            AddUploadOutcome::OverQuota => {
                return Err(FileError::QuotaExceeded(config.user_quota_bytes));
            }
            AddUploadOutcome::LimitReached => return Err(FileError::UploadLimitReached),
            AddUploadOutcome::UserNotFound => return Err(FileError::UploadNotFound),
        }
        Ok(wire::UploadView { id, offset: 0, size: new.size, attachment_id: None, expires_at })
    }

    /// State of an upload, for its owner.
    ///
    /// # Errors
    /// [`FileError::UploadNotFound`], a disk or database error.
    pub async fn upload(&self, owner: UserId, id: UploadId) -> Result<wire::UploadView, FileError> {
        let row = self.0.store.upload(id, owner).await?.ok_or(FileError::UploadNotFound)?;
        let size = u64::try_from(row.size).unwrap_or(0);
        let offset = match row.attachment_id {
            Some(_) => size,
            None => self.0.staging.length(id).await?,
        };
        let (attachment_id, expires_at) = (row.attachment_id, row.expires_at);
        Ok(wire::UploadView { id, offset, size, attachment_id, expires_at })
    }

    /// Opens an upload to continue it.
    ///
    /// # Errors
    /// [`FileError::UploadNotFound`], [`FileError::LockedByOtherNode`], a disk or database error.
    pub async fn open_upload(&self, owner: UserId, id: UploadId) -> Result<UploadFile, FileError> {
        let upload = self.0.store.upload(id, owner).await?.ok_or(FileError::UploadNotFound)?;
        if upload.attachment_id.is_some() {
            return Err(FileError::OffsetMismatch); // it is complete
        }
        let opened = self.0.staging.open(id).await?;
        let (file, offset) = opened.ok_or(FileError::LockedByOtherNode)?;
        Ok(UploadFile { upload, offset, file: Arc::new(file) })
    }

    /// Deletes an upload. The attachment of a completed upload remains.
    ///
    /// # Errors
    /// [`FileError::UploadNotFound`], a disk or database error.
    pub async fn end_upload(&self, owner: UserId, id: UploadId) -> Result<(), FileError> {
        if !self.0.store.remove_upload(id, owner).await? {
            return Err(FileError::UploadNotFound);
        }
        Ok(self.0.staging.remove(id).await?)
    }

    /// Turns a complete upload into an attachment. An upload with rejected content is deleted.
    ///
    /// # Errors
    /// As [`FileService::store_file`].
    pub async fn finish_upload(
        &self,
        upload: &store::UploadRow,
    ) -> Result<CompletedUpload, FileError> {
        let path = self.0.staging.upload_path(upload.id);
        let size = u64::try_from(upload.size).unwrap_or(0);
        let (owner, display_name) = (upload.owner_id, upload.name.as_str());
        let file =
            StoredFileParts { owner, display_name, path: &path, size, upload: Some(upload.id) };
        let result = self.process_and_store(file).await;
        let rejected = matches!(
            result,
            Err(FileError::TooLarge(_)
                | FileError::ImageTooLarge(_)
                | FileError::InvalidImage
                | FileError::QuotaExceeded(_)
                | FileError::UploadNotFound)
        );
        if rejected {
            self.0.store.remove_upload(upload.id, owner).await?;
        }
        if rejected || result.is_ok() {
            self.0.staging.remove(upload.id).await?;
        }
        result
    }
}

impl UploadFile {
    /// Writes bytes at an offset. The future does not borrow the file.
    pub fn write(
        &self,
        at: u64,
        chunk: Bytes,
    ) -> impl Future<Output = Result<(), FileError>> + use<> {
        let file = self.file.clone();
        async move { Ok(run_blocking(move || file.write_all_at(&chunk, at)).await?) }
    }

    /// Truncates the file at an offset.
    pub fn truncate(&self, at: u64) -> impl Future<Output = Result<(), FileError>> + use<> {
        let file = self.file.clone();
        async move { Ok(run_blocking(move || file.set_len(at)).await?) }
    }

    /// Flushes written data to disk.
    pub fn sync(&self) -> impl Future<Output = Result<(), FileError>> + use<> {
        let file = self.file.clone();
        async move { Ok(run_blocking(move || file.sync_data()).await?) }
    }
}
