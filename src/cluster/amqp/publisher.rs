//! The way out: sends what waits, without waiting for one confirmation before the next message.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base::ids::NodeId;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::message::{BasicReturnMessage, Delivery};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Event};
use metrics::counter;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::super::bus::{BusError, BusState};
use super::connection::{AmqpConnection, AmqpConnectionError, DIRECT, EVENTS, within};
use super::envelope::{BusMessageKind, label, properties};
use super::outbox::OutboundMessage;
use super::{AmqpDirection, AmqpShared};
use crate::telemetry::metrics::BUS_TOLD;

/// So many messages may be under way to the broker.
const MAX_UNCONFIRMED: usize = 512;
/// A confirmation that takes longer, though the broker blocks nothing, will not come.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);
/// Answers come to this name on the channel on which was asked: RabbitMQ's direct reply-to.
const REPLIES: &str = "amq.rabbitmq.reply-to";

/// One connection's life.
pub(super) async fn run(shared: Arc<AmqpShared>) -> AmqpConnectionError {
    match carry(shared).await {
        Ok(never) => match never {},
        Err(broken) => broken,
    }
}

async fn carry(shared: Arc<AmqpShared>) -> Result<Infallible, AmqpConnectionError> {
    let mut line = AmqpConnection::open(&shared, "out").await?;
    let channel = confirming(&mut line).await?;
    let mut probes =
        ReachabilityProbes { channel: confirming(&mut line).await?, waiting: VecDeque::new() };
    let reading = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consume =
        channel.basic_consume(REPLIES.into(), "replies".into(), reading, FieldTable::default());
    let mut replies = within(consume).await?;

    let mut sent = UnconfirmedMessages::open(shared);
    let shared = Arc::clone(&sent.shared);
    // New futures are polled in the order in which they are pushed, and each queues its message at
    // its first poll: so messages leave in order.
    let mut flight = FuturesUnordered::new();
    let mut probing = FuturesUnordered::new();
    loop {
        if probing.is_empty()
            && let Some(probe) = probes.next(shared.me)
        {
            probing.push(probe);
        }
        let room = !sent.blocked && flight.len() < MAX_UNCONFIRMED;
        tokio::select! {
            biased;
            event = line.event() => match event {
                Event::ConnectionBlocked(reason) => {
                    tracing::warn!(broker.reason = reason, "broker blocked publishing");
                    sent.block(true);
                }
                Event::ConnectionUnblocked => sent.block(false),
                Event::Error(error) => return Err(error.into()),
                _ => {}
            },
            reply = replies.next() => match reply {
                Some(reply) => hear(&shared, &reply?),
                None => return Err(AmqpConnectionError::Ended),
            },
            Some((key, outcome)) = flight.next() => sent.settle(key, outcome)?,
            Some(outcome) = probing.next() => { outcome?; }
            () = sleep_until(sent.give_up()) => return Err(AmqpConnectionError::Late),
            word = shared.outbox.next(), if room => match word {
                OutboundMessage::Probe(node, verdict) => probes.waiting.push_back((node, verdict)),
                mut word => if let Some(letter) = letter(&shared, &mut word) {
                    let key = sent.note(word);
                    let channel = channel.clone();
                    flight.push(async move { (key, letter.send(&channel).await) });
                },
            },
        }
    }
}

