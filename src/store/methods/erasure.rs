//! Deletion of accounts.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};

use crate::error::Result;
use crate::rows::{AffectedConversation, DepartureBatch, NewAudit, NewJob, UserChangeOutcome};
use crate::store::{Backend, Store, read_tx, write_tx};

impl Store {
    /// Deletes all data that is a user's alone. An anonymous row remains, to which other users'
    /// data still refers. `job` does the part that may take longer.
    pub async fn delete_user(
        &self,
        user: UserId,
        job: NewJob,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        write_tx!(self, erasure::delete_user(user, job, audit, now))
    }

    /// One window of the conversations that hold data of a user, and the position after which to go
    /// on.
    pub async fn affected_conversations(
        &self,
        user: UserId,
        after: Option<ConversationId>,
    ) -> Result<(Vec<AffectedConversation>, Option<ConversationId>)> {
        read_tx!(self, erasure::affected_conversations(user, after))
    }

    /// Removes a user from a group; with `scrub`, the content of their messages there is erased in
    /// batches.
    pub async fn leave_group(
        &self,
        id: ConversationId,
        user: UserId,
        scrub: bool,
        now: Timestamp,
    ) -> Result<DepartureBatch> {
        write_tx!(self, erasure::leave_group(id, user, scrub, now))
    }

    /// Removes a direct conversation in batches; the first batch makes it disappear for both users.
    pub async fn remove_direct_conversation(
        &self,
        id: ConversationId,
        user: UserId,
        now: Timestamp,
    ) -> Result<DepartureBatch> {
        write_tx!(self, erasure::remove_direct_conversation(id, user, now))
    }

    /// Purges deleted data from the database files. SQLite keeps old pages in its WAL until it is
    /// truncated; with PostgreSQL this is the work of its vacuum. False if a reader is active: to
    /// be retried.
    pub async fn purge_deleted_data(&self) -> Result<bool> {
        match &*self.backend {
            Backend::Sqlite { readers, .. } => {
                readers.autocommit(crate::sqlite::truncate_log).await
            }
            Backend::Postgres(_) => Ok(true),
        }
    }
}
