//! Files: taken in, judged, kept once for the same content, given to those who may see them.

mod content_type;
mod error;
mod garbage_collection;
mod image;
mod intake;
mod metadata;
mod probe;
mod staging;
mod uploads;

pub use content_type::may_show;
pub use error::FileError;
pub use intake::IntakePermit;
pub use staging::PIECE;
pub use uploads::{CompletedUpload, CreateUpload, UploadFile};

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Clock;
use base::ids::{AttachmentId, BlobId, UploadId, UserId};
use metrics::counter;
use store::{AddAttachmentOutcome, BlobClaimOutcome, BlobRow, NewAttachmentRow, Quota, Store};

use self::content_type::ImageFormat;
use self::image::{ImageProcessor, ProcessedImage};
use self::intake::IntakeLimiter;
use self::probe::AvInfo;
use self::staging::{StagedFile, StagingDir};
use crate::config;
use crate::integrations::blob_store::{BlobKey, BlobStore, ByteStream, hex};
use crate::protocol::files as wire;
use crate::telemetry::metrics::{FILE_BYTES, FILES};

/// Storage that takes longer for one file is given up, well before its claim ends.
const STORAGE_PUT_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// So often bytes are claimed again that went while they were put.
const MAX_CLAIM_ATTEMPTS: usize = 5;

/// The deeds of this area; cheap to clone.
#[derive(Clone)]
pub struct FileService(Arc<FileServiceInner>);

struct FileServiceInner {
    store: Store,
    clock: Clock,
    blobs: Arc<dyn BlobStore>,
    staging: StagingDir,
    studio: ImageProcessor,
    config: config::FilesConfig,
    places: IntakeLimiter,
}

/// A file that is being sent; dropped before it is kept, it was never here.
#[derive(Debug)]
pub struct IncomingFile {
    part: StagedFile,
    most: u64,
    _place: IntakePermit,
}

/// A file for somebody who may see it.
#[derive(Debug)]
pub struct FileDownload {
    /// Where its bytes are.
    pub name: BlobKey,
    /// How many.
    pub size: u64,
    /// What it is.
    pub content_type: String,
    /// What it is called.
    pub called: String,
}

/// What is to be kept.
struct StoredFileParts<'a> {
    owner: UserId,
    called: &'a str,
    path: &'a Path,
    size: u64,
    upload: Option<UploadId>,
}

/// Width and height.
type Dimensions = (i64, i64);
/// A small picture and its hash.
type Thumbnail = (StagedFile, Vec<u8>);

/// What was found in a file.
struct ContentInfo {
    shape: AvInfo,
    small: Option<Thumbnail>,
}

impl FileService {
    /// Files whose bytes `blobs` keeps; `folder` is where they lie until they are whole.
    pub fn new(
        store: Store,
        clock: Clock,
        blobs: Arc<dyn BlobStore>,
        folder: &Path,
        config: config::FilesConfig,
    ) -> Self {
        let staging = StagingDir::new(folder.join("uploads"));
        let studio = ImageProcessor::new(&config);
        let places = IntakeLimiter::new(config.max_concurrent_uploads);
        Self(Arc::new(FileServiceInner { store, clock, blobs, staging, studio, config, places }))
    }

    fn quota(&self) -> Quota {
        Quota {
            bytes: i64::try_from(self.0.config.user_quota_bytes).unwrap_or(i64::MAX),
            uploads: self.0.config.max_resumable_uploads_per_user.into(),
        }
    }

    /// A place among those who send files at the same time.
    ///
    /// # Errors
    /// [`FileError::Busy`].
    pub fn place(&self, who: UserId) -> Result<IntakePermit, FileError> {
        self.0.places.take(who)
    }

