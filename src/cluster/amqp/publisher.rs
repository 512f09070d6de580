//! The outbound side: publishes queued messages without waiting for one confirmation before the
//! next message.

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
use super::connection::{AmqpConnection, AmqpConnectionError, DIRECT, EVENTS, with_timeout};
use super::envelope::{BusMessageKind, parse_header, properties};
use super::outbox::OutboundMessage;
use super::{AmqpDirection, AmqpShared};
use crate::limits::MAX_UNCONFIRMED_MESSAGES;
use crate::telemetry::metrics::BUS_EVENTS_PUBLISHED;

/// How long a confirmation may take while the broker does not block publishing.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);
/// RabbitMQ's direct reply-to: replies arrive under this name on the channel of the request.
const REPLIES: &str = "amq.rabbitmq.reply-to";

/// Publishes over one connection until it ends.
pub(super) async fn run(shared: Arc<AmqpShared>) -> AmqpConnectionError {
    match publish_until_error(shared).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn publish_until_error(shared: Arc<AmqpShared>) -> Result<Infallible, AmqpConnectionError> {
    let mut connection = AmqpConnection::open(&shared, "out").await?;
    let channel = confirm_channel(&mut connection).await?;
    let mut probes = ReachabilityProbes {
        channel: confirm_channel(&mut connection).await?,
        queue: VecDeque::new(),
    };
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consume =
        channel.basic_consume(REPLIES.into(), "replies".into(), options, FieldTable::default());
    let mut replies = with_timeout(consume).await?;

    let mut unconfirmed = UnconfirmedMessages::open(shared);
    let shared = Arc::clone(&unconfirmed.shared);
    // Futures are polled first in the order in which they are pushed, and each publishes at its
    // first poll: so messages leave in order.
    let mut publishing = FuturesUnordered::new();
    let mut active_probes = FuturesUnordered::new();
    loop {
        if active_probes.is_empty()
            && let Some(probe) = probes.next(shared.me)
        {
            active_probes.push(probe);
        }
        let has_room = !unconfirmed.blocked && publishing.len() < MAX_UNCONFIRMED_MESSAGES;
        tokio::select! {
            biased;
            event = connection.event() => match event {
                Event::ConnectionBlocked(reason) => {
                    tracing::warn!(broker.reason = reason, "broker blocked publishing");
                    unconfirmed.block(true);
                }
                Event::ConnectionUnblocked => unconfirmed.block(false),
                Event::Error(error) => return Err(error.into()),
                _ => {}
            },
            reply = replies.next() => match reply {
                Some(reply) => handle_reply(&shared, &reply?),
                None => return Err(AmqpConnectionError::Closed),
            },
            Some((key, outcome)) = publishing.next() => unconfirmed.confirmed(key, outcome)?,
            Some(outcome) = active_probes.next() => { outcome?; }
            () = sleep_until(unconfirmed.deadline()) => return Err(AmqpConnectionError::TimedOut),
            message = shared.outbox.next(), if has_room => match message {
                OutboundMessage::Probe(node, sender) => probes.queue.push_back((node, sender)),
                mut message => if let Some(amqp_message) = encode(&shared, &mut message) {
                    let key = unconfirmed.add(message);
                    let channel = channel.clone();
                    publishing.push(async move { (key, amqp_message.send(&channel).await) });
                },
            },
        }
    }
}

async fn confirm_channel(connection: &mut AmqpConnection) -> Result<Channel, AmqpConnectionError> {
    let channel = connection.channel().await?;
    with_timeout(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// A message as it is published to the broker.
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

/// Encodes a message; `None` if nobody waits for it any more. The body of an event is moved out of
/// it: events are never sent again.
fn encode(shared: &AmqpShared, message: &mut OutboundMessage) -> Option<AmqpMessage> {
    let with_kind = |kind| properties(kind, shared.me);
    Some(match message {
        OutboundMessage::Event { to, body, name, .. } => {
            counter!(BUS_EVENTS_PUBLISHED, "event" => *name).increment(1);
            AmqpMessage {
                exchange: if to.is_some() { DIRECT } else { EVENTS },
                to: to.map(|node| node.to_string()).unwrap_or_default().into(),
                mandatory: to.is_some(),
                properties: with_kind(BusMessageKind::Event),
                body: std::mem::take(body),
            }
        }
        OutboundMessage::Request(id) => {
            let (to, body, remaining) = shared.pending_requests.send(*id)?;
            let properties = with_kind(BusMessageKind::Request)
                .with_correlation_id(id.to_string().into())
                .with_reply_to(REPLIES.into())
                .with_expiration(remaining.as_millis().max(1).to_string().into());
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
            mandatory: false, // a requester that does not wait any more needs no reply
            properties: with_kind(reply.kind).with_correlation_id(reply.id.to_string().into()),
            body: reply.body.clone(),
        },
        OutboundMessage::Probe(..) => return None,
    })
}

/// Handles a reply to one of this node's requests.
fn handle_reply(shared: &AmqpShared, reply: &Delivery) {
    let Some((kind, id)) =
        parse_header(&reply.properties).and_then(|header| Some((header.kind, header.id?)))
    else {
        return;
    };
    let result = match kind {
        BusMessageKind::Reply => {
            String::from_utf8(reply.data.clone()).map_err(|_| BusError::Timeout)
        }
        BusMessageKind::Busy => Err(BusError::Overloaded),
        _ => Err(BusError::Timeout),
    };
    shared.pending_requests.close(id, result);
}

/// Handles a returned message: the addressed node has no queue. The returned message itself tells
/// which one it was: the library attaches it to whichever confirmation comes next, which need not
/// be its own.
fn handle_returned(shared: &AmqpShared, message: &BasicReturnMessage) {
    match parse_header(&message.delivery.properties).map(|header| (header.kind, header.id)) {
        Some((BusMessageKind::Event, _)) => {
            if let Ok(node) = message.delivery.routing_key.to_string().parse() {
                shared.outbox.cancel_resync(node);
                if let Some(handler) = shared.handler() {
                    handler.on_unreachable(node);
                }
            }
        }
        Some((BusMessageKind::Request, Some(id))) => {
            shared.pending_requests.close(id, Err(BusError::NodeUnreachable))
        }
        _ => {}
    }
}

/// Probes are sent one after the other over their own channel, so that a returned message belongs
/// to the probe that was sent.
struct ReachabilityProbes {
    channel: Channel,
    queue: VecDeque<(NodeId, oneshot::Sender<Result<bool, BusError>>)>,
}

impl ReachabilityProbes {
    fn next(
        &mut self,
        me: NodeId,
    ) -> Option<impl Future<Output = Result<(), AmqpConnectionError>> + Send + use<>> {
        let (node, sender) = self.queue.pop_front()?;
        let channel = self.channel.clone();
        let amqp_message = AmqpMessage {
            exchange: DIRECT,
            to: node.to_string().into(),
            mandatory: true,
            properties: properties(BusMessageKind::Probe, me),
            body: Vec::new(),
        };
        Some(async move {
            let is_reachable = amqp_message.send(&channel).await?.take_message().is_none();
            let _ = sender.send(Ok(is_reachable)); // the caller may be gone
            Ok(())
        })
    }
}

/// Messages sent but not confirmed. When dropped, for whatever reason, they may be lost.
struct UnconfirmedMessages {
    shared: Arc<AmqpShared>,
    messages: BTreeMap<u64, (Instant, OutboundMessage)>,
    next: u64,
    blocked: bool,
    /// Since when the broker has accepted messages.
    accepting_since: Instant,
}

impl UnconfirmedMessages {
    fn open(shared: Arc<AmqpShared>) -> Self {
        shared.outbox.set_state(BusState::Up);
        shared.health.set(AmqpDirection::Out, BusState::Up);
        Self {
            shared,
            messages: BTreeMap::new(),
            next: 0,
            blocked: false,
            accepting_since: Instant::now(),
        }
    }

    fn add(&mut self, message: OutboundMessage) -> u64 {
        self.next += 1;
        self.messages.insert(self.next, (Instant::now(), message));
        self.next
    }

    fn block(&mut self, blocked: bool) {
        let state = if blocked { BusState::Blocked } else { BusState::Up };
        self.blocked = blocked;
        self.accepting_since = Instant::now();
        self.shared.outbox.set_state(state);
        self.shared.health.set(AmqpDirection::Out, state);
    }

    /// The time at which the oldest unconfirmed message counts as failed.
    fn deadline(&self) -> Instant {
        let no_deadline = Instant::now() + 2 * CONFIRM_TIMEOUT;
        match self.messages.first_key_value() {
            Some((_, (since, _))) if !self.blocked => {
                (*since).max(self.accepting_since) + CONFIRM_TIMEOUT
            }
            _ => no_deadline,
        }
    }

    fn confirmed(
        &mut self,
        key: u64,
        outcome: lapin::Result<Confirmation>,
    ) -> Result<(), AmqpConnectionError> {
        let confirmation = outcome?;
        let rejected = confirmation.is_nack();
        let message = self.messages.remove(&key).map(|(_, message)| message);
        if let Some(returned_message) = confirmation.take_message() {
            handle_returned(&self.shared, &returned_message);
        }
        match message {
            // The receiver's queue is full.
            Some(OutboundMessage::Request(id)) if rejected => {
                self.shared.pending_requests.close(id, Err(BusError::Overloaded));
            }
            Some(message) if rejected => self.shared.outbox.drop_message(message, "refused"),
            _ => {}
        }
        Ok(())
    }
}

impl Drop for UnconfirmedMessages {
    fn drop(&mut self) {
        self.shared.health.set(AmqpDirection::Out, BusState::Down);
        let messages = std::mem::take(&mut self.messages).into_values().map(|(_, message)| message);
        self.shared.outbox.close(messages, self.shared.pending_requests.fail_exhausted());
    }
}
