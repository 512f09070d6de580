//! Errors of files and uploads.

use base::error::{CodedError, ErrorKind};

/// Error of the file service.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FileError {
    /// The file exceeds `files.max_bytes` or the limit for images; carries the limit in bytes.
    #[error("a file of this kind has at most {0} bytes")]
    TooLarge(u64),
    /// The file is empty.
    #[error("a file has at least one byte")]
    Empty,
    /// The multipart request has no part `file`.
    #[error("send the file as the part `file` of multipart/form-data")]
    MissingFilePart,
    /// The request ended early or is malformed.
    #[error("the upload was aborted: {0}")]
    UploadAborted(String),
    /// The storage quota of the user is exceeded; carries the quota in bytes.
    #[error("your files have at most {0} bytes together: remove messages with files first")]
    QuotaExceeded(u64),
    /// The image has too many pixels to decode; carries the limit.
    #[error("an image has at most {0} pixels")]
    ImageTooLarge(u64),
    /// The image is damaged.
    #[error("this image is damaged: its metadata cannot be removed")]
    InvalidImage,
    /// The file does not exist or is not visible to the caller.
    #[error("file not found")]
    FileNotFound,
    /// Too many uploads run at the same time.
    #[error("too many uploads are in progress: try again")]
    Overloaded,
    /// The upload does not exist or belongs to another user.
    #[error("upload not found")]
    UploadNotFound,
    /// The user has too many unfinished uploads.
    #[error("you have too many unfinished uploads: finish or delete one first")]
    UploadLimitReached,
    /// The offset of the request is not the offset of the upload.
    #[error("the upload is at another offset: send HEAD to get it")]
    OffsetMismatch,
    /// A newer request writes to this upload.
    #[error("another request continues this upload")]
    Superseded,
    /// Another node has locked the upload.
    #[error("another server has locked this upload: try again")]
    LockedByOtherNode,
    /// The checksum of a request does not match its bytes.
    #[error("the checksum does not match: nothing of this request was stored")]
    ChecksumMismatch,
    /// Upload metadata, length or purpose is invalid.
    #[error("{0}")]
    InvalidUpload(&'static str),
    /// The blob storage failed.
    #[error("file storage is unavailable: try again")]
    StorageUnavailable,
    /// A database error.
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        // Storage errors are internal details, so they are only logged.
        tracing::warn!(%error, "blob storage error in request");
        Self::StorageUnavailable
    }
}

impl CodedError for FileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge(_) | Self::QuotaExceeded(_) => ErrorKind::TooLarge,
            Self::Empty
            | Self::MissingFilePart
            | Self::UploadAborted(_)
            | Self::ImageTooLarge(_)
            | Self::InvalidImage
            | Self::InvalidUpload(_) => ErrorKind::Invalid,
            Self::FileNotFound | Self::UploadNotFound => ErrorKind::NotFound,
            Self::UploadLimitReached => ErrorKind::RateLimited,
            Self::OffsetMismatch | Self::Superseded | Self::ChecksumMismatch => ErrorKind::Conflict,
            Self::Overloaded | Self::LockedByOtherNode | Self::StorageUnavailable => {
                ErrorKind::Unavailable
            }
            Self::Store(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "files/too-large",
            Self::Empty => "files/empty",
            Self::MissingFilePart => "files/missing-file-part",
            Self::UploadAborted(_) => "files/upload-aborted",
            Self::QuotaExceeded(_) => "files/quota-exceeded",
            Self::ImageTooLarge(_) => "files/image-too-large",
            Self::InvalidImage => "files/invalid-image",
            Self::FileNotFound => "files/file-not-found",
            Self::Overloaded => "files/overloaded",
            Self::UploadNotFound => "uploads/upload-not-found",
            Self::UploadLimitReached => "uploads/limit-reached",
            Self::OffsetMismatch => "uploads/offset-mismatch",
            Self::Superseded => "uploads/superseded",
            Self::LockedByOtherNode => "uploads/locked-by-other-node",
            Self::ChecksumMismatch => "uploads/checksum-mismatch",
            Self::InvalidUpload(_) => "uploads/invalid-upload",
            Self::StorageUnavailable => "files/storage-unavailable",
            Self::Store(e) => e.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Overloaded | Self::LockedByOtherNode | Self::StorageUnavailable => Some(2),
            Self::Store(e) => e.retry_after(),
            _ => None,
        }
    }
}
