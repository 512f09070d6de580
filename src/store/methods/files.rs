//! Attachments and their blobs.

use base::clock::Timestamp;
use base::ids::{AttachmentId, BlobId, MessageId, UserId};

use super::accounts::to_sql_limit;
use crate::error::Result;
use crate::rows::{
    AddAttachmentOutcome, AttachmentRow, BlobClaimOutcome, BlobRow, NewAttachmentRow, Quota,
};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// The blob with this hash. If it is not stored yet, the caller must upload the content under
    /// the returned id within an hour.
    pub async fn claim_blob(&self, new: BlobRow, now: Timestamp) -> Result<BlobClaimOutcome> {
        write_tx!(self, blobs::claim_blob(new, now))
    }

    /// Adds an attachment whose content is in storage, if the user's quota allows it.
    pub async fn add_attachment(
        &self,
        new: NewAttachmentRow,
        quota: Quota,
        now: Timestamp,
    ) -> Result<AddAttachmentOutcome> {
        write_tx!(self, files::add_attachment(new, quota, now))
    }

    /// An attachment and its blob, for its owner and for members of a conversation with a message
    /// that they may read and that carries it.
    pub async fn attachment(
        &self,
        id: AttachmentId,
        viewer: UserId,
        now: Timestamp,
    ) -> Result<Option<(AttachmentRow, BlobRow)>> {
        read_tx!(self, files::attachment(id, viewer, now))
    }

    /// The thumbnail of an attachment, with the same access rule.
    pub async fn thumbnail(
        &self,
        id: AttachmentId,
        viewer: UserId,
        now: Timestamp,
    ) -> Result<Option<BlobRow>> {
        read_tx!(self, files::thumbnail(id, viewer, now))
    }

    /// The attachments that a user owns, by id; `after` is the last one of the previous page.
    pub async fn attachments_by(
        &self,
        user: UserId,
        after: Option<AttachmentId>,
        limit: usize,
    ) -> Result<Vec<(AttachmentRow, BlobRow)>> {
        let limit = to_sql_limit(limit);
        read_tx!(self, files::attachments_by(user, after, limit))
    }

    /// How many bytes a user stores, uploads in progress included.
    pub async fn used_bytes(&self, user: UserId) -> Result<i64> {
        read_tx!(self, quota::used_bytes(user))
    }

    /// Detaches the files of messages; files that no message carries any more are removed.
    pub async fn detach_attachments(&self, messages: Vec<MessageId>, now: Timestamp) -> Result<()> {
        write_tx!(self, files::detach(&messages, now))
    }

    /// Removes up to `limit` attachments that no message used in time; returns how many.
    pub async fn expire_attachments(&self, limit: usize, now: Timestamp) -> Result<usize> {
        let limit = to_sql_limit(limit);
        write_tx!(self, files::expire_attachments(limit, now))
    }

    /// Abandons every blob claim made before that instant, as its maker is gone. By itself a claim
    /// expires after an hour.
    pub async fn abandon_claims(&self, before: Timestamp) -> Result<usize> {
        write_tx!(self, blobs::abandon_claims(before))
    }

    /// Up to `limit` blobs whose content is to be removed from storage.
    pub async fn blobs_to_delete(&self, limit: usize, now: Timestamp) -> Result<Vec<BlobRow>> {
        let limit = to_sql_limit(limit);
        write_tx!(self, blobs::blobs_to_delete(limit, now))
    }

    /// Deletes the rows of blobs whose content was removed from storage; returns how many.
    pub async fn delete_blobs(&self, ids: Vec<BlobId>) -> Result<usize> {
        write_tx!(self, blobs::delete_blobs(ids))
    }
}
