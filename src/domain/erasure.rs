//! Erasure: what is left to remove when an account has ended, however much it is.

use base::clock::Clock;
use base::ids::UserId;
use serde::Deserialize;
use store::{AffectedConversation, JobRow, Kind, Store};

use super::export_store::ExportStore;
use super::files::FileService;
use super::jobs::{JobError, JobHandler};
use super::{DirectedEvent, chat};
use crate::cluster::BoxFuture;
use crate::protocol::server::{MemberLeft, ServerEvent};

/// The kind of its jobs.
pub const KIND: &str = "account.erase";

/// Leaves groups, removes conversations of two, and has disk and database forget.
pub struct EraseAccountJob {
    store: Store,
    clock: Clock,
    shelf: ExportStore,
    files: FileService,
}

#[derive(Deserialize)]
struct EraseAccountPayload {
    /// Whether what was said in groups is emptied.
    scrub: bool,
}

impl EraseAccountJob {
    /// Puts the parts together.
    pub const fn new(store: Store, clock: Clock, shelf: ExportStore, files: FileService) -> Self {
        Self { store, clock, shelf, files }
    }

    async fn erase(&self, job: &JobRow) -> Result<Vec<DirectedEvent>, JobError> {
        let user = job.user_id.ok_or_else(|| JobError::permanent("a job about nobody"))?;
        let payload: EraseAccountPayload = serde_json::from_value(job.payload.clone())
            .map_err(|error| JobError::permanent(error.to_string()))?;
        let (mut news, mut after) = (Vec::new(), None);
        loop {
            let (touched, next) = self.store.affected_conversations(user, after).await?;
            for conversation in touched {
                news.extend(self.part(user, conversation, payload.scrub).await?);
            }
            if next.is_none() {
                break;
            }
            after = next;
        }
        self.shelf.sweep(&self.store).await?;
        self.files.collect().await.map_err(|error| JobError::transient(error.to_string()))?;
        if self.store.purge_deleted_data().await? {
            Ok(news)
        } else {
            Err(JobError::transient("the database's log is still being read"))
        }
    }

    async fn part(
        &self,
        user: UserId,
        conversation: AffectedConversation,
        scrub: bool,
    ) -> Result<Vec<DirectedEvent>, JobError> {
        let id = conversation.id;
        let (mut others, mut said) = (Vec::new(), Vec::new());
        loop {
            let parting = match conversation.kind {
                Kind::Direct => {
                    self.store.remove_direct_conversation(id, user, self.clock.now()).await?
                }
                Kind::Group => self.store.leave_group(id, user, scrub, self.clock.now()).await?,
            };
            others.extend(parting.recipients);
            said.extend(parting.system_messages);
            if !parting.has_more {
                break;
            }
        }
        let event = ServerEvent::ConversationLeft(MemberLeft { id, left: user });
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let said = said.into_iter().map(|row| DirectedEvent {
            to: others.clone(),
            event: ServerEvent::Message(chat::said(row)),
        });
        let mut news: Vec<DirectedEvent> = said.collect();
        news.push(DirectedEvent { to: others, event });
        Ok(news)
    }
}

impl JobHandler for EraseAccountJob {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn run<'a>(&'a self, job: &'a JobRow) -> BoxFuture<'a, Result<Vec<DirectedEvent>, JobError>> {
        Box::pin(self.erase(job))
    }
}
