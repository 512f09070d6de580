//! Files: upload, content detection, deduplicated storage, download.

mod content_type;
mod error;
mod garbage_collection;
mod image;
mod intake;
mod metadata;
mod probe;
mod staging;
mod uploads;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Clock;
use base::ids::{AttachmentId, BlobId, UploadId, UserId};
pub use content_type::is_displayable;
pub use error::FileError;
pub use intake::IntakePermit;
use metrics::counter;
pub use staging::CHUNK_BYTES;
use store::{AddAttachmentOutcome, BlobClaimOutcome, BlobRow, NewAttachmentRow, Quota, Store};
pub use uploads::{CompletedUpload, CreateUpload, UploadFile};

use self::content_type::ImageFormat;
use self::image::{ImageProcessor, ProcessedImage};
use self::intake::IntakeLimiter;
use self::probe::AvInfo;
use self::staging::{StagedFile, StagingDir};
use crate::config;
use crate::integrations::blob_store::{BlobKey, BlobStore, ByteStream, hex};
use crate::limits::MAX_CLAIM_ATTEMPTS;
use crate::protocol::files as wire;
use crate::telemetry::metrics::{FILE_BYTES, FILES};

/// Maximum time to store one file; well below the lifetime of its blob claim.
const STORAGE_PUT_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// File service; cheap to clone.
#[derive(Clone)]
pub struct FileService(Arc<FileServiceInner>);

struct FileServiceInner {
    store: Store,
    clock: Clock,
    blobs: Arc<dyn BlobStore>,
    staging: StagingDir,
    images: ImageProcessor,
    config: config::FilesConfig,
    intake: IntakeLimiter,
}

/// A file being uploaded. If dropped before it is stored, its bytes are removed.
#[derive(Debug)]
pub struct IncomingFile {
    staged: StagedFile,
    max_bytes: u64,
    _permit: IntakePermit,
}

/// A file that the caller may download.
#[derive(Debug)]
pub struct FileDownload {
    /// Key of the content in the blob store.
    pub key: BlobKey,
    /// Size in bytes.
    pub size: u64,
    /// Media type of the content.
    pub content_type: String,
    /// File name for display.
    pub display_name: String,
}

/// A complete file to be stored.
struct StoredFileParts<'a> {
    owner: UserId,
    display_name: &'a str,
    path: &'a Path,
    size: u64,
    upload: Option<UploadId>,
}

/// Width and height in pixels.
type Dimensions = (i64, i64);
/// Staged thumbnail and its SHA-256.
type Thumbnail = (StagedFile, Vec<u8>);

/// Properties found in the content of a file.
struct ContentInfo {
    info: AvInfo,
    thumbnail: Option<Thumbnail>,
}

impl FileService {
    /// Creates the service. `blobs` stores the content; incomplete files are staged below `folder`.
    pub fn new(
        store: Store,
        clock: Clock,
        blobs: Arc<dyn BlobStore>,
        folder: &Path,
        config: config::FilesConfig,
    ) -> Self {
        let staging = StagingDir::new(folder.join("uploads"));
        let images = ImageProcessor::new(&config);
        let intake = IntakeLimiter::new(config.max_concurrent_uploads);
        Self(Arc::new(FileServiceInner { store, clock, blobs, staging, images, config, intake }))
    }

    fn quota(&self) -> Quota {
        Quota {
            bytes: i64::try_from(self.0.config.user_quota_bytes).unwrap_or(i64::MAX),
            uploads: self.0.config.max_resumable_uploads_per_user.into(),
        }
    }

    /// Takes a permit for a concurrent upload.
    ///
    /// # Errors
    /// [`FileError::Overloaded`].
    pub fn acquire_permit(&self, user: UserId) -> Result<IntakePermit, FileError> {
        self.0.intake.acquire(user)
    }

    /// Starts an upload. `announced` is the content length of the request in bytes.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], [`FileError::QuotaExceeded`], [`FileError::Overloaded`], or a
    /// database error.
    pub async fn begin(
        &self,
        owner: UserId,
        announced: Option<u64>,
    ) -> Result<IncomingFile, FileError> {
        let FileServiceInner { config, store, .. } = &*self.0;
        // The content length includes the multipart framing, for which 8 KiB are allowed.
        let announced = announced.unwrap_or(0).saturating_sub(8 * 1024);
        if announced > config.max_bytes {
            return Err(FileError::TooLarge(config.max_bytes));
        }
        let used = u64::try_from(store.used_bytes(owner).await?).unwrap_or(0);
        if used.saturating_add(announced) >= config.user_quota_bytes {
            return Err(FileError::QuotaExceeded(config.user_quota_bytes));
        }
        let permit = self.acquire_permit(owner)?;
        let staged = self.0.staging.begin().await?;
        Ok(IncomingFile { staged, max_bytes: config.max_bytes, _permit: permit })
    }

