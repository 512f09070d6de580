//! The broker on a host of its own: a queue for each connection, which ends when nothing is heard
//! of it; what nobody takes is said to whoever sent it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base::ids::NodeId;
use securevox::protocol::cluster::{NodeEvent, NodeRequest};
use tokio::time::Instant;

use super::Shared;
use super::post::{Letter, Wire};

/// Without a sign of life for this long a connection is over, at both ends.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often there is one.
pub const SIGN: Duration = Duration::from_millis(500);
/// A frame that others have overtaken for this long is lost.
const OVERTAKEN: Duration = Duration::from_millis(200);

pub enum ToBroker {
    /// I am here.
    Sign,
    Tell(NodeId, NodeEvent),
    Publish(NodeEvent),
    Ask {
        to: NodeId,
        ask: u64,
        request: NodeRequest,
    },
    Answer {
        to: NodeId,
        ask: u64,
        answer: Option<String>,
    },
    Probe {
        ask: u64,
        node: NodeId,
    },
}

pub enum FromBroker {
    /// I am here, and so is your queue.
    Sign,
    Told(NodeId, NodeEvent),
    Asked {
        from: NodeId,
        ask: u64,
        request: NodeRequest,
    },
    Answered {
        ask: u64,
        answer: Option<String>,
    },
    Probed {
        ask: u64,
        there: bool,
    },
    NoRoute {
        node: NodeId,
        ask: Option<u64>,
    },
    /// Something that was told to somebody is lost.
    Missed,
}

/// Puts frames in order again, and notices those that are lost.
pub struct Inlet<F> {
    next: u64,
    early: BTreeMap<u64, F>,
    since: Instant,
}

impl<F> Inlet<F> {
    pub fn new() -> Self {
        Self { next: 0, early: BTreeMap::new(), since: Instant::now() }
    }

    pub fn put(&mut self, seq: u64, frame: F) {
        if seq >= self.next {
            if self.early.is_empty() {
                self.since = Instant::now();
            }
            self.early.insert(seq, frame);
        }
    }

    /// The next frame; an error if one before it is lost.
    pub fn take(&mut self) -> Option<Result<F, ()>> {
        let (seq, _) = self.early.first_key_value()?;
        if *seq == self.next {
            self.next += 1;
            self.since = Instant::now();
            return self.early.pop_first().map(|(_, frame)| Ok(frame));
        }
        if self.since.elapsed() < OVERTAKEN {
            return None;
        }
        self.next = *seq;
        Some(Err(()))
    }
}

struct Queue {
    host: String,
    number: u64,
    sent: u64,
    heard: Instant,
    inlet: Inlet<ToBroker>,
}

#[derive(Default)]
pub struct Broker {
    queues: BTreeMap<NodeId, Queue>,
    made: u64,
    /// Processes that died while the network was whole.
    closed: BTreeSet<NodeId>,
}

impl Broker {
    /// The process is dead: its connection ends at once.
    pub fn close(&mut self, node: NodeId) {
        self.closed.insert(node);
        self.queues.remove(&node);
    }

    /// It ends, and with it all queues.
    pub fn end(&mut self) {
        self.queues.clear();
    }

    /// Whether `frame` went into a queue.
    fn give(&mut self, wire: &Wire, to: NodeId, frame: FromBroker) -> bool {
        let Some(queue) = self.queues.get_mut(&to) else { return false };
        let (number, seq) = (queue.number, queue.sent);
        queue.sent += 1;
        wire.send(&queue.host, Letter::FromBroker { to, queue: number, seq, frame });
        true
    }

    fn hear(&mut self, wire: &Wire, host: String, from: NodeId, seq: u64, frame: ToBroker) {
        if self.closed.contains(&from) {
            return;
        }
        let number = self.made + 1;
        let queue = self.queues.entry(from).or_insert_with(|| {
            let mut inlet = Inlet::new();
            inlet.next = seq;
            Queue { host, number, sent: 0, heard: Instant::now(), inlet }
        });
        self.made = self.made.max(queue.number);
        queue.heard = Instant::now();
        queue.inlet.put(seq, frame);
        self.turn(wire, from);
    }

    /// Deals with what a node sent, in order.
    fn turn(&mut self, wire: &Wire, from: NodeId) {
        while let Some(frame) = self.queues.get_mut(&from).and_then(|queue| queue.inlet.take()) {
            let all: Vec<_> = self.queues.keys().copied().collect();
            match frame {
                Ok(ToBroker::Sign) => {}
                Ok(ToBroker::Tell(to, event)) => {
                    if !self.give(wire, to, FromBroker::Told(from, event)) {
                        self.give(wire, from, FromBroker::NoRoute { node: to, ask: None });
                    }
                }
                Ok(ToBroker::Publish(event)) => {
                    for to in all.into_iter().filter(|to| *to != from) {
                        self.give(wire, to, FromBroker::Told(from, event.clone()));
                    }
                }
                Ok(ToBroker::Ask { to, ask, request }) => {
                    if !self.give(wire, to, FromBroker::Asked { from, ask, request }) {
                        self.give(wire, from, FromBroker::NoRoute { node: to, ask: Some(ask) });
                    }
                }
                Ok(ToBroker::Answer { to, ask, answer }) => {
                    self.give(wire, to, FromBroker::Answered { ask, answer });
                }
                Ok(ToBroker::Probe { ask, node }) => {
                    let there = all.contains(&node);
                    self.give(wire, from, FromBroker::Probed { ask, there });
                }
                Err(()) => {
                    for to in all {
                        self.give(wire, to, FromBroker::Missed);
                    }
                }
            }
        }
    }

    fn tick(&mut self, wire: &Wire) {
        self.queues.retain(|_, queue| queue.heard.elapsed() < HEARTBEAT);
        let all: Vec<_> = self.queues.keys().copied().collect();
        for node in all {
            self.turn(wire, node);
            self.give(wire, node, FromBroker::Sign);
        }
    }
}

/// The host's software.
pub async fn serve(shared: Shared) -> turmoil::Result {
    let (wire, _socket) = Wire::bind(shared.post.clone()).await?;
    let mut sign = tokio::time::interval(SIGN / 4);
    loop {
        tokio::select! {
            biased;
            _ = sign.tick() => shared.broker.lock().unwrap().tick(&wire),
            (host, letter) = wire.next() => {
                if let Letter::ToBroker { from, seq, frame } = letter {
                    shared.broker.lock().unwrap().hear(&wire, host, from, seq, frame);
                }
            }
        }
    }
}
