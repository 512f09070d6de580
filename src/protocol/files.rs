//! Files, as they cross the wire.

use base::clock::Timestamp;
use base::ids::{AttachmentId, UploadId};
use serde::Serialize;
use utoipa::ToSchema;

/// A file that a message carries.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AttachmentView {
    /// Stable; its bytes are at `/api/attachments/{id}`.
    #[schema(value_type = String)]
    pub id: AttachmentId,
    /// What its sender calls it; only for showing.
    pub name: String,
    /// In bytes.
    pub size: i64,
    /// What it is, judged by its bytes.
    pub content_type: String,
    /// Of a picture or video as it is shown, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<i64>,
    /// Of a picture or video as it is shown, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<i64>,
    /// How long sound or video lasts, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// Whether there is a small picture at `/api/attachments/{id}/thumbnail`.
    pub thumbnail: bool,
}

/// A file that was just taken in.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UploadedAttachment {
    /// The file.
    #[serde(flatten)]
    pub attachment: AttachmentView,
    /// Of the bytes that are kept, which may differ from those that were sent: the place where a
    /// picture was taken is removed from it.
    pub sha256: String,
    /// A message must carry it by then, or it is removed.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Sends a file in one request, as `multipart/form-data` (RFC 7578).
#[derive(Debug, ToSchema)]
pub struct AttachmentForm {
    /// The file; its name is kept for showing.
    #[schema(value_type = String, format = Binary)]
    pub file: Vec<u8>,
}

/// A resumable upload.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UploadView {
    /// Stable.
    #[schema(value_type = String)]
    pub id: UploadId,
    /// How many bytes are here.
    pub offset: u64,
    /// How many there will be.
    pub size: u64,
    /// What has become of it, once it is whole.
    #[schema(value_type = Option<String>)]
    pub attachment_id: Option<AttachmentId>,
    /// Until when it may go on.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