    /// Stores an uploaded file.
    ///
    /// # Errors
    /// Validation errors, [`FileError::QuotaExceeded`], a storage or database error.
    pub async fn store_file(
        &self,
        owner: UserId,
        display_name: &str,
        mut incoming: IncomingFile,
    ) -> Result<wire::UploadedAttachment, FileError> {
        incoming.staged.flush().await?;
        let (path, size) = (incoming.staged.path(), incoming.staged.size);
        self.process_and_store(StoredFileParts { owner, display_name, path, size, upload: None })
            .await
    }

    /// Validates a complete file, removes image metadata and stores it.
    async fn process_and_store(
        &self,
        file: StoredFileParts<'_>,
    ) -> Result<wire::UploadedAttachment, FileError> {
        let FileServiceInner { staging, images, .. } = &*self.0;
        if file.size == 0 {
            return Err(FileError::Empty);
        }
        let (head, mut hash) = staging::read_through(file.path, content_type::HEAD_BYTES).await?;
        let content_type = content_type::content_type(&head);
        let Some(format) = ImageFormat::of(content_type) else {
            let info = probe::probe(images, content_type, file.path).await;
            let content_type = if info.is_audio_only {
                content_type::as_audio_type(content_type)
            } else {
                content_type
            };
            let contents = ContentInfo { info, thumbnail: None };
            return self.store_content(&file, content_type, &hash, contents).await;
        };
        let processed = images.process(format, file.path.to_owned(), file.size).await?;
        let ProcessedImage { pixels, bytes, thumbnail } = processed;
        let size = bytes.len() as u64;
        let staged = staging.with(bytes).await?;
        hash = staging::read_through(staged.path(), 0).await?.1;
        let thumbnail = match thumbnail {
            Some(thumbnail) => {
                let part = staging.with(thumbnail).await?;
                let hash = staging::read_through(part.path(), 0).await?.1;
                Some((part, hash))
            }
            None => None,
        };
        let file = StoredFileParts { path: staged.path(), size, ..file };
        let info = AvInfo { pixels: Some(pixels), ..AvInfo::default() };
        self.store_content(&file, content_type, &hash, ContentInfo { info, thumbnail }).await
    }

    /// Stores the content and thumbnail and adds the attachment.
    async fn store_content(
        &self,
        file: &StoredFileParts<'_>,
        content_type: &str,
        hash: &[u8],
        content: ContentInfo,
    ) -> Result<wire::UploadedAttachment, FileError> {
        let FileServiceInner { store, clock, config, .. } = &*self.0;
        for _ in 0..MAX_CLAIM_ATTEMPTS {
            let (blob, shared) = self.store_blob(file.path, file.size, hash).await?;
            let thumbnail = match &content.thumbnail {
                Some((staged, hash)) => {
                    Some(self.store_blob(staged.path(), staged.size, hash).await?)
                }
                None => None,
            };
            let expires_at = clock.now() + config.unreferenced_ttl();
            let new = NewAttachmentRow {
                id: AttachmentId::new(),
                owner: file.owner,
                blob,
                thumbnail: thumbnail.map(|(id, _)| id),
                name: content_type::display_name(file.display_name),
                content_type: content_type.to_owned(),
                size: i64::try_from(file.size).unwrap_or(i64::MAX),
                pixels: content.info.pixels,
                duration_ms: content.info.duration_ms,
                upload: file.upload,
                expires_at,
            };
            let attachment = match store.add_attachment(new, self.quota(), clock.now()).await? {
                AddAttachmentOutcome::Added(attachment)
                | AddAttachmentOutcome::AlreadyAdded(attachment) => attachment,
                AddAttachmentOutcome::OverQuota => {
                    return Err(FileError::QuotaExceeded(config.user_quota_bytes));
                }
                AddAttachmentOutcome::NotFound => return Err(FileError::UploadNotFound),
                AddAttachmentOutcome::ClaimsLost(removed) => {
                    // The blob was removed after its claim ended; its key is never used again.
                    let thumbnail_hash =
                        content.thumbnail.as_ref().map(|(_, hash)| hash.as_slice());
                    let stored =
                        [Some((blob, hash)), thumbnail.map(|(id, _)| id).zip(thumbnail_hash)];
                    for (id, hash) in stored.into_iter().flatten() {
                        if removed.contains(&id) {
                            self.0.blobs.remove(&BlobKey::new(hash, id)).await?;
                        }
                    }
                    continue;
                }
            };
            counter!(FILES, "outcome" => if shared { "shared" } else { "kept" }).increment(1);
            counter!(FILE_BYTES, "direction" => "in").increment(file.size);
            let (attachment, sha256) = (view(attachment), hex(hash));
            return Ok(wire::UploadedAttachment { attachment, sha256, expires_at });
        }
        Err(FileError::Overloaded)
    }

