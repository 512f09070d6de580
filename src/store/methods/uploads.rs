//! Uploads in progress.

use base::clock::Timestamp;
use base::ids::{UploadId, UserId};

use crate::error::Result;
use crate::rows::{AddUploadOutcome, NewUploadRow, Quota, UploadRow};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Starts an upload; its size counts towards the quota from now on.
    pub async fn add_upload(
        &self,
        new: NewUploadRow,
        quota: Quota,
        now: Timestamp,
    ) -> Result<AddUploadOutcome> {
        write_tx!(self, uploads::add_upload(new, quota, now))
    }

    /// An upload, for its owner.
    pub async fn upload(&self, id: UploadId, owner: UserId) -> Result<Option<UploadRow>> {
        read_tx!(self, uploads::upload(id, owner))
    }

    /// Deletes an upload; false if there is none.
    pub async fn remove_upload(&self, id: UploadId, owner: UserId) -> Result<bool> {
        write_tx!(self, uploads::remove_upload(id, owner))
    }

    /// Deletes expired uploads; returns how many.
    pub async fn expire_uploads(&self, now: Timestamp) -> Result<usize> {
        write_tx!(self, uploads::expire_uploads(now))
    }

    /// Which of these uploads are in progress.
    pub async fn active_uploads(&self, ids: Vec<UploadId>) -> Result<Vec<UploadId>> {
        read_tx!(self, uploads::active_uploads(ids))
    }
}
