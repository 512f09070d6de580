//! Resumable uploads: a file that comes piece by piece, over hours and restarts if need be.
//!
//! What it will be is a row; how far it is, the length of its file on the desk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use base::ids::{UploadId, UserId};
use bytes::Bytes;
use store::AddUploadOutcome;

use super::staging::run_blocking;
use super::{FileError, FileService, StoredFileParts, content_type};
use crate::protocol::files as wire;

/// What uploads may be for; builds of apps will come the same way.
const PURPOSES: [&str; 1] = ["attachment"];

/// An upload to be begun.
#[derive(Clone, Debug)]
pub struct CreateUpload {
    /// How many bytes it will have.
    pub size: u64,
    /// What the file is called.
    pub called: String,
    /// What for; an attachment if it is not said.
    pub purpose: Option<String>,
}

/// An upload that is open for writing; one process holds it at a time.
#[derive(Debug)]
pub struct UploadFile {
    /// Its row.
    pub upload: store::UploadRow,
    /// How many bytes were here when it was opened.
    pub offset: u64,
    file: Arc<File>,
}

/// What a whole upload has become.
pub type CompletedUpload = wire::UploadedAttachment;

impl FileService {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`FileError::BadUpload`], [`FileError::TooLarge`], [`FileError::OverQuota`],
    /// [`FileError::TooManyUploads`], or the database's.
    pub async fn begin_upload(
        &self,
        owner: UserId,
        new: CreateUpload,
    ) -> Result<wire::UploadView, FileError> {
        let config = &self.0.config;
        let purpose = new.purpose.unwrap_or_else(|| PURPOSES[0].to_owned());
        if !PURPOSES.contains(&purpose.as_str()) {
            return Err(FileError::BadUpload("an upload has the purpose `attachment`"));
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
            name: content_type::display_name(&new.called),
            size: i64::try_from(new.size).unwrap_or(i64::MAX),
            expires_at: now + config.upload_ttl(),
        };
        let (id, expires_at) = (row.id, row.expires_at);
        match self.0.store.add_upload(row, self.quota(), now).await? {
            AddUploadOutcome::Added => {}
            AddUploadOutcome::OverQuota => {
                return Err(FileError::OverQuota(config.user_quota_bytes));
            }
            AddUploadOutcome::LimitReached => return Err(FileError::TooManyUploads),
            AddUploadOutcome::UserNotFound => return Err(FileError::NoSuchUpload),
        }
        Ok(wire::UploadView { id, offset: 0, size: new.size, attachment_id: None, expires_at })
    }

    /// How far an upload is, for its owner.
    ///
    /// # Errors
    /// [`FileError::NoSuchUpload`], the disk's or the database's.
    pub async fn upload(&self, owner: UserId, id: UploadId) -> Result<wire::UploadView, FileError> {
        let row = self.0.store.upload(id, owner).await?.ok_or(FileError::NoSuchUpload)?;
        let size = u64::try_from(row.size).unwrap_or(0);
        let offset = match row.attachment_id {
            Some(_) => size,
            None => self.0.staging.length(id).await?,
        };
        let (attachment_id, expires_at) = (row.attachment_id, row.expires_at);
        Ok(wire::UploadView { id, offset, size, attachment_id, expires_at })
    }

    /// Opens an upload to go on with it.
    ///
    /// # Errors
    /// [`FileError::NoSuchUpload`], [`FileError::Elsewhere`], the disk's or the database's.
    pub async fn open_upload(&self, owner: UserId, id: UploadId) -> Result<UploadFile, FileError> {
        let upload = self.0.store.upload(id, owner).await?.ok_or(FileError::NoSuchUpload)?;
        if upload.attachment_id.is_some() {
            return Err(FileError::WrongOffset); // it is whole
        }
        let opened = self.0.staging.open(id).await?;
        let (file, offset) = opened.ok_or(FileError::Elsewhere)?;
        Ok(UploadFile { upload, offset, file: Arc::new(file) })
    }

    /// Ends an upload before it is whole, or forgets one that is.
    ///
    /// # Errors
    /// [`FileError::NoSuchUpload`], the disk's or the database's.
    pub async fn end_upload(&self, owner: UserId, id: UploadId) -> Result<(), FileError> {
        if !self.0.store.remove_upload(id, owner).await? {
            return Err(FileError::NoSuchUpload);
        }
        Ok(self.0.staging.remove(id).await?)
    }

    /// Keeps an upload that is whole. One that is refused for what it is, ends.
    ///
    /// # Errors
    /// As [`FileService::keep`].
    pub async fn finish_upload(
        &self,
        upload: &store::UploadRow,
    ) -> Result<CompletedUpload, FileError> {
        let path = self.0.staging.place(upload.id);
        let size = u64::try_from(upload.size).unwrap_or(0);
        let (owner, called) = (upload.owner_id, upload.name.as_str());
        let bundle = StoredFileParts { owner, called, path: &path, size, upload: Some(upload.id) };
        let made = self.take_in(bundle).await;
        let refused = matches!(
            made,
            Err(FileError::TooLarge(_)
                | FileError::TooManyPixels(_)
                | FileError::BadPicture
                | FileError::OverQuota(_)
                | FileError::NoSuchUpload)
        );
        if refused {
            self.0.store.remove_upload(upload.id, owner).await?;
        }
        if refused || made.is_ok() {
            self.0.staging.remove(upload.id).await?;
        }
        made
    }
}

impl UploadFile {
    /// Writes at an offset; the future lives apart from the tape.
    pub fn write(
        &self,
        at: u64,
        piece: Bytes,
    ) -> impl Future<Output = Result<(), FileError>> + use<> {
        let file = self.file.clone();
        async move { Ok(run_blocking(move || file.write_all_at(&piece, at)).await?) }
    }

    /// Cuts it off there.
    pub fn cut(&self, at: u64) -> impl Future<Output = Result<(), FileError>> + use<> {
        let file = self.file.clone();
        async move { Ok(run_blocking(move || file.set_len(at)).await?) }
    }

    /// Has the disk keep what was written.
    pub fn keep(&self) -> impl Future<Output = Result<(), FileError>> + use<> {
        let file = self.file.clone();
        async move { Ok(run_blocking(move || file.sync_data()).await?) }
    }
}
