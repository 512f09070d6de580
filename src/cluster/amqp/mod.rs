//! The bus over RabbitMQ: two connections, one out and one in, each as long as one run of its driver.
//!
//! Every node binds a queue of its own to two exchanges: `cluster.direct`, routed by the node's id,
//! and `cluster.events`, which goes to all. A queue lives as long as the connection it was made on
//! and is never named twice, so that a connection that the broker still believes in is in nobody's
//! way. Whoever runs the drivers runs them anew when they end, after a pause of its choosing.

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

use self::outbox::{BusOutbox, OutboundMessage};
use self::pending_requests::PendingRequests;
use self::reply_cache::ReplyCache;
use super::bus::{Bus, BusError, BusHandler, BusState};
use super::cache::BoxFuture;
use crate::protocol::cluster::{NodeEvent, NodeRequest};
use crate::telemetry::metrics::{BUS_ASKED, BUS_UP};

pub use self::connection::AmqpConnectionError;

/// What the bus is to know.
#[derive(Clone, Debug)]
pub struct AmqpConfig {
    /// Where the broker is: `amqp://` or `amqps://`.
    pub url: Secret<String>,
    /// Certificates of authorities in PEM, besides those of the system.
    pub authorities: Option<String>,
    /// What people call this node; the broker shows it.
    pub name: String,
    /// How much may wait to be told to others.
    pub outbox: usize,
    /// How much may wait at the broker to be told to this node.
    pub inbox: u32,
}

/// The bus; cheap to clone.
#[derive(Clone)]
pub struct AmqpBus(Arc<AmqpShared>);

/// What both drivers and all who tell and ask share.
struct AmqpShared {
    me: NodeId,
    uri: AMQPUri,
    settings: AmqpConfig,
    outbox: BusOutbox,
    questions: PendingRequests,
    answering: ReplyCache,
    listener: OnceLock<Arc<dyn BusHandler>>,
    health: AmqpHealth,
    /// Counts the queues of this node.
    queues: AtomicU64,
    /// The way in was open before.
    heard: AtomicBool,
}

impl AmqpBus {
    /// The bus of the node `me`. Nothing goes out or comes in until its drivers run.
    ///
    /// # Errors
    /// An address that cannot be read, in words.
    pub fn new(me: NodeId, settings: AmqpConfig) -> Result<Self, String> {
        let uri = connection::address(&settings)?;
        Ok(Self(Arc::new(AmqpShared {
            me,
            uri,
            outbox: BusOutbox::new(settings.outbox),
            settings,
            questions: PendingRequests::default(),
            answering: ReplyCache::default(),
            listener: OnceLock::new(),
            health: AmqpHealth::default(),
            queues: AtomicU64::new(0),
            heard: AtomicBool::new(false),
        })))
    }

    /// Carries what is told and asked to the broker, over one connection; ends with it.
    pub fn publisher(&self) -> impl Future<Output = AmqpConnectionError> + Send + 'static + use<> {
        publisher::run(Arc::clone(&self.0))
    }

    /// Brings what others tell and ask, over one connection; ends with it.
    pub fn consumer(&self) -> impl Future<Output = AmqpConnectionError> + Send + 'static + use<> {
        consumer::run(Arc::clone(&self.0))
    }

    /// Whether the broker lets us in.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn reach(&self) -> Result<(), AmqpConnectionError> {
        connection::AmqpConnection::open(&self.0, "look").await.map(drop)
    }
}

impl Bus for AmqpBus {
    fn me(&self) -> NodeId {
        self.0.me
    }

    fn tell(&self, to: NodeId, event: &NodeEvent) -> Result<(), BusError> {
        self.0.outbox.tell(Some(to), event)
    }

    fn publish(&self, event: &NodeEvent) -> Result<(), BusError> {
        self.0.outbox.tell(None, event)
    }

    fn ask<'a>(
        &'a self,
        to: NodeId,
        request: &'a NodeRequest,
        patience: Duration,
    ) -> BoxFuture<'a, Result<String, BusError>> {
        Box::pin(async move {
            let answer = self.0.ask(to, request, patience).await;
            let outcome = answer.as_ref().map_or_else(BusError::word, |_| "answered");
            counter!(BUS_ASKED, "outcome" => outcome).increment(1);
            answer
        })
    }

    fn probe(&self, node: NodeId) -> BoxFuture<'_, Result<bool, BusError>> {
        Box::pin(async move {
            let (verdict, answer) = oneshot::channel();
            self.0.outbox.push(OutboundMessage::Probe(node, verdict))?;
            match tokio::time::timeout(PROBE, answer).await {
                Ok(verdict) => verdict.unwrap_or(Err(BusError::Disconnected)),
                Err(_) => Err(BusError::Timeout),
            }
        })
    }

    fn listen(&self, listener: Arc<dyn BusHandler>) {
        let _ = self.0.listener.set(listener); // set once, by the composition root
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.0.health.state.subscribe()
    }
}

/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(2);

impl AmqpShared {
    async fn ask(
        &self,
        to: NodeId,
        request: &NodeRequest,
        patience: Duration,
    ) -> Result<String, BusError> {
        let (question, answer) = self.questions.open(to, request, patience);
        self.outbox.push(OutboundMessage::Ask(question.id))?;
        match tokio::time::timeout(patience, answer).await {
            Ok(answer) => answer.unwrap_or(Err(BusError::Disconnected)),
            Err(_) => Err(BusError::Timeout),
        }
    }

    fn listener(&self) -> Option<&Arc<dyn BusHandler>> {
        self.listener.get()
    }
}

/// One way: out or in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AmqpDirection {
    Out,
    In,
}

/// How both ways are.
struct AmqpHealth {
    state: watch::Sender<BusState>,
    ways: std::sync::Mutex<(BusState, BusState)>,
}

impl Default for AmqpHealth {
    fn default() -> Self {
        let ways = std::sync::Mutex::new((BusState::Down, BusState::Down));
        Self { state: watch::Sender::new(BusState::Down), ways }
    }
}

impl AmqpHealth {
    /// One way is so now; the bus is as well as the worse of them.
    fn set(&self, way: AmqpDirection, state: BusState) {
        let mut ways = self.ways.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match way {
            AmqpDirection::Out => ways.0 = state,
            AmqpDirection::In => ways.1 = state,
        }
        let state = match *ways {
            (BusState::Up, BusState::Up) => BusState::Up,
            (BusState::Blocked, BusState::Up) => BusState::Blocked,
            _ => BusState::Down,
        };
        gauge!(BUS_UP).set(f64::from(u8::from(state == BusState::Up)));
        let changed = self.state.send_if_modified(|old| std::mem::replace(old, state) != state);
        if changed {
            tracing::info!(bus.state = ?state, "bus state changed");
        }
    }
}
