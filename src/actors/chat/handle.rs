//! The handle to the chat shards of this node.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use base::ids::ConversationId;
use tokio::sync::oneshot;

use super::shard::ChatShard;
use super::work::{ConversationWork, EnqueueWork, ReplySlot};
use crate::actors::supervision::ActorRef;
use crate::domain::chat::{
    ChangeMessageOutcome, ChangeMessageRequest, ChatError, MessageDraft, SendMessageOutcome,
};

/// Handle to all chat shards of this node; cheap to clone.
#[derive(Clone)]
pub struct ChatShards(Arc<[ActorRef<ChatShard>]>);

impl ChatShards {
    /// The shards of a node, ordered by name.
    pub fn new(shards: Vec<ActorRef<ChatShard>>) -> Self {
        Self(shards.into())
    }

    /// Queues a message immediately; the future resolves to the outcome.
    pub fn send(
        &self,
        conversation: ConversationId,
        draft: MessageDraft,
    ) -> impl Future<Output = Result<SendMessageOutcome, ChatError>> + Send + use<> {
        self.enqueue(conversation, |reply| ConversationWork::SendMessage {
            draft,
            reply: ReplySlot::new(reply),
        })
    }

    /// Queues a change of a message behind the work queued before; the future resolves to the
    /// outcome.
    pub fn change_message(
        &self,
        conversation: ConversationId,
        request: ChangeMessageRequest,
    ) -> impl Future<Output = Result<ChangeMessageOutcome, ChatError>> + Send + use<> {
        self.enqueue(conversation, |reply| ConversationWork::ChangeMessage { request, reply })
    }

    fn enqueue<T, W>(
        &self,
        conversation: ConversationId,
        work: W,
    ) -> impl Future<Output = Result<T, ChatError>> + Send + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(oneshot::Sender<Result<T, ChatError>>) -> ConversationWork,
    {
        let (reply, result) = oneshot::channel();
        let mut hash = DefaultHasher::new();
        conversation.hash(&mut hash);
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let shard = &self.0[hash.finish() as usize % self.0.len()];
        let queued = shard.tell(EnqueueWork { conversation, work: work(reply) });
        async move {
            queued.map_err(|_| ChatError::Overloaded)?;
            result.await.map_err(|_| ChatError::Overloaded)?
        }
    }
}
