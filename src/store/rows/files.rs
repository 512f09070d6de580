//! Files: their bytes, what they are to people, and uploads under way.

use base::clock::Timestamp;
use base::ids::{AttachmentId, BlobId, UploadId, UserId};
use diesel::prelude::{Queryable, Selectable};

use crate::schema::{attachments, blobs, uploads};

/// The bytes of files; two files of the same content share them.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = blobs)]
pub struct BlobRow {
    /// Part of its name in storage: never used a second time.
    pub id: BlobId,
    /// SHA-256 of the bytes.
    pub hash: Vec<u8>,
    /// How many bytes.
    pub size: i64,
}

/// Where bytes are that somebody wants to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobClaimOutcome {
    /// In storage already.
    Here(BlobId),
    /// To be put there under this name.
    Coming(BlobId),
}

/// A file that people may see.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = attachments)]
pub struct AttachmentRow {
    /// Which.
    pub id: AttachmentId,
    /// Who brought it.
    pub owner_id: UserId,
    /// Its bytes.
    pub blob_id: BlobId,
    /// Those of its small picture.
    pub thumbnail_id: Option<BlobId>,
    /// What it is called; only ever shown.
    pub name: String,
    /// What it is, judged by its bytes.
    pub content_type: String,
    /// How many bytes.
    pub size: i64,
    /// Of a picture or video, in pixels.
    pub width: Option<i64>,
    /// Of a picture or video, in pixels.
    pub height: Option<i64>,
    /// Of sound and video.
    pub duration_ms: Option<i64>,
    /// When it came.
    pub created_at: Timestamp,
}

/// A file to be kept, whose bytes are in storage.
#[derive(Clone, Debug)]
pub struct NewAttachmentRow {
    /// Made by the caller.
    pub id: AttachmentId,
    /// Who brings it.
    pub owner: UserId,
    /// Its bytes, as claimed before.
    pub blob: BlobId,
    /// Those of its small picture.
    pub thumbnail: Option<BlobId>,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub content_type: String,
    /// How many bytes.
    pub size: i64,
    /// Width and height of a picture or video, in pixels.
    pub pixels: Option<(i64, i64)>,
    /// Of sound and video.
    pub duration_ms: Option<i64>,
    /// The upload it comes from, which ends with it.
    pub upload: Option<UploadId>,
    /// Until when it waits for a message.
    pub expires_at: Timestamp,
}

/// How much one person may keep, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// All files together, uploads under way included.
    pub bytes: i64,
    /// Uploads under way.
    pub uploads: i64,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddAttachmentOutcome {
    /// It is kept.
    Added(AttachmentRow),
    /// Its upload made it before.
    Before(AttachmentRow),
    /// The person keeps too much already.
    OverQuota,
    /// These of its bytes are no longer claimed: claim all again. Nobody refers to objects that were
    /// put under these names, nor ever will.
    BlobGone(Vec<BlobId>),
    /// The person, or the upload, is gone.
    Gone,
}

/// A file on its way here, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = uploads)]
pub struct UploadRow {
    /// Which.
    pub id: UploadId,
    /// Whose.
    pub owner_id: UserId,
    /// What for.
    pub purpose: String,
    /// What it is called.
    pub name: String,
    /// How many bytes it will have.
    pub size: i64,
    /// What became of it.
    pub attachment_id: Option<AttachmentId>,
    /// Until when it may go on.
    pub expires_at: Timestamp,
}

/// An upload to be begun.
#[derive(Clone, Debug)]
pub struct NewUploadRow {
    /// Made by the caller.
    pub id: UploadId,
    /// Whose.
    pub owner: UserId,
    /// What for.
    pub purpose: String,
    /// What it is called.
    pub name: String,
    /// How many bytes it will have.
    pub size: i64,
    /// Until when it may go on.
    pub expires_at: Timestamp,
}

/// What became of an upload that was to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddUploadOutcome {
    /// It may begin.
    Added,
    /// The person keeps too much already.
    OverQuota,
    /// The person has too many uploads under way.
    TooMany,
    /// The person is gone.
    Gone,
}
