//! Chat lanes: where messages get their order.
//!
//! Each conversation belongs to one lane. While one of its batches commits, what is said meanwhile
//! waits and becomes the next batch: one transaction and one fsync for many senders, and what is
//! committed is announced in the order of `seq`. On a restart a lane forgets what waited (senders
//! are told to send again, with the same `client_id`) and lets every session look for itself.
//!
//! An announcement may be lost or come twice; it only tells sessions how far a conversation is.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use base::backoff::Backoff;
use base::ids::{ConversationId, UserId};
use metrics::{counter, histogram};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::sessions::{Outgoing, Switchboard};
use super::supervision::{Ctx, Ref};
use crate::domain::chat::{Chat, Draft, Error, Said};
use crate::protocol::chat::Message as Wire;
use crate::protocol::server::ServerEvent;
use crate::telemetry::metrics::{
    BATCH, COMMIT_SECONDS, MESSAGES, MESSAGES_REPEATED, dropped, refused,
};

/// How many messages one transaction stores at most.
const MOST: usize = 256;
/// A conversation silent for this long is forgotten.
const IDLE: Duration = Duration::from_secs(300);
/// How long until a lane looks again at what it could not announce.
const REMINDER: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(30) };
/// A commit that was under way has ended after this time, well or not.
const COMMITS_END: Duration = Duration::from_secs(3);

/// The way to all lanes; cheap to clone.
#[derive(Clone)]
pub struct Lanes(Arc<[Ref<Lane>]>);

impl Lanes {
    /// The lanes of a node, in the order of their names.
    pub fn new(lanes: Vec<Ref<Lane>>) -> Self {
        Self(lanes.into())
    }

