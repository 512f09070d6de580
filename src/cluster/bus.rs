//! The bus between nodes: events and requests.
//!
//! It may lose messages. Events are delivered at most once and in the order in which one node sends
//! them to another; a node that may have missed some is told so ([`BusHandler::on_events_lost`]) and
//! re-reads from the database (resync). A request that times out may or may not have been executed.

use std::sync::Arc;
use std::time::Duration;

use base::error::CodedError;
use base::ids::NodeId;
use tokio::sync::watch;

use super::cache::BoxFuture;
use crate::protocol::cluster::{NodeEvent, NodeRequest};

/// Whether the other nodes can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusState {
    /// Both directions are connected.
    Up,
    /// The broker blocks publishing for now (`connection.blocked`).
    Blocked,
    /// At least one direction is disconnected.
    Down,
}

/// Why an event or a request could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, CodedError)]
pub enum BusError {
    /// The node has no queue: it is gone.
    #[error("the other node is unreachable")]
    #[code("cluster/node-unreachable", Unavailable, retry_after = 1)]
    NodeUnreachable,
    /// No reply in time: the request may have been executed.
    #[error("the other node did not answer in time")]
    #[code("cluster/timeout", Unavailable, retry_after = 1)]
    Timeout,
    /// The bus is disconnected.
    #[error("other nodes are unreachable")]
    #[code("cluster/disconnected", Unavailable, retry_after = 1)]
    Disconnected,
    /// The outbox or the receiver's queue is full.
    #[error("too many messages to other nodes")]
    #[code("cluster/overloaded", Unavailable, retry_after = 1)]
    Overloaded,
}

impl BusError {
    /// The label value in metrics.
    pub const fn as_label(&self) -> &'static str {
        match self {
            Self::NodeUnreachable => "no_route",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Overloaded => "overloaded",
        }
    }
}

/// The connection of this node to the others.
pub trait Bus: Send + Sync + 'static {
    /// The id of this node.
    fn me(&self) -> NodeId;

    /// Queues an event for one node.
    ///
    /// # Errors
    /// [`BusError::Overloaded`] or [`BusError::Disconnected`]: it was not queued. The receiver is
    /// told to resync when it can be reached again.
    fn send(&self, to: NodeId, event: &NodeEvent) -> Result<(), BusError>;

    /// Queues an event for all other nodes.
    ///
    /// # Errors
    /// As [`Bus::send`].
    fn publish(&self, event: &NodeEvent) -> Result<(), BusError>;

    /// Sends a request to one node and waits for the reply. A request repeated after a time-out is
    /// a new request, unless its content makes it idempotent.
    fn request<'a>(
        &'a self,
        to: NodeId,
        request: &'a NodeRequest,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<String, BusError>>;

    /// Whether `node` has a queue at the broker; false proves that it has none.
    ///
    /// # Errors
    /// It could not be determined.
    fn probe(&self, node: NodeId) -> BoxFuture<'_, Result<bool, BusError>>;

    /// Sets the handler of events and requests of other nodes; call it once, before anything is
    /// received.
    fn set_handler(&self, handler: Arc<dyn BusHandler>);

    /// The current state and its changes.
    fn state(&self) -> watch::Receiver<BusState>;
}

/// Handles messages of other nodes. None of its methods may block.
pub trait BusHandler: Send + Sync + 'static {
    /// Handles an event of another node.
    fn on_event(&self, from: NodeId, event: NodeEvent);

    /// Handles a request of another node; `None` if it is not understood.
    fn handle_request(
        &self,
        from: NodeId,
        request: NodeRequest,
    ) -> BoxFuture<'static, Option<String>>;

    /// Events to this node may have been lost: the inbound side was disconnected for a while.
    fn on_events_lost(&self);

    /// The broker reported that this node has no queue any more.
    fn on_unreachable(&self, node: NodeId);
}
