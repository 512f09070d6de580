//! Garbage collection: attachments without a message, abandoned uploads, unreferenced blobs.

use std::io;

use metrics::counter;

use super::{FileError, FileService};
use crate::integrations::blob_store::BlobKey;
use crate::telemetry::metrics::{BLOBS_REMOVED, PURGED_ROWS};

/// Rows per transaction.
const BATCH_SIZE: usize = 200;

impl FileService {
    /// Removes everything that has expired. If interrupted, the next run continues.
    ///
    /// # Errors
    /// Database or storage errors.
    pub async fn collect(&self) -> Result<(), FileError> {
        let (store, clock) = (&self.0.store, &self.0.clock);
        let removed = store.expire_uploads(clock.now()).await?;
        counter!(PURGED_ROWS, "kind" => "uploads").increment(removed as u64);
        loop {
            let removed = store.expire_attachments(BATCH_SIZE, clock.now()).await?;
            counter!(PURGED_ROWS, "kind" => "attachments").increment(removed as u64);
            if removed < BATCH_SIZE {
                break;
            }
        }
        // Staging first: an unavailable blob storage must not keep staged files.
        self.0.staging.sweep(store).await?;
        self.remove_unused_blobs().await
    }

    /// Removes objects first, then their rows, so that no object is left without a row.
    async fn remove_unused_blobs(&self) -> Result<(), FileError> {
        loop {
            let unused = self.0.store.blobs_to_delete(BATCH_SIZE, self.0.clock.now()).await?;
            let count = unused.len();
            let (mut removed, mut failed) = (Vec::new(), None::<io::Error>);
            for blob in unused {
                match self.0.blobs.remove(&BlobKey::new(&blob.hash, blob.id)).await {
                    Ok(()) => removed.push(blob.id),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            if !removed.is_empty() {
                counter!(BLOBS_REMOVED).increment(removed.len() as u64);
                self.0.store.delete_blobs(removed).await?;
            }
            if let Some(error) = failed {
                return Err(error.into());
            }
            if count < BATCH_SIZE {
                return Ok(());
            }
        }
    }
}
