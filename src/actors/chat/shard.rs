//! The actor that orders the writes of its conversations.

mod announce;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, WrapFuture};
use base::backoff::Backoff;
use base::ids::{ConversationId, UserId};
use metrics::{counter, histogram};
use tokio::time::Instant;

use super::work::{ConversationWork, EnqueueWork, ReplySlot};
use crate::actors::delivery::{EventRouter, OutboundEvent, SequencePosition};
use crate::actors::supervision::SupervisedContext;
use crate::domain::chat::{
    ChangeMessageOutcome, ChatError, ChatService, MessageDraft, SendMessageOutcome,
};
use crate::limits::MAX_BATCH_MESSAGES;
use crate::telemetry::metrics::{
    CHANGES, CHAT_COMMIT_BATCH_SIZE, COMMIT_SECONDS, MESSAGES, MESSAGES_REPEATED,
    count_dropped_event, count_rejected,
};

/// A conversation without messages for this long is removed from memory.
const CONVERSATION_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Back-off before the head of a conversation is published after a failed announcement.
const REANNOUNCE_BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(30) };
/// After this time a commit that was in progress has ended, successfully or not.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(3);

/// The actor that orders the writes of its conversations.
pub struct ChatShard {
    chat: ChatService,
    event_router: EventRouter,
    queues: HashMap<ConversationId, ConversationQueue>,
    /// Queued work of all conversations, and its limit.
    queued: usize,
    max_queued: usize,
}

/// The queue of one conversation.
struct ConversationQueue {
    queued: VecDeque<ConversationWork>,
    is_committing: bool,
    /// The recipients, and the membership version at which they were read.
    recipients: Option<RecipientCache>,
    /// An announcement may be missing, and the head is about to be published.
    is_reannouncing: bool,
    last_used: Instant,
}

/// The recipients of a conversation, as of a membership version.
#[derive(Clone)]
struct RecipientCache {
    membership_version: i64,
    users: Arc<[UserId]>,
}

/// The result of a commit: the membership version and the outcome of each draft, or the error.
struct CommitOutcome {
    results: Result<(i64, Vec<Result<SendMessageOutcome, ChatError>>), ChatError>,
    recipients: Option<RecipientCache>,
}

crate::actors::supervision::supervised!(ChatShard);

impl ChatShard {
    /// A shard that stores through `chat` and publishes through `event_router`; beyond `max_queued` queued
    /// items it refuses work.
    pub fn new(chat: ChatService, event_router: EventRouter, max_queued: usize) -> Self {
        Self { chat, event_router, queues: HashMap::new(), queued: 0, max_queued }
    }