    /// Begins to take a file in; `announced` is how many bytes the request says it has.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], [`FileError::OverQuota`], [`FileError::Busy`], or the database's.
    pub async fn begin(
        &self,
        owner: UserId,
        announced: Option<u64>,
    ) -> Result<IncomingFile, FileError> {
        let FileServiceInner { config, store, .. } = &*self.0;
        // A request says the size of its wrapping too.
        let announced = announced.unwrap_or(0).saturating_sub(8 * 1024);
        if announced > config.max_bytes {
            return Err(FileError::TooLarge(config.max_bytes));
        }
        let kept = u64::try_from(store.used_bytes(owner).await?).unwrap_or(0);
        if kept.saturating_add(announced) >= config.user_quota_bytes {
            return Err(FileError::OverQuota(config.user_quota_bytes));
        }
        let place = self.place(owner)?;
        let part = self.0.staging.begin().await?;
        Ok(IncomingFile { part, most: config.max_bytes, _place: place })
    }

    /// Keeps what was sent.
    ///
    /// # Errors
    /// What is wrong with the file, [`FileError::OverQuota`], the storage's or the database's.
    pub async fn keep(
        &self,
        owner: UserId,
        called: &str,
        mut incoming: IncomingFile,
    ) -> Result<wire::UploadedAttachment, FileError> {
        incoming.part.flush().await?;
        let (path, size) = (incoming.part.path(), incoming.part.size);
        self.take_in(StoredFileParts { owner, called, path, size, upload: None }).await
    }

    /// Judges a whole file, puts its bytes into storage, and keeps it.
    async fn take_in(
        &self,
        bundle: StoredFileParts<'_>,
    ) -> Result<wire::UploadedAttachment, FileError> {
        let FileServiceInner { staging, studio, .. } = &*self.0;
        if bundle.size == 0 {
            return Err(FileError::Empty);
        }
        let (head, mut hash) = staging::read_through(bundle.path, content_type::HEAD).await?;
        let content_type = content_type::content_type(&head);
        let Some(picture) = ImageFormat::of(content_type) else {
            let shape = probe::probe(studio, content_type, bundle.path).await;
            let content_type =
                if shape.is_sound { content_type::sound(content_type) } else { content_type };
            let contents = ContentInfo { shape, small: None };
            return self.settle(&bundle, content_type, &hash, contents).await;
        };
        let developed = studio.process(picture, bundle.path.to_owned(), bundle.size).await?;
        let ProcessedImage { pixels, clean, small } = developed;
        let size = clean.len() as u64;
        let clean = staging.with(clean).await?;
        hash = staging::read_through(clean.path(), 0).await?.1;
        let small = match small {
            Some(small) => {
                let part = staging.with(small).await?;
                let hash = staging::read_through(part.path(), 0).await?.1;
                Some((part, hash))
            }
            None => None,
        };
        let bundle = StoredFileParts { path: clean.path(), size, ..bundle };
        let shape = AvInfo { pixels: Some(pixels), ..AvInfo::default() };
        self.settle(&bundle, content_type, &hash, ContentInfo { shape, small }).await
    }

    async fn settle(
        &self,
        bundle: &StoredFileParts<'_>,
        content_type: &str,
        hash: &[u8],
        ContentInfo { shape, small }: ContentInfo,
    ) -> Result<wire::UploadedAttachment, FileError> {
        let FileServiceInner { store, clock, config, .. } = &*self.0;
        for _ in 0..MAX_CLAIM_ATTEMPTS {
            let (blob, shared) = self.put(bundle.path, bundle.size, hash).await?;
            let thumbnail = match &small {
                Some((part, hash)) => Some(self.put(part.path(), part.size, hash).await?),
                None => None,
            };
            let expires_at = clock.now() + config.unreferenced_ttl();
            let new = NewAttachmentRow {
                id: AttachmentId::new(),
                owner: bundle.owner,
                blob,
                thumbnail: thumbnail.map(|(id, _)| id),
                name: content_type::display_name(bundle.called),
                content_type: content_type.to_owned(),
                size: i64::try_from(bundle.size).unwrap_or(i64::MAX),
                pixels: shape.pixels,
                duration_ms: shape.lasts,
                upload: bundle.upload,
                expires_at,
            };
            let made = match store.add_attachment(new, self.quota(), clock.now()).await? {
                AddAttachmentOutcome::Added(made) | AddAttachmentOutcome::AlreadyAdded(made) => {
                    made
                }
                AddAttachmentOutcome::OverQuota => {
                    return Err(FileError::OverQuota(config.user_quota_bytes));
                }
                AddAttachmentOutcome::NotFound => return Err(FileError::NoSuchUpload),
                AddAttachmentOutcome::ClaimsLost(lost) => {
                    // What was put too late belongs to a row that never comes back.
                    let small = small.as_ref().map(|(_, hash)| hash.as_slice());
                    let put = [Some((blob, hash)), thumbnail.map(|(id, _)| id).zip(small)];
                    for (id, hash) in put.into_iter().flatten() {
                        if lost.contains(&id) {
                            self.0.blobs.remove(&BlobKey::new(hash, id)).await?;
                        }
                    }
                    continue;
                }
            };
            counter!(FILES, "outcome" => if shared { "shared" } else { "kept" }).increment(1);
            counter!(FILE_BYTES, "direction" => "in").increment(bundle.size);
            let (attachment, sha256) = (view(made), hex(hash));
            return Ok(wire::UploadedAttachment { attachment, sha256, expires_at });
        }
        Err(FileError::Busy)
    }

