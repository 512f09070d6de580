//! The way to chat lanes, and what waits in them.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use actix::Message;
use base::ids::ConversationId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Lane;
use crate::actors::supervision::ActorRef;
use crate::domain::chat::{Draft, Error, Outcome, Said, Wish};

/// The way to all lanes; cheap to clone.
#[derive(Clone)]
pub struct Lanes(Arc<[ActorRef<Lane>]>);

impl Lanes {
    /// The lanes of a node, in the order of their names.
    pub fn new(lanes: Vec<ActorRef<Lane>>) -> Self {
        Self(lanes.into())
    }

    /// Queues a draft at once; the future tells what became of it.
    pub fn send(
        &self,
        conversation: ConversationId,
        draft: Draft,
    ) -> impl Future<Output = Result<Said, Error>> + Send + use<> {
        self.queue(conversation, |reply| Work::Say { draft, reply: Reply::to(reply) })
    }

    /// Queues a change of a message, behind what was said before; the future tells what became of
    /// it.
    pub fn alter(
        &self,
        conversation: ConversationId,
        wish: Wish,
    ) -> impl Future<Output = Result<Outcome, Error>> + Send + use<> {
        self.queue(conversation, |reply| Work::Alter { wish, reply })
    }

    fn queue<T, W>(
        &self,
        conversation: ConversationId,
        work: W,
    ) -> impl Future<Output = Result<T, Error>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(oneshot::Sender<Result<T, Error>>) -> Work,
    {
        let (reply, answer) = oneshot::channel();
        let mut hash = DefaultHasher::new();
        conversation.hash(&mut hash);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let lane = &self.0[hash.finish() as usize % self.0.len()];
        let queued = lane.tell(Queue { conversation, work: work(reply) });
        async move {
            queued.map_err(|_| Error::Busy)?;
            answer.await.map_err(|_| Error::Busy)?
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Queue {
    pub(super) conversation: ConversationId,
    pub(super) work: Work,
}

/// What is to be done in a conversation, in the order in which it was asked for.
pub(super) enum Work {
    Say { draft: Draft, reply: Reply },
    Alter { wish: Wish, reply: oneshot::Sender<Result<Outcome, Error>> },
}

impl Work {
    pub(super) fn turn_away(self) {
        // Whoever went away is nobody to tell.
        match self {
            Self::Say { reply, .. } => drop(reply.to.send(Err(Error::Busy))),
            Self::Alter { reply, .. } => drop(reply.send(Err(Error::Busy))),
        }
    }
}

pub(super) struct Reply {
    pub(super) to: oneshot::Sender<Result<Said, Error>>,
    pub(super) since: Instant,
}

impl Reply {
    fn to(to: oneshot::Sender<Result<Said, Error>>) -> Self {
        Self { to, since: Instant::now() }
    }
}
