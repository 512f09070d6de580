//! Messages waiting to be published: bounded, in order; the least urgent are rejected first.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base::ids::NodeId;
use metrics::counter;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::bus::{BusError, BusState};
use super::envelope::BusMessageKind;
use crate::limits::{MAX_BUS_MESSAGE_AGE, MAX_RESYNC_DEBTS};
use crate::protocol::cluster::{NodeEvent, Priority};
use crate::telemetry::metrics::BUS_EVENTS_DROPPED;

/// A message to be published.
pub(super) enum OutboundMessage {
    /// An event, to one node or to all.
    Event { to: Option<NodeId>, body: Vec<u8>, urgency: Priority, name: &'static str },
    /// The request with this id.
    Request(u64),
    /// The reply to a request of another node.
    Reply(RequestReply),
    /// Whether a node has a queue at the broker.
    Probe(NodeId, oneshot::Sender<Result<bool, BusError>>),
}

/// The reply to a request of another node.
#[derive(Clone)]
pub(super) struct RequestReply {
    /// The reply queue of the requesting node.
    pub(super) to: String,
    /// The request id of that node.
    pub(super) id: u64,
    pub(super) kind: BusMessageKind,
    pub(super) body: Vec<u8>,
}

/// The queue of messages waiting to be published.
pub(super) struct BusOutbox {
    capacity: usize,
    inner: Mutex<BusOutboxInner>,
    notify: Notify,
}

struct BusOutboxInner {
    messages: VecDeque<(Instant, OutboundMessage)>,
    state: BusState,
    resync_debt: ResyncDebt,
}

/// Nodes that missed events and must be told to resync.
#[derive(Default)]
struct ResyncDebt {
    all: bool,
    nodes: HashSet<NodeId>,
}

impl ResyncDebt {
    fn add(&mut self, to: Option<NodeId>) {
        match to {
            Some(node) if self.nodes.len() < MAX_RESYNC_DEBTS => drop(self.nodes.insert(node)),
            _ => self.all = true,
        }
    }
}

impl BusOutbox {
    pub(super) fn new(capacity: usize) -> Self {
        let inner = BusOutboxInner {
            messages: VecDeque::new(),
            state: BusState::Down,
            resync_debt: ResyncDebt::default(),
        };
        Self { capacity, inner: Mutex::new(inner), notify: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, BusOutboxInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event. If that fails, its receivers will be told to resync.
    pub(super) fn push_event(&self, to: Option<NodeId>, event: &NodeEvent) -> Result<(), BusError> {
        let (urgency, name) = (event.priority(), event.name());
        let body = match serde_json::to_vec(event) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, event.name = name, "event serialization failed");
                return Err(BusError::Overloaded);
            }
        };
        self.push(OutboundMessage::Event { to, body, urgency, name })
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`BusError::Disconnected`] without a connection, [`BusError::Overloaded`] without room.
    pub(super) fn push(&self, message: OutboundMessage) -> Result<(), BusError> {
        let mut inner = self.inner();
        let rejection = match (inner.state, &message) {
            // The requesting nodes wait: replies have room of their own, and wait for a connection.
            (_, OutboundMessage::Reply(_)) => {
                (inner.messages.len() >= 2 * self.capacity).then_some(BusError::Overloaded)
            }
            (BusState::Down, _) => Some(BusError::Disconnected),
            (BusState::Blocked, OutboundMessage::Request(_) | OutboundMessage::Probe(..)) => {
                Some(BusError::Overloaded)
            }
            (BusState::Blocked, OutboundMessage::Event { urgency: Priority::Low, .. }) => {
                Some(BusError::Overloaded)
            }
            (_, message) => {
                (inner.messages.len() >= self.limit_for(message)).then_some(BusError::Overloaded)
            }
        };
        if let Some(error) = rejection {
            inner.drop_message(message, error.as_label());
            return Err(error);
        }
        inner.messages.push_back((Instant::now(), message));
        drop(inner);
        self.notify.notify_one();
        Ok(())
    }

