//! Account erasure: removes the remaining data of a deleted account in the background.

use base::clock::Clock;
use base::ids::UserId;
use serde::Deserialize;
use store::{AffectedConversation, JobRow, Kind, Store};

use super::export_store::ExportStore;
use super::files::FileService;
use super::jobs::{JobError, JobHandler};
use super::{DirectedEvent, chat};
use crate::cluster::BoxFuture;
use crate::domain::job_kinds::ERASE_JOB_KIND;
use crate::protocol::server::{MemberLeft, ServerEvent};

/// Leaves groups, removes direct conversations, and deletes exports and files of a deleted account.
pub struct EraseAccountJob {
    store: Store,
    clock: Clock,
    exports: ExportStore,
    files: FileService,
}

#[derive(Deserialize)]
struct EraseAccountPayload {
    /// Whether the user's messages in groups are emptied.
    scrub: bool,
}

impl EraseAccountJob {
    /// Creates the service from its dependencies.
    pub const fn new(store: Store, clock: Clock, exports: ExportStore, files: FileService) -> Self {
        Self { store, clock, exports, files }
    }

    async fn erase(&self, job: &JobRow) -> Result<Vec<DirectedEvent>, JobError> {
        let user = job.user_id.ok_or_else(|| JobError::permanent("erase job has no user id"))?;
        let payload: EraseAccountPayload = serde_json::from_value(job.payload.clone())
            .map_err(|error| JobError::permanent(error.to_string()))?;
        let (mut events, mut after) = (Vec::new(), None);
        loop {
            let (conversations, next) = self.store.affected_conversations(user, after).await?;
            for conversation in conversations {
                events.extend(self.erase_conversation(user, conversation, payload.scrub).await?);
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        self.exports.sweep(&self.store).await?;
        self.files.collect().await.map_err(|error| JobError::transient(error.to_string()))?;
        if self.store.purge_deleted_data().await? {
            Ok(events)
        } else {
            Err(JobError::transient("the write-ahead log is still in use by a reader"))
        }
    }

    async fn erase_conversation(
        &self,
        user: UserId,
        conversation: AffectedConversation,
        scrub: bool,
    ) -> Result<Vec<DirectedEvent>, JobError> {
        let id = conversation.id;
        let (mut others, mut system_messages) = (Vec::new(), Vec::new());
        loop {
            let batch = match conversation.kind {
                Kind::Direct => {
                    self.store.remove_direct_conversation(id, user, self.clock.now()).await?
                }
                Kind::Group => self.store.leave_group(id, user, scrub, self.clock.now()).await?,
            };
            others.extend(batch.recipients);
            system_messages.extend(batch.system_messages);
            if !batch.has_more {
                break;
            }
        }
        let event = ServerEvent::ConversationLeft(MemberLeft { id, left: user });
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let message_events = system_messages.into_iter().map(|row| DirectedEvent {
            to: others.clone(),
            event: ServerEvent::Message(chat::message_view(row)),
        });
        let mut events: Vec<DirectedEvent> = message_events.collect();
        events.push(DirectedEvent { to: others, event });
        Ok(events)
    }
}

impl JobHandler for EraseAccountJob {
    fn kind(&self) -> &'static str {
        ERASE_JOB_KIND
    }

    fn run<'a>(&'a self, job: &'a JobRow) -> BoxFuture<'a, Result<Vec<DirectedEvent>, JobError>> {
        Box::pin(self.erase(job))
    }
}
