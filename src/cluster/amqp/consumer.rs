//! The inbound side: dispatches events of other nodes and replies to their requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::ids::NodeId;
use futures_util::FutureExt;
use futures_util::stream::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer, Event};
use metrics::counter;
use tokio::time::timeout;

use super::super::bus::{BusHandler, BusState};
use super::super::cache::BoxFuture;
use super::connection::{AmqpConnection, AmqpConnectionError, DIRECT, EVENTS, with_timeout};
use super::envelope::{BusMessageHeader, BusMessageKind, parse_header};
use super::outbox::{OutboundMessage, RequestReply};
use super::reply_cache::{DedupDecision, EncodedReply};
use super::{AmqpDirection, AmqpShared};
use crate::limits::{MAX_CONCURRENT_BUS_REQUESTS, MAX_QUEUE_BYTES};
use crate::protocol::cluster::{NodeEvent, NodeRequest};
use crate::telemetry::metrics::{BUS_EVENTS_CONSUMED, BUS_EVENTS_IGNORED};

/// Number of unacknowledged messages that the broker sends ahead.
const PREFETCH_COUNT: u16 = 256;
/// Number of messages handled before they are acknowledged together, if that many have arrived.
const ACK_BATCH_SIZE: usize = 64;
/// How long handling a request may take: after that nobody waits for the reply.
const REQUEST_HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// Consumes over one connection until it ends.
pub(super) async fn run(shared: Arc<AmqpShared>) -> AmqpConnectionError {
    match consume_until_error(shared).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn consume_until_error(shared: Arc<AmqpShared>) -> Result<Infallible, AmqpConnectionError> {
    let mut connection = AmqpConnection::open(&shared, "in").await?;
    let channel = connection.channel().await?;
    let mut deliveries = with_timeout(consume(&shared, &channel)).await?;
    let _open = ConsumerOpenGuard::new(Arc::clone(&shared));
    if let Some(handler) = shared.handler()
        && shared.was_connected.swap(true, Ordering::AcqRel)
    {
        handler.on_events_lost();
    }
    let mut in_progress = shared.reply_cache.in_progress.lock().await;
    loop {
        tokio::select! {
            biased;
            event = connection.event() => {
                if let Event::Error(error) = event {
                    return Err(error.into());
                }
            }
            Some((key, to, encoded)) = in_progress.next() => {
                send_reply(&shared, shared.reply_cache.complete(key, to, encoded));
            }
            delivery = deliveries.next() => {
                let mut delivery = delivery.ok_or(AmqpConnectionError::Closed)??;
                let mut remaining = ACK_BATCH_SIZE;
                loop {
                    if let Some(handler) = shared.handler()
                        && let Some(request) = handle_delivery(&shared, handler.as_ref(), &delivery)
                    {
                        if in_progress.len() < MAX_CONCURRENT_BUS_REQUESTS {
                            in_progress.push(request.handle(handler.as_ref()));
                        } else {
                            counter!(BUS_EVENTS_IGNORED, "reason" => "busy").increment(1);
                            let (key, to) = (request.key, request.to);
                            let busy = (BusMessageKind::Busy, Vec::new());
                            send_reply(&shared, shared.reply_cache.complete(key, to, busy));
                        }
                    }
                    remaining -= 1;
                    if remaining == 0 {
                        break;
                    }
                    match deliveries.next().now_or_never() {
                        Some(next) => delivery = next.ok_or(AmqpConnectionError::Closed)??,
                        None => break,
                    }
                }
                let all = BasicAckOptions { multiple: true };
                with_timeout(channel.basic_ack(delivery.delivery_tag, all)).await?;
            }
        }
    }
}

/// Declares a queue for this connection, bound to messages for this node and for all nodes.
async fn consume(shared: &AmqpShared, channel: &Channel) -> lapin::Result<Consumer> {
    let me = shared.me.to_string();
    let name = format!("n.{me}.{}", shared.queues.fetch_add(1, Ordering::Relaxed));
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-max-length".into(),
        AMQPValue::LongLongInt(shared.config.queue_max_length.into()),
    );
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(MAX_QUEUE_BYTES));
    // The sender learns that there is no room, and sends a resync event later.
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    channel.basic_qos(PREFETCH_COUNT, BasicQosOptions::default()).await?;
    channel.queue_declare(name.as_str().into(), options, arguments).await?;
    for (exchange, key) in [(DIRECT, me.as_str()), (EVENTS, "")] {
        let (name, key) = (name.as_str().into(), key.into());
        let options = QueueBindOptions::default();
        channel.queue_bind(name, exchange.into(), key, options, FieldTable::default()).await?;
    }
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    channel.basic_consume(name.as_str().into(), "node".into(), options, FieldTable::default()).await
}