    /// The queue length up to which this message is accepted: the last part is reserved for urgent
    /// ones.
    const fn limit_for(&self, message: &OutboundMessage) -> usize {
        match message {
            OutboundMessage::Event { urgency: Priority::Low, .. } => self.capacity / 2,
            OutboundMessage::Event { urgency: Priority::Normal, .. } => self.capacity / 4 * 3,
            _ => self.capacity,
        }
    }

    /// Waits for the next message.
    pub(super) async fn next(&self) -> OutboundMessage {
        loop {
            if let Some(message) = self.pop() {
                return message;
            }
            self.notify.notified().await;
        }
    }

    fn pop(&self) -> Option<OutboundMessage> {
        let mut inner = self.inner();
        if inner.messages.len() <= self.capacity / 2
            && let Some(resync) = inner.next_resync()
        {
            return Some(resync);
        }
        while let Some((queued_at, message)) = inner.messages.pop_front() {
            if !matches!(message, OutboundMessage::Event { .. })
                || queued_at.elapsed() < MAX_BUS_MESSAGE_AGE
            {
                return Some(message);
            }
            inner.drop_message(message, "stale");
        }
        inner.next_resync()
    }

    /// The connection is up, or blocked for now.
    pub(super) fn set_state(&self, state: BusState) {
        self.inner().state = state;
        self.notify.notify_one();
    }

    /// The connection is gone, and what was `sent` over it may be lost. Events are dropped and
    /// their receivers will be told to resync; requests and replies go over the next connection.
    pub(super) fn close(
        &self,
        sent: impl IntoIterator<Item = OutboundMessage>,
        requests: Vec<u64>,
    ) {
        let mut inner = self.inner();
        inner.state = BusState::Down;
        let now = Instant::now();
        let queued = std::mem::take(&mut inner.messages);
        let requests = requests.into_iter().map(OutboundMessage::Request);
        let sent =
            sent.into_iter().filter(|message| !matches!(message, OutboundMessage::Request(_)));
        for message in requests.chain(sent).chain(queued.into_iter().map(|(_, message)| message)) {
            match message {
                OutboundMessage::Request(_) | OutboundMessage::Reply(_) => {
                    inner.messages.push_back((now, message))
                }
                OutboundMessage::Event { .. } | OutboundMessage::Probe(..) => {
                    inner.drop_message(message, "disconnected")
                }
            }
        }
    }

    /// Accounts for a message that the broker rejected or that was lost.
    pub(super) fn drop_message(&self, message: OutboundMessage, reason: &'static str) {
        self.inner().drop_message(message, reason);
    }

    /// Cancels the resync of a node that is gone.
    pub(super) fn cancel_resync(&self, node: NodeId) {
        self.inner().resync_debt.nodes.remove(&node);
    }
}

impl BusOutboxInner {
    fn drop_message(&mut self, message: OutboundMessage, reason: &'static str) {
        match message {
            OutboundMessage::Event { to, urgency, .. } => {
                let label = match urgency {
                    Priority::Low => "low",
                    Priority::Normal => "normal",
                    Priority::High => "high",
                };
                counter!(BUS_EVENTS_DROPPED, "urgency" => label, "reason" => reason).increment(1);
                if urgency > Priority::Low {
                    self.resync_debt.add(to);
                }
            }
            OutboundMessage::Probe(_, sender) => drop(sender.send(Err(BusError::Disconnected))),
            OutboundMessage::Request(_) | OutboundMessage::Reply(_) => {}
        }
    }

    /// The resync event for the next node that needs one.
    fn next_resync(&mut self) -> Option<OutboundMessage> {
        let to = if self.resync_debt.all {
            self.resync_debt = ResyncDebt::default();
            None
        } else {
            let node = *self.resync_debt.nodes.iter().next()?;
            self.resync_debt.nodes.remove(&node);
            Some(node)
        };
        let event = NodeEvent::Resync;
        let body = serde_json::to_vec(&event).ok()?;
        Some(OutboundMessage::Event { to, body, urgency: event.priority(), name: event.name() })
    }
}
