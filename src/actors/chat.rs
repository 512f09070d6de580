//! Chat lanes: where messages get their order.
//!
//! Each conversation belongs to one lane. While one of its batches commits, what is said meanwhile
//! waits and becomes the next batch: one transaction and one fsync for many senders, and what is
//! committed is announced in the order of `seq`. On a restart a lane forgets what waited (senders
//! are told to send again, with the same `client_id`) and lets every session look for itself.
//!
//! An announcement may be lost or come twice; it only tells sessions how far a conversation is.

mod queue;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, WrapFuture};
use base::backoff::Backoff;
use base::ids::{ConversationId, UserId};
use metrics::{counter, histogram};
use tokio::time::Instant;

pub use self::queue::ChatShards;
use self::queue::{ConversationWork, EnqueueWork, ReplySlot};
use super::sessions::{EventRouter, OutboundEvent, SequencePosition};
use super::supervision::SupervisedContext;
use crate::domain::chat::{
    ChangeMessageOutcome, ChatError, ChatService, MessageChange, MessageDraft, SendMessageOutcome,
};
use crate::protocol::messages::MessageView as Wire;
use crate::protocol::server::ServerEvent;
use crate::telemetry::metrics::{
    BATCH, CHANGES, COMMIT_SECONDS, MESSAGES, MESSAGES_REPEATED, dropped, refused,
};

/// How many messages one transaction stores at most.
const MAX_BATCH_MESSAGES: usize = 256;
/// A conversation silent for this long is forgotten.
const CONVERSATION_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long until a lane looks again at what it could not announce.
const REANNOUNCE_BACKOFF: Backoff =
    Backoff { initial: Duration::from_secs(1), max: Duration::from_secs(30) };
/// A commit that was under way has ended after this time, well or not.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(3);

/// The actor.
pub struct ChatShard {
    chat: ChatService,
    switchboard: EventRouter,
    lines: HashMap<ConversationId, ConversationQueue>,
    /// How many drafts wait in all lines, and how many may.
    waiting: usize,
    most: usize,
}

/// One conversation's queue.
struct ConversationQueue {
    waiting: VecDeque<ConversationWork>,
    committing: bool,
    /// Who is to be told, and the roster's number at which that was right.
    audience: Option<RecipientCache>,
    /// Something was perhaps not announced, and the lane is about to look.
    reminding: bool,
    used: Instant,
}

/// Who hears of a conversation, as of which roster.
#[derive(Clone)]
struct RecipientCache {
    roster: i64,
    people: Arc<[UserId]>,
}

/// What a commit gave: the roster at that moment and what became of each draft, or why not.
struct CommitOutcome {
    results: Result<(i64, Vec<Result<SendMessageOutcome, ChatError>>), ChatError>,
    audience: Option<RecipientCache>,
}

crate::actors::supervision::supervised!(ChatShard);

impl ChatShard {
    /// A lane that stores through `chat` and announces through `switchboard`; beyond `most`
    /// waiting drafts it refuses.
    pub fn new(chat: ChatService, switchboard: EventRouter, most: usize) -> Self {
        Self { chat, switchboard, lines: HashMap::new(), waiting: 0, most }
    }

    /// Commits what waits, if nothing is being committed.
    fn commit(&mut self, conversation: ConversationId, ctx: &mut SupervisedContext<Self>) {
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        if line.committing || line.waiting.is_empty() {
            return;
        }
        line.committing = true;
        let (mut drafts, mut replies) = (Vec::new(), Vec::new());
        while drafts.len() < MAX_BATCH_MESSAGES
            && let Some(work) =
                line.waiting.pop_front_if(|work| matches!(work, ConversationWork::Say { .. }))
            && let ConversationWork::Say { draft, reply } = work
        {
            drafts.push(draft);
            replies.push(reply);
        }
        if drafts.is_empty() {
            return self.alter(conversation, ctx);
        }
        if line.waiting.is_empty() {
            line.waiting = VecDeque::new(); // the room it took goes too: most lines are silent
        }
        self.waiting -= drafts.len();
        histogram!(BATCH).record(u32::try_from(drafts.len()).map_or(0.0, f64::from));
        let work = store(self.chat.clone(), conversation, drafts, line.audience.clone());
        ctx.spawn(work.into_actor(self).map(move |committed, lane, ctx| {
            lane.committed(conversation, committed, replies, ctx);
            lane.commit(conversation, ctx);
        }));
    }

