//! The way to chat lanes, and what waits in them.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use actix::Message;
use base::ids::ConversationId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ChatShard;
use crate::actors::supervision::ActorRef;
use crate::domain::chat::{
    ChangeMessageOutcome, ChangeMessageRequest, ChatError, MessageDraft, SendMessageOutcome,
};

/// The way to all lanes; cheap to clone.
#[derive(Clone)]
pub struct ChatShards(Arc<[ActorRef<ChatShard>]>);

impl ChatShards {
    /// The lanes of a node, in the order of their names.
    pub fn new(lanes: Vec<ActorRef<ChatShard>>) -> Self {
        Self(lanes.into())
    }

    /// Queues a draft at once; the future tells what became of it.
    pub fn send(
        &self,
        conversation: ConversationId,
        draft: MessageDraft,
    ) -> impl Future<Output = Result<SendMessageOutcome, ChatError>> + Send + use<> {
        self.queue(conversation, |reply| ConversationWork::Say {
            draft,
            reply: ReplySlot::to(reply),
        })
    }

    /// Queues a change of a message, behind what was said before; the future tells what became of
    /// it.
    pub fn change_message(
        &self,
        conversation: ConversationId,
        wish: ChangeMessageRequest,
    ) -> impl Future<Output = Result<ChangeMessageOutcome, ChatError>> + Send + use<> {
        self.queue(conversation, |reply| ConversationWork::Alter { wish, reply })
    }

    fn queue<T, W>(
        &self,
        conversation: ConversationId,
        work: W,
    ) -> impl Future<Output = Result<T, ChatError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(oneshot::Sender<Result<T, ChatError>>) -> ConversationWork,
    {
        let (reply, answer) = oneshot::channel();
        let mut hash = DefaultHasher::new();
        conversation.hash(&mut hash);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let lane = &self.0[hash.finish() as usize % self.0.len()];
        let queued = lane.tell(EnqueueWork { conversation, work: work(reply) });
        async move {
            queued.map_err(|_| ChatError::Overloaded)?;
            answer.await.map_err(|_| ChatError::Overloaded)?
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct EnqueueWork {
    pub(super) conversation: ConversationId,
    pub(super) work: ConversationWork,
}

/// What is to be done in a conversation, in the order in which it was asked for.
pub(super) enum ConversationWork {
    Say {
        draft: MessageDraft,
        reply: ReplySlot,
    },
    Alter {
        wish: ChangeMessageRequest,
        reply: oneshot::Sender<Result<ChangeMessageOutcome, ChatError>>,
    },
}

impl ConversationWork {
    pub(super) fn reject(self) {
        // Whoever went away is nobody to tell.
        match self {
            Self::Say { reply, .. } => drop(reply.to.send(Err(ChatError::Overloaded))),
            Self::Alter { reply, .. } => drop(reply.send(Err(ChatError::Overloaded))),
        }
    }
}

pub(super) struct ReplySlot {
    pub(super) to: oneshot::Sender<Result<SendMessageOutcome, ChatError>>,
    pub(super) since: Instant,
}

impl ReplySlot {
    fn to(to: oneshot::Sender<Result<SendMessageOutcome, ChatError>>) -> Self {
        Self { to, since: Instant::now() }
    }
}