    /// Stores content unless it is stored already. Returns the blob id and whether it existed
    /// before.
    async fn store_blob(
        &self,
        path: &Path,
        size: u64,
        hash: &[u8],
    ) -> Result<(BlobId, bool), FileError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let new = BlobRow { id: BlobId::new(), hash: hash.to_vec(), size };
        match self.0.store.claim_blob(new, self.0.clock.now()).await? {
            BlobClaimOutcome::Stored(id) => Ok((id, true)),
            BlobClaimOutcome::UploadNeeded(id) => {
                let name = BlobKey::new(hash, id);
                let stored =
                    tokio::time::timeout(STORAGE_PUT_TIMEOUT, self.0.blobs.put(&name, path)).await;
                stored.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                Ok((id, false))
            }
        }
    }

    /// Finds an attachment visible to the user.
    ///
    /// # Errors
    /// [`FileError::FileNotFound`], or a database error.
    pub async fn find(&self, viewer: UserId, id: AttachmentId) -> Result<FileDownload, FileError> {
        let found = self.0.store.attachment(id, viewer, self.0.clock.now()).await?;
        let (file, blob) = found.ok_or(FileError::FileNotFound)?;
        Ok(FileDownload {
            key: BlobKey::new(&blob.hash, blob.id),
            size: u64::try_from(blob.size).unwrap_or(0),
            content_type: file.content_type,
            display_name: file.name,
        })
    }

    /// Finds the thumbnail of an attachment visible to the user.
    ///
    /// # Errors
    /// [`FileError::FileNotFound`], or a database error.
    pub async fn thumbnail(
        &self,
        viewer: UserId,
        id: AttachmentId,
    ) -> Result<FileDownload, FileError> {
        let blob = self.0.store.thumbnail(id, viewer, self.0.clock.now()).await?;
        let blob = blob.ok_or(FileError::FileNotFound)?;
        Ok(FileDownload {
            key: BlobKey::new(&blob.hash, blob.id),
            size: u64::try_from(blob.size).unwrap_or(0),
            content_type: "image/jpeg".to_owned(),
            display_name: "thumbnail.jpg".to_owned(),
        })
    }

    /// Streams a byte range of a file.
    ///
    /// # Errors
    /// [`FileError::FileNotFound`] if it was removed meanwhile, or a storage error.
    pub async fn read(&self, name: &BlobKey, range: Range<u64>) -> Result<ByteStream, FileError> {
        let size = range.end.saturating_sub(range.start);
        match self.0.blobs.read(name, range).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileError::FileNotFound),
            read => {
                counter!(FILE_BYTES, "direction" => "out").increment(size);
                Ok(read?)
            }
        }
    }
}

impl IncomingFile {
    /// Appends bytes to the file.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], or a disk error.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), FileError> {
        if self.staged.size + chunk.len() as u64 > self.max_bytes {
            return Err(FileError::TooLarge(self.max_bytes));
        }
        Ok(self.staged.write(chunk).await?)
    }
}

/// An attachment as others see it.
pub fn view(row: store::AttachmentRow) -> wire::AttachmentView {
    wire::AttachmentView {
        id: row.id,
        name: row.name,
        size: row.size,
        content_type: row.content_type,
        width: row.width,
        height: row.height,
        duration_ms: row.duration_ms,
        thumbnail: row.thumbnail_id.is_some(),
    }
}