    /// Commits the change that waits first.
    fn alter(&mut self, conversation: ConversationId, ctx: &mut SupervisedContext<Self>) {
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        let Some(ConversationWork::Alter { wish, reply }) = line.waiting.pop_front() else {
            return;
        };
        self.waiting -= 1;
        let (chat, known) = (self.chat.clone(), line.audience.clone());
        let work = async move {
            let outcome = chat.alter(conversation, wish).await;
            let roster = outcome.as_ref().ok().and_then(|o| o.change.as_ref().map(|c| c.roster));
            let audience = audience(&chat, conversation, roster, known).await;
            (outcome, audience)
        };
        ctx.spawn(work.into_actor(self).map(move |(outcome, audience), lane, ctx| {
            lane.altered(conversation, &outcome, audience, ctx);
            let _ = reply.send(outcome); // whoever went away looks again
            lane.commit(conversation, ctx);
        }));
    }

    fn altered(
        &mut self,
        conversation: ConversationId,
        outcome: &Result<ChangeMessageOutcome, ChatError>,
        audience: Option<RecipientCache>,
        ctx: &mut SupervisedContext<Self>,
    ) {
        match outcome {
            Ok(ChangeMessageOutcome { change: Some(change), .. }) => {
                counter!(CHANGES, "event" => change.event.name()).increment(1);
                match audience.as_ref() {
                    Some(audience) if audience.roster == change.roster => {
                        self.announce_change(audience, change);
                    }
                    // Whoever came meanwhile may not see it: the database knows.
                    Some(audience) => {
                        if let Some(place) = OutboundEvent::new(&change.event).position() {
                            self.switchboard.publish_head(&audience.people, place);
                        }
                    }
                    None => {
                        dropped("audience-unknown");
                        self.remind(conversation, 0, ctx);
                    }
                }
            }
            Err(ChatError::Store(error)) => {
                self.turn_away(conversation);
                if matches!(error, store::StoreError::Deadline) {
                    self.remind(conversation, 0, ctx); // perhaps it was committed
                }
            }
            Ok(_) | Err(_) => {}
        }
        self.settle(conversation, audience);
    }

    fn committed(
        &mut self,
        conversation: ConversationId,
        committed: CommitOutcome,
        replies: Vec<ReplySlot>,
        ctx: &mut SupervisedContext<Self>,
    ) {
        let CommitOutcome { results, audience } = committed;
        let (roster, results) = match results {
            Ok(committed) => committed,
            Err(error) => {
                // Whoever waits behind it would only wait for the same: a database that is away.
                self.turn_away(conversation);
                if matches!(error, ChatError::Store(store::StoreError::Deadline)) {
                    self.remind(conversation, 0, ctx); // perhaps it was committed
                }
                (0, replies.iter().map(|_| Err(error.clone())).collect())
            }
        };
        let mut known = 0;
        for (reply, result) in replies.into_iter().zip(results) {
            if let Ok(SendMessageOutcome::New(message, withheld)) = &result {
                counter!(MESSAGES).increment(1);
                histogram!(COMMIT_SECONDS).record(reply.since.elapsed().as_secs_f64());
                match audience.as_ref().filter(|audience| audience.roster == roster) {
                    Some(audience) => self.announce(audience, message, *withheld),
                    None => known = known.max(message.seq),
                }
            }
            // The first commit may have been one whose answer was lost: perhaps never announced.
            if let Ok(SendMessageOutcome::Before(message)) = &result {
                counter!(MESSAGES_REPEATED).increment(1);
                known = known.max(message.seq);
            }
            let _ = reply.to.send(result); // whoever went away asks again with the same client_id
        }
        match &audience {
            _ if known == 0 => {}
            // Who may see what is asked of the database: the audience is not that of the commit.
            Some(audience) => {
                self.switchboard
                    .publish_head(&audience.people, SequencePosition::said(conversation, known));
            }
            None => {
                dropped("audience-unknown");
                self.remind(conversation, 0, ctx);
            }
        }
        self.settle(conversation, audience);
    }

    /// Nothing is being committed any more.
    fn settle(&mut self, conversation: ConversationId, audience: Option<RecipientCache>) {
        if let Some(line) = self.lines.get_mut(&conversation) {
            line.committing = false;
            line.audience = audience;
            line.used = Instant::now();
            let idle = line.waiting.is_empty() && !line.reminding;
            if idle && line.audience.is_none() {
                self.lines.remove(&conversation); // a conversation that may not even exist
            }
        }
    }

    fn announce(&self, audience: &RecipientCache, message: &Wire, withheld: Option<UserId>) {
        let event = OutboundEvent::new(&ServerEvent::Message(message.clone()));
        self.tell(audience, &event, None, withheld.as_slice());
    }

    fn announce_change(&self, audience: &RecipientCache, change: &MessageChange) {
        self.tell(audience, &OutboundEvent::new(&change.event), change.only, &change.except);
    }

