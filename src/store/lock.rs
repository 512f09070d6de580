//! A node's lock: free once its process is gone.

use base::ids::NodeId;

use crate::error::Result;
use crate::postgres::AdvisoryLock;
use crate::rows::lock_number;
use crate::store::postgres_url;

/// Held as long as this lives; the database frees it when the process dies.
pub struct NodeLock(Option<AdvisoryLock>);

impl NodeLock {
    /// Takes the lock of a node in the background. In SQLite there is none: nobody asks for it.
    ///
    /// # Errors
    /// [`crate::StoreError::Internal`] if the URL makes no sense.
    pub fn take(url: &str, node: NodeId) -> Result<Self> {
        let lock = postgres_url(url)?.map(|url| AdvisoryLock::take(url, lock_number(node)));
        lock.transpose().map(Self)
    }

    /// Whether it is held just now.
    pub fn is_held(&self) -> bool {
        self.0.as_ref().is_none_or(AdvisoryLock::is_held)
    }
}