    /// Has bytes in storage; whether they were there before.
    async fn put(&self, path: &Path, size: u64, hash: &[u8]) -> Result<(BlobId, bool), FileError> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let new = BlobRow { id: BlobId::new(), hash: hash.to_vec(), size };
        match self.0.store.claim_blob(new, self.0.clock.now()).await? {
            BlobClaimOutcome::Stored(id) => Ok((id, true)),
            BlobClaimOutcome::UploadNeeded(id) => {
                let name = BlobKey::new(hash, id);
                let put =
                    tokio::time::timeout(STORAGE_PUT_TIMEOUT, self.0.blobs.put(&name, path)).await;
                put.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                Ok((id, false))
            }
        }
    }

    /// A file, for those who may see it.
    ///
    /// # Errors
    /// [`FileError::NoSuchFile`], or the database's.
    pub async fn find(&self, viewer: UserId, id: AttachmentId) -> Result<FileDownload, FileError> {
        let found = self.0.store.attachment(id, viewer, self.0.clock.now()).await?;
        let (file, blob) = found.ok_or(FileError::NoSuchFile)?;
        Ok(FileDownload {
            name: BlobKey::new(&blob.hash, blob.id),
            size: u64::try_from(blob.size).unwrap_or(0),
            content_type: file.content_type,
            called: file.name,
        })
    }

    /// The small picture of a file, for those who may see it.
    ///
    /// # Errors
    /// [`FileError::NoSuchFile`], or the database's.
    pub async fn thumbnail(
        &self,
        viewer: UserId,
        id: AttachmentId,
    ) -> Result<FileDownload, FileError> {
        let blob = self.0.store.thumbnail(id, viewer, self.0.clock.now()).await?;
        let blob = blob.ok_or(FileError::NoSuchFile)?;
        Ok(FileDownload {
            name: BlobKey::new(&blob.hash, blob.id),
            size: u64::try_from(blob.size).unwrap_or(0),
            content_type: "image/jpeg".to_owned(),
            called: "thumbnail.jpg".to_owned(),
        })
    }

    /// A part of the bytes of a file that was found.
    ///
    /// # Errors
    /// [`FileError::NoSuchFile`] if it went meanwhile, or the storage's.
    pub async fn read(&self, name: &BlobKey, part: Range<u64>) -> Result<ByteStream, FileError> {
        let size = part.end.saturating_sub(part.start);
        match self.0.blobs.read(name, part).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FileError::NoSuchFile),
            read => {
                counter!(FILE_BYTES, "direction" => "out").increment(size);
                Ok(read?)
            }
        }
    }
}

impl IncomingFile {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`FileError::TooLarge`], or the disk's.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), FileError> {
        if self.part.size + piece.len() as u64 > self.most {
            return Err(FileError::TooLarge(self.most));
        }
        Ok(self.part.write(piece).await?)
    }
}

/// As others see a file.
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
