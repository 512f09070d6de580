//! The work that is queued in a chat shard.

use actix::Message;
use base::ids::ConversationId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::domain::chat::{
    ChangeMessageOutcome, ChangeMessageRequest, ChatError, MessageDraft, SendMessageOutcome,
};

/// Queues work for a conversation of the shard.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct EnqueueWork {
    pub(super) conversation: ConversationId,
    pub(super) work: ConversationWork,
}

/// Work in a conversation, in the order of the requests.
pub(super) enum ConversationWork {
    SendMessage {
        draft: MessageDraft,
        reply: ReplySlot,
    },
    ChangeMessage {
        request: ChangeMessageRequest,
        reply: oneshot::Sender<Result<ChangeMessageOutcome, ChatError>>,
    },
}

impl ConversationWork {
    pub(super) fn reject(self) {
        // Sending fails only if the caller has left.
        match self {
            Self::SendMessage { reply, .. } => {
                drop(reply.reply_to.send(Err(ChatError::Overloaded)))
            }
            Self::ChangeMessage { reply, .. } => drop(reply.send(Err(ChatError::Overloaded))),
        }
    }
}

pub(super) struct ReplySlot {
    pub(super) reply_to: oneshot::Sender<Result<SendMessageOutcome, ChatError>>,
    pub(super) queued_at: Instant,
}

impl ReplySlot {
    pub(super) fn new(reply_to: oneshot::Sender<Result<SendMessageOutcome, ChatError>>) -> Self {
        Self { reply_to, queued_at: Instant::now() }
    }
}
