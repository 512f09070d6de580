//! Requests of this node that are not answered yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ids::NodeId;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::bus::BusError;
use crate::limits::MAX_SEND_ATTEMPTS;
use crate::protocol::cluster::NodeRequest;

type ReplyResult = Result<String, BusError>;

/// The pending requests; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct PendingRequests {
    next: Arc<AtomicU64>,
    open: Arc<Mutex<HashMap<u64, PendingRequest>>>,
}

struct PendingRequest {
    to: NodeId,
    body: Vec<u8>,
    deadline: Instant,
    attempts: u8,
    reply: oneshot::Sender<ReplyResult>,
}

/// A pending request; it is removed when this is dropped.
pub(super) struct PendingRequestGuard {
    /// The request's id.
    pub(super) id: u64,
    requests: PendingRequests,
}

impl Drop for PendingRequestGuard {
    fn drop(&mut self) {
        self.requests.lock().remove(&self.id);
    }
}

impl PendingRequests {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, PendingRequest>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a request that may take as long as `timeout`.
    pub(super) fn open(
        &self,
        to: NodeId,
        request: &NodeRequest,
        timeout: Duration,
    ) -> (PendingRequestGuard, oneshot::Receiver<ReplyResult>) {
        let (reply, receiver) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // Derived serialisation into memory cannot fail for these types.
        let body = serde_json::to_vec(request).unwrap_or_default();
        let pending =
            PendingRequest { to, body, deadline: Instant::now() + timeout, attempts: 0, reply };
        self.lock().insert(id, pending);
        (PendingRequestGuard { id, requests: self.clone() }, receiver)
    }

    /// The message to be sent and how long the caller still waits; `None` if nobody does.
    pub(super) fn send(&self, id: u64) -> Option<(NodeId, Vec<u8>, Duration)> {
        let mut requests = self.lock();
        let request = requests.get_mut(&id)?;
        request.attempts += 1;
        let remaining = request.deadline.saturating_duration_since(Instant::now());
        (!remaining.is_zero()).then(|| (request.to, request.body.clone(), remaining))
    }

    /// Completes a request with its result.
    pub(super) fn close(&self, id: u64, reply: ReplyResult) {
        if let Some(request) = self.lock().remove(&id) {
            let _ = request.reply.send(reply); // the caller may be gone
        }
    }

    /// After the connection broke: the ids of the requests to be sent once more. Those that were
    /// sent twice fail with a time-out, as their outcome is unknown.
    pub(super) fn fail_exhausted(&self) -> Vec<u64> {
        let mut requests = self.lock();
        let exhausted: Vec<_> = requests
            .iter()
            .filter(|(_, q)| q.attempts >= MAX_SEND_ATTEMPTS)
            .map(|(id, _)| *id)
            .collect();
        for id in exhausted {
            if let Some(request) = requests.remove(&id) {
                let _ = request.reply.send(Err(BusError::Timeout)); // the caller may be gone
            }
        }
        let mut retry: Vec<_> =
            requests.iter().filter(|(_, q)| q.attempts > 0).map(|(id, _)| *id).collect();
        retry.sort_unstable();
        retry
    }
}
