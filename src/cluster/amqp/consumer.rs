//! The way in: hands on what others tell, answers what they ask.

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
use super::connection::{AmqpConnection, AmqpConnectionError, DIRECT, EVENTS, within};
use super::envelope::{BusMessageHeader, BusMessageKind, label};
use super::outbox::{OutboundMessage, RequestReply};
use super::reply_cache::{DedupDecision, EncodedReply};
use super::{AmqpDirection, AmqpShared};
use crate::protocol::cluster::{NodeEvent, NodeRequest};
use crate::telemetry::metrics::{BUS_HEARD, BUS_IGNORED};

/// The broker sends so many messages ahead of those that were handled.
const PREFETCH_COUNT: u16 = 256;
/// So many are handled before the broker hears of it, if more are there already.
const BATCH: usize = 64;
/// So many questions may be under way; more are answered with "busy".
const MAX_CONCURRENT_REQUESTS: usize = 1024;
/// An answer that takes longer is given up: nobody waits for it.
const REQUEST_HANDLER_TIMEOUT: Duration = Duration::from_secs(30);
/// All that may wait in this node's queue at the broker, in bytes.
const INBOX_BYTES: i64 = 256 << 20;

/// One connection's life.
pub(super) async fn run(shared: Arc<AmqpShared>) -> AmqpConnectionError {
    match carry(shared).await {
        Ok(never) => match never {},
        Err(broken) => broken,
    }
}

async fn carry(shared: Arc<AmqpShared>) -> Result<Infallible, AmqpConnectionError> {
    let mut line = AmqpConnection::open(&shared, "in").await?;
    let channel = line.channel().await?;
    let mut deliveries = within(consume(&shared, &channel)).await?;
    let _open = ConsumerOpenGuard::new(Arc::clone(&shared));
    if let Some(listener) = shared.listener()
        && shared.heard.swap(true, Ordering::AcqRel)
    {
        listener.missed();
    }
    let mut making = shared.answering.making.lock().await;
    loop {
        tokio::select! {
            biased;
            event = line.event() => {
                if let Event::Error(error) = event {
                    return Err(error.into());
                }
            }
            Some((asker, to, answer)) = making.next() => {
                reply(&shared, shared.answering.answered(asker, to, answer));
            }
            delivery = deliveries.next() => {
                let mut delivery = delivery.ok_or(AmqpConnectionError::Ended)??;
                let mut left = BATCH;
                loop {
                    if let Some(listener) = shared.listener()
                        && let Some(question) = hear(&shared, listener.as_ref(), &delivery)
                    {
                        if making.len() < MAX_CONCURRENT_REQUESTS {
                            making.push(question.answer(listener.as_ref()));
                        } else {
                            counter!(BUS_IGNORED, "reason" => "busy").increment(1);
                            let (asker, to) = (question.asker, question.to);
                            let busy = (BusMessageKind::Busy, Vec::new());
                            reply(&shared, shared.answering.answered(asker, to, busy));
                        }
                    }
                    left -= 1;
                    if left == 0 {
                        break;
                    }
                    match deliveries.next().now_or_never() {
                        Some(next) => delivery = next.ok_or(AmqpConnectionError::Ended)??,
                        None => break,
                    }
                }
                let all = BasicAckOptions { multiple: true };
                within(channel.basic_ack(delivery.delivery_tag, all)).await?;
            }
        }
    }
}

/// Makes a queue of this connection's own, for what is said to this node and to all.
async fn consume(shared: &AmqpShared, channel: &Channel) -> lapin::Result<Consumer> {
    let me = shared.me.to_string();
    let name = format!("n.{me}.{}", shared.queues.fetch_add(1, Ordering::Relaxed));
    let mut bounds = FieldTable::default();
    bounds.insert("x-max-length".into(), AMQPValue::LongLongInt(shared.settings.inbox.into()));
    bounds.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(INBOX_BYTES));
    // The sender hears that there is no room, and owes us a word later.
    bounds.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    channel.basic_qos(PREFETCH_COUNT, BasicQosOptions::default()).await?;
    channel.queue_declare(name.as_str().into(), own, bounds).await?;
    for (exchange, key) in [(DIRECT, me.as_str()), (EVENTS, "")] {
        let (name, key) = (name.as_str().into(), key.into());
        let options = QueueBindOptions::default();
        channel.queue_bind(name, exchange.into(), key, options, FieldTable::default()).await?;
    }
    let options = BasicConsumeOptions { exclusive: true, ..Default::default() };
    channel.basic_consume(name.as_str().into(), "node".into(), options, FieldTable::default()).await
}

/// A question that is new.
struct IncomingRequest {
    asker: (NodeId, u64),
    to: String,
    request: NodeRequest,
}

impl IncomingRequest {
    fn answer(
        self,
        listener: &dyn BusHandler,
    ) -> BoxFuture<'static, ((NodeId, u64), String, EncodedReply)> {
        let Self { asker, to, request } = self;
        let answer = listener.answer(asker.0, request);
        Box::pin(async move {
            let answer = match timeout(REQUEST_HANDLER_TIMEOUT, answer).await {
                Ok(Some(text)) => (BusMessageKind::Reply, text.into_bytes()),
                Ok(None) | Err(_) => (BusMessageKind::Silence, Vec::new()),
            };
            (asker, to, answer)
        })
    }
}

/// Takes in what came; gives a question that is to be answered.
fn hear(
    shared: &AmqpShared,
    listener: &dyn BusHandler,
    delivery: &Delivery,
) -> Option<IncomingRequest> {
    let Some(BusMessageHeader { kind, from, id }) = label(&delivery.properties) else {
        return ignore("unlabelled");
    };
    match kind {
        BusMessageKind::Tell if from == shared.me => None, // what goes to all comes back as well
        BusMessageKind::Tell => match NodeEvent::read(&delivery.data) {
            Ok(NodeEvent::Unknown) => ignore("unknown"),
            Ok(event) => {
                counter!(BUS_HEARD, "event" => event.name()).increment(1);
                listener.hear(from, event);
                None
            }
            Err(_) => ignore("unreadable"),
        },
        BusMessageKind::Ask => {
            let to = delivery.properties.reply_to().as_ref()?.to_string();
            let asker = (from, id?);
            match shared.answering.asked(asker, to.clone()) {
                DedupDecision::Wait => None,
                DedupDecision::Repeat(answer) => {
                    reply(shared, answer);
                    None
                }
                DedupDecision::Answer => {
                    let request = NodeRequest::read(&delivery.data).unwrap_or_else(|_| {
                        ignore("unreadable");
                        NodeRequest::Unknown
                    });
                    Some(IncomingRequest { asker, to, request })
                }
            }
        }
        BusMessageKind::Reply
        | BusMessageKind::Silence
        | BusMessageKind::Busy
        | BusMessageKind::Probe => None,
    }
}

fn ignore(reason: &'static str) -> Option<IncomingRequest> {
    counter!(BUS_IGNORED, "reason" => reason).increment(1);
    None
}

/// Answers leave the way that questions do: the broker blocks whoever publishes, and nothing may
/// block the way in.
fn reply(shared: &AmqpShared, reply: RequestReply) {
    if let Err(error) = shared.outbox.push(OutboundMessage::Reply(reply)) {
        counter!(BUS_IGNORED, "reason" => error.word()).increment(1);
    }
}

/// The way in is open until this is dropped.
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