async fn confirming(line: &mut AmqpConnection) -> Result<Channel, AmqpConnectionError> {
    let channel = line.channel().await?;
    within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// A message as it goes to the broker.
struct AmqpMessage {
    exchange: &'static str,
    to: ShortString,
    mandatory: bool,
    properties: BasicProperties,
    body: Vec<u8>,
}

impl AmqpMessage {
    async fn send(self, channel: &Channel) -> lapin::Result<Confirmation> {
        let options = BasicPublishOptions { mandatory: self.mandatory, immediate: false };
        let exchange = self.exchange.into();
        channel.basic_publish(exchange, self.to, options, &self.body, self.properties).await?.await
    }
}

/// The message of a word; `None` if nobody waits for it any more. What an event says is taken out
/// of it: it is never sent again.
fn letter(shared: &AmqpShared, word: &mut OutboundMessage) -> Option<AmqpMessage> {
    let of = |kind| properties(kind, shared.me);
    Some(match word {
        OutboundMessage::Event { to, body, name, .. } => {
            counter!(BUS_TOLD, "event" => *name).increment(1);
            AmqpMessage {
                exchange: if to.is_some() { DIRECT } else { EVENTS },
                to: to.map(|node| node.to_string()).unwrap_or_default().into(),
                mandatory: to.is_some(),
                properties: of(BusMessageKind::Tell),
                body: std::mem::take(body),
            }
        }
        OutboundMessage::Ask(id) => {
            let (to, body, left) = shared.questions.send(*id)?;
            let properties = of(BusMessageKind::Ask)
                .with_correlation_id(id.to_string().into())
                .with_reply_to(REPLIES.into())
                .with_expiration(left.as_millis().max(1).to_string().into());
            AmqpMessage {
                exchange: DIRECT,
                to: to.to_string().into(),
                mandatory: true,
                properties,
                body,
            }
        }
        OutboundMessage::Reply(reply) => AmqpMessage {
            exchange: "",
            to: reply.to.as_str().into(),
            mandatory: false, // whoever does not wait any more needs none
            properties: of(reply.kind).with_correlation_id(reply.id.to_string().into()),
            body: reply.body.clone(),
        },
        OutboundMessage::Probe(..) => return None,
    })
}

/// An answer came.
fn hear(shared: &AmqpShared, reply: &Delivery) {
    let Some((kind, id)) = label(&reply.properties).and_then(|l| Some((l.kind, l.id?))) else {
        return;
    };
    let answer = match kind {
        BusMessageKind::Reply => {
            String::from_utf8(reply.data.clone()).map_err(|_| BusError::Timeout)
        }
        BusMessageKind::Busy => Err(BusError::Overloaded),
        _ => Err(BusError::Timeout),
    };
    shared.questions.close(id, answer);
}

/// Nobody listens at the node that a message was for. What was returned says itself which it was:
/// the library hands it to whichever confirmation comes next, which need not be its own.
fn returned(shared: &AmqpShared, message: &BasicReturnMessage) {
    match label(&message.delivery.properties).map(|label| (label.kind, label.id)) {
        Some((BusMessageKind::Tell, _)) => {
            if let Ok(node) = message.delivery.routing_key.to_string().parse() {
                shared.outbox.forgive(node);
                if let Some(listener) = shared.listener() {
                    listener.unreachable(node);
                }
            }
        }
        Some((BusMessageKind::Ask, Some(id))) => shared.questions.close(id, Err(BusError::NoRoute)),
        _ => {}
    }
}

/// Probes go one after the other over a channel of their own, so that what comes back belongs to
/// the one that was sent.
struct ReachabilityProbes {
    channel: Channel,
    waiting: VecDeque<(NodeId, oneshot::Sender<Result<bool, BusError>>)>,
}

impl ReachabilityProbes {
    fn next(
        &mut self,
        me: NodeId,
    ) -> Option<impl Future<Output = Result<(), AmqpConnectionError>> + Send + use<>> {
        let (node, verdict) = self.waiting.pop_front()?;
        let channel = self.channel.clone();
        let letter = AmqpMessage {
            exchange: DIRECT,
            to: node.to_string().into(),
            mandatory: true,
            properties: properties(BusMessageKind::Probe, me),
            body: Vec::new(),
        };
        Some(async move {
            let is_there = letter.send(&channel).await?.take_message().is_none();
            let _ = verdict.send(Ok(is_there)); // nobody waits any more
            Ok(())
        })
    }
}

/// What is under way and not confirmed. When it is dropped, by whatever, it is perhaps lost.
struct UnconfirmedMessages {
    shared: Arc<AmqpShared>,
    words: BTreeMap<u64, (Instant, OutboundMessage)>,
    next: u64,
    blocked: bool,
    /// Since when the broker takes something.
    free: Instant,
}

impl UnconfirmedMessages {
    fn open(shared: Arc<AmqpShared>) -> Self {
        shared.outbox.open(BusState::Up);
        shared.health.set(AmqpDirection::Out, BusState::Up);
        Self { shared, words: BTreeMap::new(), next: 0, blocked: false, free: Instant::now() }
    }

    fn note(&mut self, word: OutboundMessage) -> u64 {
        self.next += 1;
        self.words.insert(self.next, (Instant::now(), word));
        self.next
    }

    fn block(&mut self, blocked: bool) {
        let state = if blocked { BusState::Blocked } else { BusState::Up };
        self.blocked = blocked;
        self.free = Instant::now();
        self.shared.outbox.open(state);
        self.shared.health.set(AmqpDirection::Out, state);
    }

    /// When there is no hope left for the oldest message under way.
    fn give_up(&self) -> Instant {
        let far = Instant::now() + 2 * CONFIRM_TIMEOUT;
        match self.words.first_key_value() {
            Some((_, (since, _))) if !self.blocked => (*since).max(self.free) + CONFIRM_TIMEOUT,
            _ => far,
        }
    }

    fn settle(
        &mut self,
        key: u64,
        outcome: lapin::Result<Confirmation>,
    ) -> Result<(), AmqpConnectionError> {
        let confirmation = outcome?;
        let refused = confirmation.is_nack();
        let word = self.words.remove(&key).map(|(_, word)| word);
        if let Some(message) = confirmation.take_message() {
            returned(&self.shared, &message);
        }
        match word {
            // The receiver's queue is full.
            Some(OutboundMessage::Ask(id)) if refused => {
                self.shared.questions.close(id, Err(BusError::Overloaded));
            }
            Some(word) if refused => self.shared.outbox.missed(word, "refused"),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for UnconfirmedMessages {
    fn drop(&mut self) {
        self.shared.health.set(AmqpDirection::Out, BusState::Down);
        let words = std::mem::take(&mut self.words).into_values().map(|(_, word)| word);
        self.shared.outbox.close(words, self.shared.questions.lost());
    }
}
