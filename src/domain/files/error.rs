//! Errors of files and uploads.

use base::error::CodedError;

/// Error of the file service.
#[derive(Clone, Debug, thiserror::Error, CodedError)]
pub enum FileError {
    /// The file exceeds `files.max_bytes` or the limit for images; carries the limit in bytes.
    #[error("a file of this kind has at most {0} bytes")]
    #[code("files/too-large", TooLarge)]
    TooLarge(u64),
    /// The file is empty.
    #[error("a file has at least one byte")]
    #[code("files/empty", Invalid)]
    Empty,
    /// The multipart request has no part `file`.
    #[error("send the file as the part `file` of multipart/form-data")]
    #[code("files/missing-file-part", Invalid)]
    MissingFilePart,
    /// The request ended early or is malformed.
    #[error("the upload was aborted: {0}")]
    #[code("files/upload-aborted", Invalid)]
    UploadAborted(String),
    /// The storage quota of the user is exceeded; carries the quota in bytes.
    #[error("your files have at most {0} bytes together: remove messages with files first")]
    #[code("files/quota-exceeded", TooLarge)]
    QuotaExceeded(u64),
    /// The image has too many pixels to decode; carries the limit.
    #[error("an image has at most {0} pixels")]
    #[code("files/image-too-large", Invalid)]
    ImageTooLarge(u64),
    /// The image is damaged.
    #[error("this image is damaged: its metadata cannot be removed")]
    #[code("files/invalid-image", Invalid)]
    InvalidImage,
    /// The file does not exist or is not visible to the caller.
    #[error("file not found")]
    #[code("files/file-not-found", NotFound)]
    FileNotFound,
    /// Too many uploads run at the same time.
    #[error("too many uploads are in progress: try again")]
    #[code("files/overloaded", Unavailable, retry_after = 2)]
    Overloaded,
    /// The upload does not exist or belongs to another user.
    #[error("upload not found")]
    #[code("uploads/upload-not-found", NotFound)]
    UploadNotFound,
    /// The user has too many unfinished uploads.
    #[error("you have too many unfinished uploads: finish or delete one first")]
    #[code("uploads/upload-limit-reached", RateLimited)]
    UploadLimitReached,
    /// The offset of the request is not the offset of the upload.
    #[error("the upload is at another offset: send HEAD to get it")]
    #[code("uploads/offset-mismatch", Conflict)]
    OffsetMismatch,
    /// A newer request writes to this upload.
    #[error("another request continues this upload")]
    #[code("uploads/superseded", Conflict)]
    Superseded,
    /// Another node has locked the upload.
    #[error("another server has locked this upload: try again")]
    #[code("uploads/locked-by-other-node", Unavailable, retry_after = 2)]
    LockedByOtherNode,
    /// The checksum of a request does not match its bytes.
    #[error("the checksum does not match: nothing of this request was stored")]
    #[code("uploads/checksum-mismatch", Conflict)]
    ChecksumMismatch,
    /// Upload metadata, length or purpose is invalid.
    #[error("{0}")]
    #[code("uploads/invalid-upload", Invalid)]
    InvalidUpload(&'static str),
    /// The blob storage failed.
    #[error("file storage is unavailable: try again")]
    #[code("files/storage-unavailable", Unavailable, retry_after = 2)]
    StorageUnavailable,
    /// A database error.
    #[error(transparent)]
    #[code(transparent)]
    Store(#[from] store::StoreError),
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        // Storage errors are internal details, so they are only logged.
        tracing::warn!(%error, "blob storage error in request");
        Self::StorageUnavailable
    }
}
