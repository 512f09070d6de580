//! Re-encrypts all sealed values with the newest key, concurrently with other readers and writers.

use store::{SealedColumn, Store};

use super::{SealContext, Vault, VaultError};

/// Values read per batch.
const BATCH_SIZE: usize = 100;

impl Vault {
    /// Reseals every value that is not sealed with the newest key and returns their number. Each
    /// value is one transaction that succeeds only if the value is unchanged, so an interrupted
    /// rotation can simply be run again.
    ///
    /// # Errors
    /// [`VaultError::UnknownKeyVersion`], [`VaultError::AuthenticationFailed`], or a database
    /// error; finished values stay resealed.
    pub async fn rotate(&self, store: &Store) -> Result<usize, VaultError> {
        let mut done = 0;
        for column in SealedColumn::ALL {
            while self.rotate_column(store, column, &mut done).await? {}
        }
        Ok(done)
    }

    /// Processes a column once. Returns whether a value was changed concurrently, so another pass
    /// is needed.
    async fn rotate_column(
        &self,
        store: &Store,
        column: SealedColumn,
        done: &mut usize,
    ) -> Result<bool, VaultError> {
        let (mut after, mut conflict) = (None, false);
        loop {
            let rows = store.sealed_values(column, after, BATCH_SIZE).await?;
            let Some(last) = rows.last() else { return Ok(conflict) };
            after = Some(last.row_id);
            for row in rows.into_iter().filter(|row| !self.is_current(&row.value)) {
                let context = SealContext { column, row: *row.row_id.as_bytes() };
                let plaintext = self.open(context, &row.value)?;
                let sealed = self.seal(context, plaintext.expose())?;
                if store.reseal(column, row.row_id, row.value, sealed).await? {
                    *done += 1;
                } else {
                    conflict = true;
                }
            }
        }
    }
}
