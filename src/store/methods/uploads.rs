//! Uploads under way.

use base::clock::Timestamp;
use base::ids::{UploadId, UserId};

use crate::error::Result;
use crate::rows::{AddUploadOutcome, NewUploadRow, Quota, UploadRow};
use crate::store::{Store, change, look};

impl Store {
    /// Begins an upload, whose size counts as kept from now on.
    pub async fn add_upload(
        &self,
        new: NewUploadRow,
        quota: Quota,
        now: Timestamp,
    ) -> Result<AddUploadOutcome> {
        change!(self, uploads::add_upload(new, quota, now))
    }

    /// An upload, for its owner.
    pub async fn upload(&self, id: UploadId, owner: UserId) -> Result<Option<UploadRow>> {
        look!(self, uploads::upload(id, owner))
    }

    /// Forgets an upload; false if there is none.
    pub async fn remove_upload(&self, id: UploadId, owner: UserId) -> Result<bool> {
        change!(self, uploads::remove_upload(id, owner))
    }

    /// Forgets uploads whose time is over; gives how many.
    pub async fn expire_uploads(&self, now: Timestamp) -> Result<usize> {
        change!(self, uploads::expire_uploads(now))
    }

    /// Which of these uploads are under way.
    pub async fn known_uploads(&self, ids: Vec<UploadId>) -> Result<Vec<UploadId>> {
        look!(self, uploads::known_uploads(ids))
    }
}
