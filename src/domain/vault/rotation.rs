//! Sealing everything anew with the newest key, beside those who read and write meanwhile.

use store::{SealedColumn, Store};

use super::{SealContext, Vault, VaultError};

/// Values that are read at once.
const BATCH: usize = 100;

impl Vault {
    /// Seals every value anew that is not sealed with the newest key; gives how many. Each is a
    /// transaction of its own that takes only if the value is still the same: whoever is
    /// interrupted begins again and finds less to do.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`], [`VaultError::Forged`], or the database's; what was done stays done.
    pub async fn rotate(&self, store: &Store) -> Result<usize, VaultError> {
        let mut done = 0;
        for column in SealedColumn::ALL {
            while self.round(store, column, &mut done).await? {}
        }
        Ok(done)
    }

    /// Goes through a column once; whether a value was changed by somebody else meanwhile.
    async fn round(
        &self,
        store: &Store,
        column: SealedColumn,
        done: &mut usize,
    ) -> Result<bool, VaultError> {
        let (mut after, mut again) = (None, false);
        loop {
            let rows = store.sealed_values(column, after, BATCH).await?;
            let Some(last) = rows.last() else { return Ok(again) };
            after = Some(last.row_id);
            for row in rows.into_iter().filter(|row| !self.is_current(&row.value)) {
                let place = SealContext { column, row: *row.row_id.as_bytes() };
                let plain = self.open(place, &row.value)?;
                let sealed = self.seal(place, plain.expose())?;
                if store.reseal(column, row.row_id, row.value, sealed).await? {
                    *done += 1;
                } else {
                    again = true;
                }
            }
        }
    }
}