    /// Commits what is queued, unless a commit is in progress.
    fn commit(&mut self, conversation: ConversationId, ctx: &mut SupervisedContext<Self>) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        if queue.is_committing || queue.queued.is_empty() {
            return;
        }
        queue.is_committing = true;
        let (mut drafts, mut replies) = (Vec::new(), Vec::new());
        while drafts.len() < MAX_BATCH_MESSAGES
            && let Some(work) = queue
                .queued
                .pop_front_if(|work| matches!(work, ConversationWork::SendMessage { .. }))
            && let ConversationWork::SendMessage { draft, reply } = work
        {
            drafts.push(draft);
            replies.push(reply);
        }
        if drafts.is_empty() {
            return self.commit_change(conversation, ctx);
        }
        if queue.queued.is_empty() {
            queue.queued = VecDeque::new(); // frees the memory, as most conversations are silent
        }
        self.queued -= drafts.len();
        histogram!(CHAT_COMMIT_BATCH_SIZE)
            .record(u32::try_from(drafts.len()).map_or(0.0, f64::from));
        let work = commit_batch(self.chat.clone(), conversation, drafts, queue.recipients.clone());
        ctx.spawn(work.into_actor(self).map(move |outcome, shard, ctx| {
            shard.on_committed(conversation, outcome, replies, ctx);
            shard.commit(conversation, ctx);
        }));
    }

    /// Commits the first queued change.
    fn commit_change(&mut self, conversation: ConversationId, ctx: &mut SupervisedContext<Self>) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        let Some(ConversationWork::ChangeMessage { request, reply }) = queue.queued.pop_front()
        else {
            return;
        };
        self.queued -= 1;
        let (chat, cached) = (self.chat.clone(), queue.recipients.clone());
        let work = async move {
            let outcome = chat.change_message(conversation, request).await;
            let membership_version =
                outcome.as_ref().ok().and_then(|o| o.change.as_ref().map(|c| c.members_version));
            let recipients = recipients(&chat, conversation, membership_version, cached).await;
            (outcome, recipients)
        };
        ctx.spawn(work.into_actor(self).map(move |(outcome, recipients), shard, ctx| {
            shard.on_change_committed(conversation, &outcome, recipients, ctx);
            let _ = reply.send(outcome); // fails only if the caller has left
            shard.commit(conversation, ctx);
        }));
    }

    fn on_change_committed(
        &mut self,
        conversation: ConversationId,
        outcome: &Result<ChangeMessageOutcome, ChatError>,
        recipients: Option<RecipientCache>,
        ctx: &mut SupervisedContext<Self>,
    ) {
        match outcome {
            Ok(ChangeMessageOutcome { change: Some(change), .. }) => {
                counter!(CHANGES, "event" => change.event.name()).increment(1);
                match recipients.as_ref() {
                    Some(recipients) if recipients.membership_version == change.members_version => {
                        self.announce_change(recipients, change);
                    }
                    // Members added meanwhile may not see it; the database decides.
                    Some(recipients) => {
                        if let Some(position) = OutboundEvent::new(&change.event).position() {
                            self.event_router.publish_head(&recipients.users, position);
                        }
                    }
                    None => {
                        count_dropped_event("audience-unknown");
                        self.schedule_reannounce(conversation, 0, ctx);
                    }
                }
            }
            Err(ChatError::Store(error)) => {
                self.reject_queued(conversation);
                if matches!(error, store::StoreError::Deadline) {
                    self.schedule_reannounce(conversation, 0, ctx); // it may have been committed
                }
            }
            Ok(_) | Err(_) => {}
        }
        self.end_commit(conversation, recipients);
    }

    fn on_committed(
        &mut self,
        conversation: ConversationId,
        outcome: CommitOutcome,
        replies: Vec<ReplySlot>,
        ctx: &mut SupervisedContext<Self>,
    ) {
        let CommitOutcome { results, recipients } = outcome;
        let (membership_version, results) = match results {
            Ok(committed) => committed,
            Err(error) => {
                // Work queued behind it would fail for the same reason: the database is
                // unavailable.
                self.reject_queued(conversation);
                if matches!(error, ChatError::Store(store::StoreError::Deadline)) {
                    self.schedule_reannounce(conversation, 0, ctx); // it may have been committed
                }
                (0, replies.iter().map(|_| Err(error.clone())).collect())
            }
        };
        let mut head_seq = 0;
        for (reply, result) in replies.into_iter().zip(results) {
            if let Ok(SendMessageOutcome::Stored(message, withheld)) = &result {
                counter!(MESSAGES).increment(1);
                histogram!(COMMIT_SECONDS).record(reply.queued_at.elapsed().as_secs_f64());
                match recipients
                    .as_ref()
                    .filter(|known| known.membership_version == membership_version)
                {
                    Some(recipients) => self.announce_message(recipients, message, *withheld),
                    None => head_seq = head_seq.max(message.seq),
                }
            }
            // The first commit may be one whose reply was lost, and whose event was never
            // published.
            if let Ok(SendMessageOutcome::Duplicate(message)) = &result {
                counter!(MESSAGES_REPEATED).increment(1);
                head_seq = head_seq.max(message.seq);
            }
            // fails only if the caller has left, who retries with the same client_id
            let _ = reply.reply_to.send(result);
        }
        match &recipients {
            _ if head_seq == 0 => {}
            // Who may see it is checked against the database: these are not the recipients at the
            // commit.
            Some(recipients) => {
                self.event_router.publish_head(
                    &recipients.users,
                    SequencePosition::message(conversation, head_seq),
                );
            }
            None => {
                count_dropped_event("audience-unknown");
                self.schedule_reannounce(conversation, 0, ctx);
            }
        }
        self.end_commit(conversation, recipients);
    }

    /// Ends a commit.
    fn end_commit(&mut self, conversation: ConversationId, recipients: Option<RecipientCache>) {
        if let Some(queue) = self.queues.get_mut(&conversation) {
            queue.is_committing = false;
            queue.recipients = recipients;
            queue.last_used = Instant::now();
            let idle = queue.queued.is_empty() && !queue.is_reannouncing;
            if idle && queue.recipients.is_none() {
                self.queues.remove(&conversation); // a conversation that may not even exist
            }
        }
    }

    /// Rejects all queued work of a conversation.
    fn reject_queued(&mut self, conversation: ConversationId) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        for work in queue.queued.drain(..) {
            self.queued -= 1;
            work.reject();
        }
    }

    /// Publishes the head of the conversation after a delay; sessions that lack something read it.
    /// Retried with growing delays until the database answers.
    fn schedule_reannounce(
        &mut self,
        conversation: ConversationId,
        attempt: u32,
        ctx: &mut SupervisedContext<Self>,
    ) {
        let Some(queue) = self.queues.get_mut(&conversation) else { return };
        if queue.is_reannouncing && attempt == 0 {
            return;
        }
        queue.is_reannouncing = true;
        let chat = self.chat.clone();
        let pause = REANNOUNCE_BACKOFF.delay(attempt + 1, 0.0);
        let head = async move {
            tokio::time::sleep(pause).await;
            chat.recipients(conversation).await
        };
        ctx.spawn(head.into_actor(self).map(move |found, shard, ctx| match found {
            Ok(current) => {
                let (last_seq, revision) = (current.last_seq, current.revision);
                let event_router = &shard.event_router;
                event_router.publish_head(
                    &current.members,
                    SequencePosition::message(conversation, last_seq),
                );
                event_router.publish_head(
                    &current.members,
                    SequencePosition::revision(conversation, revision),
                );
                if let Some(queue) = shard.queues.get_mut(&conversation) {
                    queue.is_reannouncing = false;
                }
            }
            Err(_) => shard.schedule_reannounce(conversation, attempt + 1, ctx),
        }));
    }
}

