//! What this node asked and nobody has answered yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ids::NodeId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::bus::BusError;
use crate::protocol::cluster::NodeRequest;

/// A question is sent so often at most: once more if the connection broke under it.
const MAX_SEND_ATTEMPTS: u8 = 2;

type ReplyReceiver = Result<String, BusError>;

/// The open questions; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct PendingRequests {
    next: Arc<AtomicU64>,
    open: Arc<Mutex<HashMap<u64, PendingRequest>>>,
}

struct PendingRequest {
    to: NodeId,
    body: Vec<u8>,
    until: Instant,
    sent: u8,
    answer: oneshot::Sender<ReplyReceiver>,
}

/// An open question; it is closed when this is dropped.
pub(super) struct PendingRequestGuard {
    /// Its number.
    pub(super) id: u64,
    questions: PendingRequests,
}

impl Drop for PendingRequestGuard {
    fn drop(&mut self) {
        self.questions.all().remove(&self.id);
    }
}

impl PendingRequests {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, PendingRequest>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a question that may take as long as `patience`.
    pub(super) fn open(
        &self,
        to: NodeId,
        request: &NodeRequest,
        patience: Duration,
    ) -> (PendingRequestGuard, oneshot::Receiver<ReplyReceiver>) {
        let (answer, receiver) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // Written by derived code into memory, this fails for nothing that compiles.
        let body = serde_json::to_vec(request).unwrap_or_default();
        let question =
            PendingRequest { to, body, until: Instant::now() + patience, sent: 0, answer };
        self.all().insert(id, question);
        (PendingRequestGuard { id, questions: self.clone() }, receiver)
    }

    /// What is to be sent, and how long its asker still waits; `None` if nobody does.
    pub(super) fn send(&self, id: u64) -> Option<(NodeId, Vec<u8>, Duration)> {
        let mut all = self.all();
        let question = all.get_mut(&id)?;
        question.sent += 1;
        let left = question.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| (question.to, question.body.clone(), left))
    }

    /// A question found its end.
    pub(super) fn close(&self, id: u64, answer: ReplyReceiver) {
        if let Some(question) = self.all().remove(&id) {
            let _ = question.answer.send(answer); // nobody waits any more
        }
    }

    /// The connection broke: those that are to be sent once more. Of those that were, nobody knows
    /// what became of them.
    pub(super) fn lost(&self) -> Vec<u64> {
        let mut all = self.all();
        let spent: Vec<_> =
            all.iter().filter(|(_, q)| q.sent >= MAX_SEND_ATTEMPTS).map(|(id, _)| *id).collect();
        for id in spent {
            if let Some(question) = all.remove(&id) {
                let _ = question.answer.send(Err(BusError::Timeout)); // nobody waits any more
            }
        }
        let mut again: Vec<_> = all.iter().filter(|(_, q)| q.sent > 0).map(|(id, _)| *id).collect();
        again.sort_unstable();
        again
    }
}
