//! The bus: how a node tells and asks others.
//!
//! It may lose. What is told is told at most once, in the order in which one node tells another;
//! whoever may have missed something is told so ([`BusHandler::missed`]) and looks into the database.
//! What is asked and not answered in time has perhaps been done.

use std::sync::Arc;
use std::time::Duration;

use base::error::{CodedError, ErrorKind};
use base::ids::NodeId;
use tokio::sync::watch;

use super::cache::BoxFuture;
use crate::protocol::cluster::{NodeEvent, NodeRequest};

/// Whether the other nodes can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusState {
    /// Both ways are open.
    Up,
    /// The broker takes nothing just now (`connection.blocked`).
    Blocked,
    /// There is no way out, or none in.
    Down,
}

/// Why a node could not be told or asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody listens there: the node is gone.
    #[error("the other node is gone")]
    NoRoute,
    /// No answer in time: what was asked has perhaps been done.
    #[error("the other node did not answer in time")]
    Timeout,
    /// The bus is down.
    #[error("the other nodes cannot be reached")]
    Disconnected,
    /// More waits than may wait.
    #[error("more is to be told to other nodes than can be")]
    Overloaded,
}

impl BusError {
    /// One word, as a label of metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::Overloaded => "overloaded",
        }
    }
}

impl CodedError for BusError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoRoute => "cluster/node-unreachable",
            Self::Timeout => "cluster/timeout",
            Self::Disconnected => "cluster/disconnected",
            Self::Overloaded => "cluster/overloaded",
        }
    }

    fn retry_after(&self) -> Option<u64> {
        Some(1)
    }
}

/// The way to the other nodes.
pub trait Bus: Send + Sync + 'static {
    /// This node.
    fn me(&self) -> NodeId;

    /// Queues an event for one node.
    ///
    /// # Errors
    /// [`BusError::Overloaded`] or [`BusError::Disconnected`]: it was not queued. The receiver is
    /// made to look into the database when it can be reached again.
    fn tell(&self, to: NodeId, event: &NodeEvent) -> Result<(), BusError>;

    /// Queues an event for all other nodes.
    ///
    /// # Errors
    /// As [`Bus::tell`].
    fn publish(&self, event: &NodeEvent) -> Result<(), BusError>;

    /// Asks one node and waits for its answer. A question that is asked again after a time-out is
    /// the same question only to those who make it so.
    fn ask<'a>(
        &'a self,
        to: NodeId,
        request: &'a NodeRequest,
        patience: Duration,
    ) -> BoxFuture<'a, Result<String, BusError>>;

    /// Whether somebody listens at `node`: false is a proof that the broker has no queue of it.
    ///
    /// # Errors
    /// It could not be found out.
    fn probe(&self, node: NodeId) -> BoxFuture<'_, Result<bool, BusError>>;

    /// Who hears what others tell and answers what they ask; set once, before anything is heard.
    fn listen(&self, listener: Arc<dyn BusHandler>);

    /// How it is, and every change of that.
    fn state(&self) -> watch::Receiver<BusState>;
}

/// Hears what other nodes tell. None of its methods may block.
pub trait BusHandler: Send + Sync + 'static {
    /// Another node tells something.
    fn hear(&self, from: NodeId, event: NodeEvent);

    /// Another node asks; `None` to a question that is not understood.
    fn answer(&self, from: NodeId, request: NodeRequest) -> BoxFuture<'static, Option<String>>;

    /// Something that was told to this node is perhaps lost: the way in was closed for a while.
    fn missed(&self);

    /// Nobody listens at that node any more, said the broker.
    fn unreachable(&self, node: NodeId);
}