/// A new request, not a duplicate.
struct IncomingRequest {
    key: (NodeId, u64),
    to: String,
    request: NodeRequest,
}

impl IncomingRequest {
    fn handle(
        self,
        handler: &dyn BusHandler,
    ) -> BoxFuture<'static, ((NodeId, u64), String, EncodedReply)> {
        let Self { key, to, request } = self;
        let reply = handler.handle_request(key.0, request);
        Box::pin(async move {
            let reply = match timeout(REQUEST_HANDLER_TIMEOUT, reply).await {
                Ok(Some(text)) => (BusMessageKind::Reply, text.into_bytes()),
                Ok(None) | Err(_) => (BusMessageKind::NotUnderstood, Vec::new()),
            };
            (key, to, reply)
        })
    }
}

/// Handles a delivery; returns a request if it must be answered.
fn handle_delivery(
    shared: &AmqpShared,
    handler: &dyn BusHandler,
    delivery: &Delivery,
) -> Option<IncomingRequest> {
    let Some(BusMessageHeader { kind, from, id }) = parse_header(&delivery.properties) else {
        return ignore("unlabelled");
    };
    match kind {
        BusMessageKind::Event if from == shared.me => None, // a broadcast also reaches its sender
        BusMessageKind::Event => match NodeEvent::read(&delivery.data) {
            Ok(NodeEvent::Unknown) => ignore("unknown"),
            Ok(event) => {
                counter!(BUS_EVENTS_CONSUMED, "event" => event.name()).increment(1);
                handler.on_event(from, event);
                None
            }
            Err(_) => ignore("unreadable"),
        },
        BusMessageKind::Request => {
            let to = delivery.properties.reply_to().as_ref()?.to_string();
            let key = (from, id?);
            match shared.reply_cache.register(key, to.clone()) {
                DedupDecision::InProgress => None,
                DedupDecision::SendAgain(reply_message) => {
                    send_reply(shared, reply_message);
                    None
                }
                DedupDecision::Handle => {
                    let request = NodeRequest::read(&delivery.data).unwrap_or_else(|_| {
                        ignore("unreadable");
                        NodeRequest::Unknown
                    });
                    Some(IncomingRequest { key, to, request })
                }
            }
        }
        BusMessageKind::Reply
        | BusMessageKind::NotUnderstood
        | BusMessageKind::Busy
        | BusMessageKind::Probe => None,
    }
}

fn ignore(reason: &'static str) -> Option<IncomingRequest> {
    counter!(BUS_EVENTS_IGNORED, "reason" => reason).increment(1);
    None
}

/// Replies are sent by the publisher: the broker blocks connections that publish, and nothing may
/// block this one.
fn send_reply(shared: &AmqpShared, reply: RequestReply) {
    if let Err(error) = shared.outbox.push(OutboundMessage::Reply(reply)) {
        counter!(BUS_EVENTS_IGNORED, "reason" => error.as_label()).increment(1);
    }
}

/// Marks the inbound side as up until it is dropped.
struct ConsumerOpenGuard(Arc<AmqpShared>);

impl ConsumerOpenGuard {
    fn new(shared: Arc<AmqpShared>) -> Self {
        shared.health.set(AmqpDirection::In, BusState::Up);
        Self(shared)
    }
}

impl Drop for ConsumerOpenGuard {
    fn drop(&mut self) {
        self.0.health.set(AmqpDirection::In, BusState::Down);
    }
}
