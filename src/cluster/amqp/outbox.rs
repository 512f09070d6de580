//! What waits to go out: bounded, in order, and the least urgent is refused first.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ids::NodeId;
use metrics::counter;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::bus::{BusError, BusState};
use super::envelope::BusMessageKind;
use crate::protocol::cluster::{NodeEvent, Priority};
use crate::telemetry::metrics::BUS_SHED;

/// What waited longer is not told any more: whoever should have heard it looks instead.
const MAX_MESSAGE_AGE: Duration = Duration::from_secs(10);
/// More receivers than this are not remembered one by one.
const MAX_RESYNC_DEBTS: usize = 256;

/// One thing to be sent.
pub(super) enum OutboundMessage {
    /// An event, to one node or to all.
    Event { to: Option<NodeId>, body: Vec<u8>, urgency: Priority, name: &'static str },
    /// A question of this number.
    Ask(u64),
    /// What became of a question that somebody asked.
    Reply(RequestReply),
    /// Whether somebody is there.
    Probe(NodeId, oneshot::Sender<Result<bool, BusError>>),
}

/// What became of a question.
#[derive(Clone)]
pub(super) struct RequestReply {
    /// The queue of the one who asked.
    pub(super) to: String,
    /// Their number of the question.
    pub(super) id: u64,
    pub(super) kind: BusMessageKind,
    pub(super) body: Vec<u8>,
}

/// The queue.
pub(super) struct BusOutbox {
    most: usize,
    inner: Mutex<BusOutboxInner>,
    more: Notify,
}

struct BusOutboxInner {
    words: VecDeque<(Instant, OutboundMessage)>,
    state: BusState,
    owed: ResyncDebt,
}

/// Who did not hear everything, and must be told so.
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
    pub(super) fn new(most: usize) -> Self {
        let inner = BusOutboxInner {
            words: VecDeque::new(),
            state: BusState::Down,
            owed: ResyncDebt::default(),
        };
        Self { most, inner: Mutex::new(inner), more: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, BusOutboxInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event. If it cannot be, whoever misses it will be told to look.
    pub(super) fn tell(&self, to: Option<NodeId>, event: &NodeEvent) -> Result<(), BusError> {
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

    /// Queues a word.
    ///
    /// # Errors
    /// [`BusError::Disconnected`] without a connection, [`BusError::Overloaded`] without room.
    pub(super) fn push(&self, word: OutboundMessage) -> Result<(), BusError> {
        let mut inner = self.inner();
        let refused = match (inner.state, &word) {
            // Those who asked wait: replies have room of their own, and wait for a connection.
            (_, OutboundMessage::Reply(_)) => {
                (inner.words.len() >= 2 * self.most).then_some(BusError::Overloaded)
            }
            (BusState::Down, _) => Some(BusError::Disconnected),
            (BusState::Blocked, OutboundMessage::Ask(_) | OutboundMessage::Probe(..)) => {
                Some(BusError::Overloaded)
            }
            (BusState::Blocked, OutboundMessage::Event { urgency: Priority::Low, .. }) => {
                Some(BusError::Overloaded)
            }
            (_, word) => (inner.words.len() >= self.room(word)).then_some(BusError::Overloaded),
        };
        if let Some(error) = refused {
            inner.missed(word, error.word());
            return Err(error);
        }
        inner.words.push_back((Instant::now(), word));
        drop(inner);
        self.more.notify_one();
        Ok(())
    }

    /// How much may wait before this: the last half is for what is urgent.
    const fn room(&self, word: &OutboundMessage) -> usize {
        match word {
            OutboundMessage::Event { urgency: Priority::Low, .. } => self.most / 2,
            OutboundMessage::Event { urgency: Priority::Normal, .. } => self.most / 4 * 3,
            _ => self.most,
        }
    }

    /// The next word, when there is one.
    pub(super) async fn next(&self) -> OutboundMessage {
        loop {
            if let Some(word) = self.pop() {
                return word;
            }
            self.more.notified().await;
        }
    }

    fn pop(&self) -> Option<OutboundMessage> {
        let mut inner = self.inner();
        if inner.words.len() <= self.most / 2
            && let Some(resync) = inner.pay()
        {
            return Some(resync);
        }
        while let Some((since, word)) = inner.words.pop_front() {
            if !matches!(word, OutboundMessage::Event { .. }) || since.elapsed() < MAX_MESSAGE_AGE {
                return Some(word);
            }
            inner.missed(word, "stale");
        }
        inner.pay()
    }

    /// The way is open, or blocked for now.
    pub(super) fn open(&self, state: BusState) {
        self.inner().state = state;
        self.more.notify_one();
    }

    /// The connection is gone, and what was `sent` over it perhaps lost. Events are given up, their
    /// receivers will be told to look; the rest goes over the next connection.
    pub(super) fn close(&self, sent: impl IntoIterator<Item = OutboundMessage>, asked: Vec<u64>) {
        let mut inner = self.inner();
        inner.state = BusState::Down;
        let now = Instant::now();
        let waiting = std::mem::take(&mut inner.words);
        let again = asked.into_iter().map(OutboundMessage::Ask);
        let sent = sent.into_iter().filter(|word| !matches!(word, OutboundMessage::Ask(_)));
        for word in again.chain(sent).chain(waiting.into_iter().map(|(_, word)| word)) {
            match word {
                OutboundMessage::Ask(_) | OutboundMessage::Reply(_) => {
                    inner.words.push_back((now, word))
                }
                OutboundMessage::Event { .. } | OutboundMessage::Probe(..) => {
                    inner.missed(word, "disconnected")
                }
            }
        }
    }

    /// A word that was refused by the broker, or that nobody will hear.
    pub(super) fn missed(&self, word: OutboundMessage, reason: &'static str) {
        self.inner().missed(word, reason);
    }

    /// Nobody is there any more who could look.
    pub(super) fn forgive(&self, node: NodeId) {
        self.inner().owed.nodes.remove(&node);
    }
}

impl BusOutboxInner {
    fn missed(&mut self, word: OutboundMessage, reason: &'static str) {
        match word {
            OutboundMessage::Event { to, urgency, .. } => {
                let label = match urgency {
                    Priority::Low => "low",
                    Priority::Normal => "normal",
                    Priority::High => "high",
                };
                counter!(BUS_SHED, "urgency" => label, "reason" => reason).increment(1);
                if urgency > Priority::Low {
                    self.owed.add(to);
                }
            }
            OutboundMessage::Probe(_, verdict) => drop(verdict.send(Err(BusError::Disconnected))),
            OutboundMessage::Ask(_) | OutboundMessage::Reply(_) => {}
        }
    }

    /// "Look into the database", to the next who is owed it.
    fn pay(&mut self) -> Option<OutboundMessage> {
        let to = if self.owed.all {
            self.owed = ResyncDebt::default();
            None
        } else {
            let node = *self.owed.nodes.iter().next()?;
            self.owed.nodes.remove(&node);
            Some(node)
        };
        let event = NodeEvent::Resync;
        let body = serde_json::to_vec(&event).ok()?;
        Some(OutboundMessage::Event { to, body, urgency: event.priority(), name: event.name() })
    }
}
