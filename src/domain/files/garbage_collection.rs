//! Throwing away what nobody will ask for again: files no message took, uploads given up, bytes
//! to which no file refers.

use std::io;

use metrics::counter;

use super::{FileError, FileService};
use crate::integrations::blob_store::BlobKey;
use crate::telemetry::metrics::{BLOBS_REMOVED, PURGED_ROWS};

/// Rows looked at in one transaction.
const BATCH: usize = 200;

impl FileService {
    /// Throws away all that is over. What is interrupted is found again next time.
    ///
    /// # Errors
    /// The database's, or the storage's.
    pub async fn collect(&self) -> Result<(), FileError> {
        let (store, clock) = (&self.0.store, &self.0.clock);
        let gone = store.expire_uploads(clock.now()).await?;
        counter!(PURGED_ROWS, "kind" => "uploads").increment(gone as u64);
        loop {
            let gone = store.expire_attachments(BATCH, clock.now()).await?;
            counter!(PURGED_ROWS, "kind" => "attachments").increment(gone as u64);
            if gone < BATCH {
                break;
            }
        }
        // The desk first: a storage that does not answer is no reason to keep what lies there.
        self.0.staging.sweep(store).await?;
        self.remove_bytes().await
    }

    /// Removes objects first, then the rows that name them: a row never goes before its object.
    async fn remove_bytes(&self) -> Result<(), FileError> {
        loop {
            let doomed = self.0.store.blobs_to_delete(BATCH, self.0.clock.now()).await?;
            let count = doomed.len();
            let (mut removed, mut failed) = (Vec::new(), None::<io::Error>);
            for blob in doomed {
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
            if count < BATCH {
                return Ok(());
            }
        }
    }
}
