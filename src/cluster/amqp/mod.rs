//! The bus over RabbitMQ, with two connections, one for each direction.
//!
//! Every node binds its own queue to two exchanges: `cluster.direct`, routed by node id, and
//! `cluster.events`, which fans out to all. A queue lives as long as its connection and its name is
//! never reused, so that a dead connection that the broker still keeps cannot interfere.
//! [`AmqpBus::publisher`] and [`AmqpBus::consumer`] run until their connection ends; the caller
//! restarts them after a delay of its choice.

mod connection;
mod consumer;
mod envelope;
mod outbox;
mod pending_requests;
mod publisher;
mod reply_cache;

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::ids::NodeId;
use base::secret::Secret;
use lapin::uri::AMQPUri;
use metrics::{counter, gauge};
use tokio::sync::{oneshot, watch};

pub use self::connection::AmqpConnectionError;
use self::outbox::{BusOutbox, OutboundMessage};
use self::pending_requests::PendingRequests;
use self::reply_cache::ReplyCache;
use super::bus::{Bus, BusError, BusHandler, BusState};
use super::cache::BoxFuture;
use crate::protocol::cluster::{NodeEvent, NodeRequest};
use crate::telemetry::metrics::{BUS_CONNECTED, BUS_REQUESTS};

/// Configuration of the bus.
#[derive(Clone, Debug)]
pub struct AmqpConfig {
    /// The broker's URL: `amqp://` or `amqps://`.
    pub url: Secret<String>,
    /// CA certificates in PEM, in addition to the system's.
    pub ca_pem: Option<String>,
    /// The node's name, as the broker shows it.
    pub name: String,
    /// Maximum number of messages waiting to be sent.
    pub outbox_capacity: usize,
    /// Maximum number of messages waiting for this node at the broker.
    pub queue_max_length: u32,
}

/// The bus over RabbitMQ; cheap to clone.
#[derive(Clone)]
pub struct AmqpBus(Arc<AmqpShared>);

/// State shared by the publisher, the consumer and all users of the bus.
struct AmqpShared {
    me: NodeId,
    uri: AMQPUri,
    config: AmqpConfig,
    outbox: BusOutbox,
    pending_requests: PendingRequests,
    reply_cache: ReplyCache,
    handler: OnceLock<Arc<dyn BusHandler>>,
    health: AmqpHealth,
    /// Number of queues declared so far.
    queues: AtomicU64,
    /// Whether the consumer was connected before.
    was_connected: AtomicBool,
}

impl AmqpBus {
    /// The bus of the node `me`. Nothing is sent or received until publisher and consumer run.
    ///
    /// # Errors
    /// A text that says why the URL is invalid.
    pub fn new(me: NodeId, settings: AmqpConfig) -> Result<Self, String> {
        let uri = connection::broker_uri(&settings)?;
        Ok(Self(Arc::new(AmqpShared {
            me,
            uri,
            outbox: BusOutbox::new(settings.outbox_capacity),
            config: settings,
            pending_requests: PendingRequests::default(),
            reply_cache: ReplyCache::default(),
            handler: OnceLock::new(),
            health: AmqpHealth::default(),
            queues: AtomicU64::new(0),
            was_connected: AtomicBool::new(false),
        })))
    }

    /// Publishes queued messages over one connection; ends with it.
    pub fn publisher(&self) -> impl Future<Output = AmqpConnectionError> + Send + 'static + use<> {
        publisher::run(Arc::clone(&self.0))
    }

    /// Consumes messages of other nodes over one connection; ends with it.
    pub fn consumer(&self) -> impl Future<Output = AmqpConnectionError> + Send + 'static + use<> {
        consumer::run(Arc::clone(&self.0))
    }

    /// Checks that the broker accepts a connection.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn check_connection(&self) -> Result<(), AmqpConnectionError> {
        connection::AmqpConnection::open(&self.0, "look").await.map(drop)
    }
}

impl Bus for AmqpBus {
    fn me(&self) -> NodeId {
        self.0.me
    }

    fn send(&self, to: NodeId, event: &NodeEvent) -> Result<(), BusError> {
        self.0.outbox.push_event(Some(to), event)
    }

    fn publish(&self, event: &NodeEvent) -> Result<(), BusError> {
        self.0.outbox.push_event(None, event)
    }

    fn request<'a>(
        &'a self,
        to: NodeId,
        request: &'a NodeRequest,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<String, BusError>> {
        Box::pin(async move {
            let reply = self.0.send_request(to, request, timeout).await;
            let outcome = reply.as_ref().map_or_else(BusError::as_label, |_| "answered");
            counter!(BUS_REQUESTS, "outcome" => outcome).increment(1);
            reply
        })
    }

    fn probe(&self, node: NodeId) -> BoxFuture<'_, Result<bool, BusError>> {
        Box::pin(async move {
            let (sender, reply) = oneshot::channel();
            self.0.outbox.push(OutboundMessage::Probe(node, sender))?;
            match tokio::time::timeout(PROBE_TIMEOUT, reply).await {
                Ok(result) => result.unwrap_or(Err(BusError::Disconnected)),
                Err(_) => Err(BusError::Timeout),
            }
        })
    }

    fn set_handler(&self, handler: Arc<dyn BusHandler>) {
        let _ = self.0.handler.set(handler); // set once, by the composition root
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.0.health.state.subscribe()
    }
}

/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

impl AmqpShared {
    async fn send_request(
        &self,
        to: NodeId,
        request: &NodeRequest,
        timeout: Duration,
    ) -> Result<String, BusError> {
        let (guard, reply) = self.pending_requests.open(to, request, timeout);
        self.outbox.push(OutboundMessage::Request(guard.id))?;
        match tokio::time::timeout(timeout, reply).await {
            Ok(reply) => reply.unwrap_or(Err(BusError::Disconnected)),
            Err(_) => Err(BusError::Timeout),
        }
    }

    fn handler(&self) -> Option<&Arc<dyn BusHandler>> {
        self.handler.get()
    }
}

/// A direction of the bus.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AmqpDirection {
    Out,
    In,
}

/// The state of both directions.
struct AmqpHealth {
    state: watch::Sender<BusState>,
    directions: std::sync::Mutex<(BusState, BusState)>,
}

impl Default for AmqpHealth {
    fn default() -> Self {
        let directions = std::sync::Mutex::new((BusState::Down, BusState::Down));
        Self { state: watch::Sender::new(BusState::Down), directions }
    }
}

impl AmqpHealth {
    /// Sets the state of one direction; the bus has the worse state of the two.
    fn set(&self, direction: AmqpDirection, state: BusState) {
        let mut directions =
            self.directions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match direction {
            AmqpDirection::Out => directions.0 = state,
            AmqpDirection::In => directions.1 = state,
        }
        let state = match *directions {
            (BusState::Up, BusState::Up) => BusState::Up,
            (BusState::Blocked, BusState::Up) => BusState::Blocked,
            _ => BusState::Down,
        };
        gauge!(BUS_CONNECTED).set(f64::from(u8::from(state == BusState::Up)));
        let changed = self.state.send_if_modified(|old| std::mem::replace(old, state) != state);
        if changed {
            tracing::info!(bus.state = ?state, "bus state changed");
        }
    }
}