/// Commits a batch; reads the recipients only if the membership changed since the last time.
async fn commit_batch(
    chat: ChatService,
    conversation: ConversationId,
    drafts: Vec<MessageDraft>,
    cached: Option<RecipientCache>,
) -> CommitOutcome {
    let (membership_version, results) = match chat.append(conversation, drafts).await {
        Ok(committed) => committed,
        Err(error) => return CommitOutcome { results: Err(error), recipients: cached },
    };
    let read_version = results.iter().any(Result::is_ok).then_some(membership_version);
    let recipients = recipients(&chat, conversation, read_version, cached).await;
    CommitOutcome { results: Ok((membership_version, results)), recipients }
}

/// The recipients: the cached ones, unless the membership has changed.
async fn recipients(
    chat: &ChatService,
    conversation: ConversationId,
    membership_version: Option<i64>,
    cached: Option<RecipientCache>,
) -> Option<RecipientCache> {
    let Some(membership_version) = membership_version else { return cached };
    if cached.as_ref().is_some_and(|cached| cached.membership_version == membership_version) {
        return cached;
    }
    let current = chat.recipients(conversation).await.ok()?;
    Some(RecipientCache { membership_version: current.roster, users: current.members.into() })
}

impl Actor for ChatShard {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if ctx.is_restart() {
            self.event_router.resync();
            // A commit that was in progress may end after that.
            ctx.run_later(COMMIT_TIMEOUT, |shard, _| shard.event_router.resync());
        }
        ctx.run_interval(CONVERSATION_IDLE_TIMEOUT / 5, |shard, _| {
            shard.queues.retain(|_, queue| {
                let busy = queue.is_committing || queue.is_reannouncing || !queue.queued.is_empty();
                busy || queue.last_used.elapsed() < CONVERSATION_IDLE_TIMEOUT
            });
        });
    }
}

impl Handler<EnqueueWork> for ChatShard {
    type Result = ();

    fn handle(&mut self, EnqueueWork { conversation, work }: EnqueueWork, ctx: &mut Self::Context) {
        if self.queued >= self.max_queued {
            count_rejected("lane-full");
            return work.reject();
        }
        let queue = self.queues.entry(conversation).or_insert_with(|| ConversationQueue {
            queued: VecDeque::new(),
            is_committing: false,
            recipients: None,
            is_reannouncing: false,
            last_used: Instant::now(),
        });
        queue.queued.push_back(work);
        self.queued += 1;
        self.commit(conversation, ctx);
    }
}
