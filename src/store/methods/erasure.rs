//! The end of an account.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};

use crate::error::Result;
use crate::rows::{AffectedConversation, DepartureBatch, NewAudit, NewJob, UserChangeOutcome};
use crate::store::{Backend, Store, change, look};

impl Store {
    /// Takes everything away that is a person's alone; in their place stays a row without a name,
    /// to which what others keep still refers. `rest` is the job that does what may take longer.
    pub async fn delete_user(
        &self,
        user: UserId,
        rest: NewJob,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<UserChangeOutcome> {
        change!(self, erasure::delete_user(user, rest, audit, now))
    }

    /// Some of the conversations in which a person left something, and after which to look next.
    pub async fn left_behind(
        &self,
        user: UserId,
        after: Option<ConversationId>,
    ) -> Result<(Vec<AffectedConversation>, Option<ConversationId>)> {
        look!(self, erasure::left_behind(user, after))
    }

    /// Lets a person leave a group; with `scrub` what they said there is emptied, a piece at a time.
    pub async fn part_from_group(
        &self,
        id: ConversationId,
        user: UserId,
        scrub: bool,
        now: Timestamp,
    ) -> Result<DepartureBatch> {
        change!(self, erasure::part_from_group(id, user, scrub, now))
    }

    /// Removes a conversation of two, a piece at a time; the first makes it vanish for both.
    pub async fn remove_direct(
        &self,
        id: ConversationId,
        user: UserId,
        now: Timestamp,
    ) -> Result<DepartureBatch> {
        change!(self, erasure::remove_direct(id, user, now))
    }

    /// Has the files of the database forget what was deleted from it. SQLite keeps old pages in
    /// its log until then; with PostgreSQL that is the work of its vacuum. False if somebody reads
    /// just now: to be tried again.
    pub async fn forget_deleted(&self) -> Result<bool> {
        match &*self.backend {
            Backend::Sqlite { readers, .. } => readers.look(crate::sqlite::truncate_log).await,
            Backend::Postgres(_) => Ok(true),
        }
    }
}