    /// Tells one person only, or all but some; the others that this number is not for them.
    fn tell(
        &self,
        audience: &RecipientCache,
        event: &OutboundEvent,
        only: Option<UserId>,
        except: &[UserId],
    ) {
        if only.is_none() && except.is_empty() {
            return self.switchboard.publish(&audience.people, event);
        }
        let hears = |user: &&UserId| match only {
            Some(one) => one == **user,
            None => !except.contains(*user),
        };
        let (to, others): (Vec<&UserId>, Vec<&UserId>) = audience.people.iter().partition(hears);
        let owned = |people: Vec<&UserId>| people.into_iter().copied().collect::<Vec<_>>();
        self.switchboard.publish(&owned(to), event);
        if let Some(place) = event.position() {
            self.switchboard.publish_skipped(&owned(others), place);
        }
    }

    /// Refuses everything that waits in a line.
    fn turn_away(&mut self, conversation: ConversationId) {
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        for work in line.waiting.drain(..) {
            self.waiting -= 1;
            work.reject();
        }
    }

    /// A little later tells everybody how far the conversation is; whoever lacks something reads
    /// it. Tried again, ever more slowly, until the database answers.
    fn remind(
        &mut self,
        conversation: ConversationId,
        attempt: u32,
        ctx: &mut SupervisedContext<Self>,
    ) {
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        if line.reminding && attempt == 0 {
            return;
        }
        line.reminding = true;
        let chat = self.chat.clone();
        let pause = REANNOUNCE_BACKOFF.delay(attempt + 1, 0.0);
        let look = async move {
            tokio::time::sleep(pause).await;
            chat.audience(conversation).await
        };
        ctx.spawn(look.into_actor(self).map(move |found, lane, ctx| match found {
            Ok(now) => {
                let (said, changed) = (now.last_seq, now.revision);
                let switchboard = &lane.switchboard;
                switchboard.publish_head(&now.members, SequencePosition::said(conversation, said));
                switchboard
                    .publish_head(&now.members, SequencePosition::changed(conversation, changed));
                if let Some(line) = lane.lines.get_mut(&conversation) {
                    line.reminding = false;
                }
            }
            Err(_) => lane.remind(conversation, attempt + 1, ctx),
        }));
    }
}

/// Commits a batch; asks who is to be told only if membership changed since the last time.
async fn store(
    chat: ChatService,
    conversation: ConversationId,
    drafts: Vec<MessageDraft>,
    known: Option<RecipientCache>,
) -> CommitOutcome {
    let (roster, results) = match chat.append(conversation, drafts).await {
        Ok(committed) => committed,
        Err(error) => return CommitOutcome { results: Err(error), audience: known },
    };
    let wanted = results.iter().any(Result::is_ok).then_some(roster);
    let audience = audience(&chat, conversation, wanted, known).await;
    CommitOutcome { results: Ok((roster, results)), audience }
}

/// Who is to be told: who was known, unless the roster has changed.
async fn audience(
    chat: &ChatService,
    conversation: ConversationId,
    roster: Option<i64>,
    known: Option<RecipientCache>,
) -> Option<RecipientCache> {
    let Some(roster) = roster else { return known };
    if known.as_ref().is_some_and(|known| known.roster == roster) {
        return known;
    }
    let now = chat.audience(conversation).await.ok()?;
    Some(RecipientCache { roster: now.roster, people: now.members.into() })
}

impl Actor for ChatShard {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if ctx.is_restart() {
            self.switchboard.resync();
            // A commit that was under way may end after that.
            ctx.run_later(COMMIT_TIMEOUT, |lane, _| lane.switchboard.resync());
        }
        ctx.run_interval(CONVERSATION_IDLE_TIMEOUT / 5, |lane, _| {
            lane.lines.retain(|_, line| {
                let busy = line.committing || line.reminding || !line.waiting.is_empty();
                busy || line.used.elapsed() < CONVERSATION_IDLE_TIMEOUT
            });
        });
    }
}

impl Handler<EnqueueWork> for ChatShard {
    type Result = ();

    fn handle(&mut self, EnqueueWork { conversation, work }: EnqueueWork, ctx: &mut Self::Context) {
        if self.waiting >= self.most {
            refused("lane-full");
            return work.reject();
        }
        let line = self.lines.entry(conversation).or_insert_with(|| ConversationQueue {
            waiting: VecDeque::new(),
            committing: false,
            audience: None,
            reminding: false,
            used: Instant::now(),
        });
        line.waiting.push_back(work);
        self.waiting += 1;
        self.commit(conversation, ctx);
    }
}