    /// Queues a draft at once; the future tells what became of it.
    pub fn send(
        &self,
        conversation: ConversationId,
        draft: Draft,
    ) -> impl Future<Output = Result<Said, Error>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let mut hash = DefaultHasher::new();
        conversation.hash(&mut hash);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let lane = &self.0[hash.finish() as usize % self.0.len()];
        let queued = lane.tell(Say { conversation, draft, reply });
        async move {
            queued.map_err(|_| Error::Busy)?;
            answer.await.map_err(|_| Error::Busy)?
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Say {
    conversation: ConversationId,
    draft: Draft,
    reply: oneshot::Sender<Result<Said, Error>>,
}

/// The actor.
pub struct Lane {
    chat: Chat,
    switchboard: Switchboard,
    lines: HashMap<ConversationId, Line>,
    /// How many drafts wait in all lines, and how many may.
    waiting: usize,
    most: usize,
}

/// One conversation's queue.
struct Line {
    waiting: Vec<Waiting>,
    committing: bool,
    /// Who is to be told, and the roster's number at which that was right.
    audience: Option<Audience>,
    /// Something was perhaps not announced, and the lane is about to look.
    reminding: bool,
    used: Instant,
}

/// Who hears of a conversation, as of which roster.
#[derive(Clone)]
struct Audience {
    roster: i64,
    people: Arc<[UserId]>,
}

struct Waiting {
    draft: Draft,
    reply: Reply,
}

struct Reply {
    to: oneshot::Sender<Result<Said, Error>>,
    since: Instant,
}

/// What a commit gave: the roster at that moment and what became of each draft, or why not.
struct Committed {
    results: Result<(i64, Vec<Result<Said, Error>>), Error>,
    audience: Option<Audience>,
}

crate::actors::supervision::supervised!(Lane);

impl Lane {
    /// A lane that stores through `chat` and announces through `switchboard`; beyond `most`
    /// waiting drafts it refuses.
    pub fn new(chat: Chat, switchboard: Switchboard, most: usize) -> Self {
        Self { chat, switchboard, lines: HashMap::new(), waiting: 0, most }
    }

    /// Commits what waits, if nothing is being committed.
    fn commit(&mut self, conversation: ConversationId, ctx: &mut Ctx<Self>) {
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        if line.committing || line.waiting.is_empty() {
            return;
        }
        line.committing = true;
        // Most often all of it: then the room it took goes too, since most conversations are silent.
        let batch: Vec<_> = if line.waiting.len() <= MOST {
            std::mem::take(&mut line.waiting)
        } else {
            line.waiting.drain(..MOST).collect()
        };
        self.waiting -= batch.len();
        histogram!(BATCH).record(u32::try_from(batch.len()).map_or(0.0, f64::from));
        let (drafts, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.draft, waiting.reply)).unzip();
        let work = store(self.chat.clone(), conversation, drafts, line.audience.clone());
        ctx.spawn(work.into_actor(self).map(move |committed, lane, ctx| {
            lane.committed(conversation, committed, replies, ctx);
            lane.commit(conversation, ctx);
        }));
    }

    fn committed(
        &mut self,
        conversation: ConversationId,
        committed: Committed,
        replies: Vec<Reply>,
        ctx: &mut Ctx<Self>,
    ) {
        let Committed { results, audience } = committed;
        let (roster, results) = match results {
            Ok(committed) => committed,
            Err(error) => {
                // Whoever waits behind it would only wait for the same: a database that is away.
                self.turn_away(conversation);
                if matches!(error, Error::Store(store::Error::Deadline)) {
                    self.remind(conversation, 0, ctx); // perhaps it was committed
                }
                (0, replies.iter().map(|_| Err(error.clone())).collect())
            }
        };
        let mut known = 0;
        for (reply, result) in replies.into_iter().zip(results) {
            if let Ok(Said::New(message)) = &result {
                counter!(MESSAGES).increment(1);
                histogram!(COMMIT_SECONDS).record(reply.since.elapsed().as_secs_f64());
                match audience.as_ref().filter(|audience| audience.roster == roster) {
                    Some(audience) => self.announce(audience, message),
                    None => known = known.max(message.seq),
                }
            }
            // The first commit may have been one whose answer was lost: perhaps never announced.
            if let Ok(Said::Before(message)) = &result {
                counter!(MESSAGES_REPEATED).increment(1);
                known = known.max(message.seq);
            }
            let _ = reply.to.send(result); // whoever went away asks again with the same client_id
        }
        match &audience {
            _ if known == 0 => {}
            // Who may see what is asked of the database: the audience is not that of the commit.
            Some(audience) => self.switchboard.tell_known(&audience.people, conversation, known),
            None => {
                dropped("audience-unknown");
                self.remind(conversation, 0, ctx);
            }
        }
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

    fn announce(&self, audience: &Audience, message: &Wire) {
        let event = Outgoing::new(&ServerEvent::Message(message.clone()));
        self.switchboard.announce(&audience.people, &event);
    }

    /// Refuses everything that waits in a line.
    fn turn_away(&mut self, conversation: ConversationId) {
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        for waiting in line.waiting.drain(..) {
            self.waiting -= 1;
            let _ = waiting.reply.to.send(Err(Error::Busy)); // gone: nobody to tell
        }
    }

    /// A little later tells everybody how far the conversation is; whoever lacks something reads
    /// it. Tried again, ever more slowly, until the database answers.
    fn remind(&mut self, conversation: ConversationId, attempt: u32, ctx: &mut Ctx<Self>) {
        let Some(line) = self.lines.get_mut(&conversation) else { return };
        if line.reminding && attempt == 0 {
            return;
        }
        line.reminding = true;
        let chat = self.chat.clone();
        let pause = REMINDER.delay(attempt + 1, 0.0);
        let look = async move {
            tokio::time::sleep(pause).await;
            chat.audience(conversation).await
        };
        ctx.spawn(look.into_actor(self).map(move |found, lane, ctx| match found {
            Ok(now) => {
                lane.switchboard.tell_known(&now.members, conversation, now.last_seq);
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
    chat: Chat,
    conversation: ConversationId,
    drafts: Vec<Draft>,
    known: Option<Audience>,
) -> Committed {
    let (roster, results) = match chat.append(conversation, drafts).await {
        Ok(committed) => committed,
        Err(error) => return Committed { results: Err(error), audience: known },
    };
    let fits = known.as_ref().is_some_and(|known| known.roster == roster);
    let audience = if fits || results.iter().all(Result::is_err) {
        known
    } else {
        let found = chat.audience(conversation).await.ok();
        found.map(|now| Audience { roster: now.roster, people: now.members.into() })
    };
    Committed { results: Ok((roster, results)), audience }
}

impl Actor for Lane {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if ctx.is_restart() {
            self.switchboard.resync();
            // A commit that was under way may end after that.
            ctx.run_later(COMMITS_END, |lane, _| lane.switchboard.resync());
        }
        ctx.run_interval(IDLE / 5, |lane, _| {
            lane.lines.retain(|_, line| {
                let busy = line.committing || line.reminding || !line.waiting.is_empty();
                busy || line.used.elapsed() < IDLE
            });
        });
    }
}

impl Handler<Say> for Lane {
    type Result = ();

    fn handle(&mut self, say: Say, ctx: &mut Self::Context) {
        if self.waiting >= self.most {
            refused("lane-full");
            let _ = say.reply.send(Err(Error::Busy)); // gone: nobody to tell
            return;
        }
        let line = self.lines.entry(say.conversation).or_insert_with(|| Line {
            waiting: Vec::new(),
            committing: false,
            audience: None,
            reminding: false,
            used: Instant::now(),
        });
        let reply = Reply { to: say.reply, since: Instant::now() };
        line.waiting.push(Waiting { draft: say.draft, reply });
        self.waiting += 1;
        self.commit(say.conversation, ctx);
    }
}
