//! Why a file was not taken in or given out.

use base::error::{CodedError, ErrorKind};

/// The one error of this area.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FileError {
    /// Larger than `files.max_bytes`, or than a picture may be.
    #[error("a file of this kind has at most {0} bytes")]
    TooLarge(u64),
    /// Nothing in it.
    #[error("a file has at least one byte")]
    Empty,
    /// The request names no file.
    #[error("send the file as the part `file` of multipart/form-data")]
    NoFile,
    /// The request ended too early, or is garbled.
    #[error("the request broke off: {0}")]
    Broken(String),
    /// The person keeps too much.
    #[error("your files have at most {0} bytes together: remove messages with files first")]
    OverQuota(u64),
    /// A picture that would fill the memory.
    #[error("a picture has at most {0} pixels")]
    TooManyPixels(u64),
    /// A picture that is none.
    #[error("this picture is damaged: its metadata cannot be removed")]
    BadPicture,
    /// No such file, or the asker may not see it.
    #[error("there is no such file")]
    NoSuchFile,
    /// Too many files come at the same time.
    #[error("the server takes in too many files just now: try again")]
    Busy,
    /// No such upload, or it is somebody else's.
    #[error("there is no such upload")]
    NoSuchUpload,
    /// The person has too many uploads under way.
    #[error("you have too many uploads under way: finish or end one first")]
    TooManyUploads,
    /// The upload is not where the client thinks.
    #[error("the upload is at another offset: ask for it with HEAD")]
    WrongOffset,
    /// A newer request goes on with this upload.
    #[error("another request goes on with this upload")]
    TakenOver,
    /// Another node has the upload.
    #[error("another server goes on with this upload: try again")]
    Elsewhere,
    /// What came is not what was meant.
    #[error("the checksum does not fit: nothing of this piece was kept")]
    BadChecksum,
    /// Metadata, a length or a purpose that makes no sense.
    #[error("{0}")]
    BadUpload(&'static str),
    /// The storage.
    #[error("the storage of files does not answer just now: try again")]
    Storage,
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        // What a storage says of itself is for those who run it.
        tracing::warn!(%error, "blob storage error in request");
        Self::Storage
    }
}

impl CodedError for FileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge(_) | Self::OverQuota(_) => ErrorKind::TooLarge,
            Self::Empty
            | Self::NoFile
            | Self::Broken(_)
            | Self::TooManyPixels(_)
            | Self::BadPicture
            | Self::BadUpload(_) => ErrorKind::Invalid,
            Self::NoSuchFile | Self::NoSuchUpload => ErrorKind::NotFound,
            Self::TooManyUploads => ErrorKind::RateLimited,
            Self::WrongOffset | Self::TakenOver | Self::BadChecksum => ErrorKind::Conflict,
            Self::Busy | Self::Elsewhere | Self::Storage => ErrorKind::Unavailable,
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "files/too-large",
            Self::Empty => "files/empty",
            Self::NoFile => "files/missing-file-part",
            Self::Broken(_) => "files/upload-aborted",
            Self::OverQuota(_) => "files/quota-exceeded",
            Self::TooManyPixels(_) => "files/image-too-large",
            Self::BadPicture => "files/invalid-image",
            Self::NoSuchFile => "files/file-not-found",
            Self::Busy => "files/overloaded",
            Self::NoSuchUpload => "uploads/upload-not-found",
            Self::TooManyUploads => "uploads/limit-reached",
            Self::WrongOffset => "uploads/offset-mismatch",
            Self::TakenOver => "uploads/superseded",
            Self::Elsewhere => "uploads/locked-by-other-node",
            Self::BadChecksum => "uploads/checksum-mismatch",
            Self::BadUpload(_) => "uploads/invalid-upload",
            Self::Storage => "files/storage-unavailable",
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Busy | Self::Elsewhere | Self::Storage => Some(2),
            Self::Store(e) => e.retry_after(),
            _ => None,
        }
    }
}
