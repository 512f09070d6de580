//! Request and response types for files.

use base::clock::Timestamp;
use base::ids::{AttachmentId, UploadId};
use serde::Serialize;
use utoipa::ToSchema;

/// A file attached to a message.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AttachmentView {
    /// Stable identifier; the bytes are at `/api/attachments/{id}`.
    #[schema(value_type = String)]
    pub id: AttachmentId,
    /// File name given by the sender; for display only.
    pub name: String,
    /// Size in bytes.
    pub size: i64,
    /// Media type, detected from the bytes.
    pub content_type: String,
    /// Displayed width of an image or video, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<i64>,
    /// Displayed height of an image or video, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<i64>,
    /// Duration of audio or video, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// Whether a thumbnail exists at `/api/attachments/{id}/thumbnail`.
    pub thumbnail: bool,
}

/// A file that was just uploaded.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UploadedAttachment {
    /// The stored file.
    #[serde(flatten)]
    pub attachment: AttachmentView,
    /// SHA-256 of the stored bytes in hexadecimal. They may differ from the bytes sent, since
    /// location metadata is removed from images.
    pub sha256: String,
    /// The file is deleted at this time unless a message carries it.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Uploads a file in one request, as `multipart/form-data` (RFC 7578).
#[derive(Debug, ToSchema)]
pub struct AttachmentForm {
    /// Content of the file; its name is stored for display.
    #[schema(value_type = String, format = Binary)]
    pub file: Vec<u8>,
}

/// State of a resumable upload.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UploadView {
    /// Stable identifier of the upload.
    #[schema(value_type = String)]
    pub id: UploadId,
    /// Number of bytes received.
    pub offset: u64,
    /// Total size in bytes.
    pub size: u64,
    /// The resulting attachment; `null` until the upload is complete.
    #[schema(value_type = Option<String>)]
    pub attachment_id: Option<AttachmentId>,
    /// When the upload expires.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
