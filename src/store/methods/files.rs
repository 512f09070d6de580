//! Files and their bytes.

use base::clock::Timestamp;
use base::ids::{AttachmentId, BlobId, MessageId, UserId};

use super::accounts::rows;
use crate::error::Result;
use crate::rows::{
    AddAttachmentOutcome, AttachmentRow, BlobClaimOutcome, BlobRow, NewAttachmentRow, Quota,
};
use crate::store::{Store, change, look};

impl Store {
    /// Where the bytes of this hash are; if nowhere, they are to be put into storage under the
    /// name given back, within the hour.
    pub async fn claim_blob(&self, new: BlobRow, now: Timestamp) -> Result<BlobClaimOutcome> {
        change!(self, blobs::claim_blob(new, now))
    }

    /// Keeps a file whose bytes are in storage, if the person's quota has room for it.
    pub async fn add_attachment(
        &self,
        new: NewAttachmentRow,
        quota: Quota,
        now: Timestamp,
    ) -> Result<AddAttachmentOutcome> {
        change!(self, files::add_attachment(new, quota, now))
    }

    /// A file and its bytes, for whoever brought it and for members of a conversation in which
    /// a message that they may read carries it.
    pub async fn attachment(
        &self,
        id: AttachmentId,
        viewer: UserId,
        now: Timestamp,
    ) -> Result<Option<(AttachmentRow, BlobRow)>> {
        look!(self, files::attachment(id, viewer, now))
    }

    /// The small picture of a file, for the same people.
    pub async fn thumbnail(
        &self,
        id: AttachmentId,
        viewer: UserId,
        now: Timestamp,
    ) -> Result<Option<BlobRow>> {
        look!(self, files::thumbnail(id, viewer, now))
    }

    /// A person's own files.
    pub async fn attachments_by(
        &self,
        user: UserId,
        after: Option<AttachmentId>,
        limit: usize,
    ) -> Result<Vec<(AttachmentRow, BlobRow)>> {
        let limit = rows(limit);
        look!(self, files::attachments_by(user, after, limit))
    }

    /// How many bytes a person keeps, uploads under way included.
    pub async fn kept_bytes(&self, user: UserId) -> Result<i64> {
        look!(self, files::kept(user))
    }

    /// Messages no longer carry their files; those that none carries any more are removed.
    pub async fn release_attachments(
        &self,
        messages: Vec<MessageId>,
        now: Timestamp,
    ) -> Result<()> {
        change!(self, files::release(&messages, now))
    }

    /// Removes some of the files that no message took in time; gives how many.
    pub async fn expire_attachments(&self, limit: usize, now: Timestamp) -> Result<usize> {
        let limit = rows(limit);
        change!(self, files::expire_attachments(limit, now))
    }

    /// Gives up every claim that was made before then: whoever made it is no more. By itself a
    /// claim ends after an hour.
    pub async fn abandon_claims(&self, before: Timestamp) -> Result<usize> {
        change!(self, blobs::abandon_claims(before))
    }

    /// Some of the bytes that are to be removed from storage.
    pub async fn doomed_blobs(&self, limit: usize, now: Timestamp) -> Result<Vec<BlobRow>> {
        let limit = rows(limit);
        change!(self, blobs::doomed_blobs(limit, now))
    }

    /// Forgets bytes that were removed from storage; gives how many.
    pub async fn forget_blobs(&self, ids: Vec<BlobId>) -> Result<usize> {
        change!(self, blobs::forget_blobs(ids))
    }
}
