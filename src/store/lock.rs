//! A lock per node: released when its process ends.

use base::ids::NodeId;

use crate::error::Result;
use crate::postgres::AdvisoryLock;
use crate::rows::lock_number;
use crate::store::postgres_url;

/// Held while this value lives; the database releases it when the process dies.
pub struct NodeLock(Option<AdvisoryLock>);

impl NodeLock {
    /// Acquires a node's lock in the background. SQLite needs none, so it always counts as held.
    ///
    /// # Errors
    /// [`crate::StoreError::Internal`] if the URL is invalid.
    pub fn take(url: &str, node: NodeId) -> Result<Self> {
        let lock = postgres_url(url)?.map(|url| AdvisoryLock::take(url, lock_number(node)));
        lock.transpose().map(Self)
    }

    /// Whether the lock is held right now.
    pub fn is_held(&self) -> bool {
        self.0.as_ref().is_none_or(AdvisoryLock::is_held)
    }
}
