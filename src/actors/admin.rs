//! What operators see and do, on this node and on every other.

use std::sync::{Arc, OnceLock};

use base::error::{CodedError, ErrorKind};
use base::ids::NodeId;
use tokio::sync::Notify;

use super::peer_nodes::{PeerNodes, REQUEST_TIMEOUT};
use super::supervision::{CommandError, FailureRecord, SupervisionTree, TreeNodeView};
use crate::cluster::BusError;
use crate::protocol::admin::{ActorFailure, ActorTreeView, ActorView};
use crate::protocol::cluster::{ActorCommandRequest, NodeLoad, NodeRequest};

/// The way to every node's tree; cheap to clone.
#[derive(Clone)]
pub struct AdminService {
    tree: Arc<OnceLock<SupervisionTree>>,
    neighbours: PeerNodes,
    /// Somebody wants this node to leave.
    leave: Arc<Notify>,
}

/// Why an operator's wish was not done.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The tree is not there yet.
    #[error("the node is starting")]
    Starting,
    /// Nobody of this id.
    #[error("there is no such node")]
    NodeNotFound,
    /// The other node said no.
    #[error("{0}")]
    Refused(String),
    /// This node's tree said no.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The other node cannot be asked.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl CodedError for AdminError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Starting => ErrorKind::Unavailable,
            Self::NodeNotFound => ErrorKind::NotFound,
            Self::Refused(_) => ErrorKind::Conflict,
            Self::Command(e) => e.kind(),
            Self::Bus(e) => e.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Starting => "node/starting",
            Self::NodeNotFound => "actors/node-not-found",
            Self::Refused(_) => "actors/restart-failed",
            Self::Command(e) => e.code(),
            Self::Bus(e) => e.code(),
        }
    }
}

impl AdminService {
    /// The tree may come later.
    pub fn new(tree: Arc<OnceLock<SupervisionTree>>, neighbours: PeerNodes) -> Self {
        Self { tree, neighbours, leave: Arc::default() }
    }

    fn tree(&self) -> Result<&SupervisionTree, AdminError> {
        self.tree.get().ok_or(AdminError::Starting)
    }

    /// `None` if the node is this one.
    fn other(&self, node: Option<NodeId>) -> Result<Option<NodeId>, AdminError> {
        match node {
            Some(node) if node == self.neighbours.local_node() => Ok(None),
            Some(node) if !self.neighbours.is_live(node) => Err(AdminError::NodeNotFound),
            other => Ok(other),
        }
    }

    /// The actors of a node.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn actors(&self, node: Option<NodeId>) -> Result<ActorTreeView, AdminError> {
        match self.other(node)? {
            Some(node) => {
                Ok(self.neighbours.ask(node, &NodeRequest::Actors, REQUEST_TIMEOUT).await?)
            }
            None => self.local_actors(),
        }
    }

    /// The actors of this node.
    ///
    /// # Errors
    /// [`AdminError::Starting`].
    pub fn local_actors(&self) -> Result<ActorTreeView, AdminError> {
        let items = self.tree()?.snapshot().into_iter().map(view).collect();
        Ok(ActorTreeView { node: self.neighbours.local_node().to_string(), items })
    }

    /// Restarts or stops an actor of a node.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn execute(
        &self,
        node: Option<NodeId>,
        act: ActorCommandRequest,
    ) -> Result<(), AdminError> {
        match self.other(node)? {
            Some(node) => {
                let asked = NodeRequest::ActOn(act);
                match self.neighbours.ask(node, &asked, REQUEST_TIMEOUT).await? {
                    None => Ok(()),
                    Some(refused) => Err(AdminError::Refused(refused)),
                }
            }
            None => self.execute_local(act).await,
        }
    }

    /// Restarts or stops an actor of this node.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn execute_local(&self, act: ActorCommandRequest) -> Result<(), AdminError> {
        let tree = self.tree()?;
        if act.restart {
            tree.restart(&act.path).await?
        } else {
            tree.stop(&act.path).await?
        }
        Ok(())
    }

    /// Whether a node is known to live.
    pub fn knows(&self, node: NodeId) -> bool {
        self.neighbours.is_live(node)
    }

    /// What a node carries; `own` tells it of this one.
    pub fn load(&self, node: NodeId, own: impl FnOnce() -> NodeLoad) -> NodeLoad {
        if node == self.neighbours.local_node() {
            return own();
        }
        self.neighbours.loads().remove(&node).map(|(load, _)| load).unwrap_or_default()
    }

    /// Wishes that a node hands over what it has and leaves; done when the wish has arrived.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn drain(&self, node: NodeId) -> Result<(), AdminError> {
        match self.other(Some(node))? {
            Some(node) => {
                Ok(self.neighbours.ask(node, &NodeRequest::Drain, REQUEST_TIMEOUT).await?)
            }
            None => {
                self.drain_local();
                Ok(())
            }
        }
    }

    /// Wishes the same of this node.
    pub fn drain_local(&self) {
        self.leave.notify_one();
    }

    /// Waits until somebody wishes that this node leaves.
    pub async fn drain_requested(&self) {
        self.leave.notified().await;
    }
}

fn view(entry: TreeNodeView) -> ActorView {
    ActorView {
        path: entry.path,
        state: word(&entry.state),
        kind: word(&entry.kind),
        restart: word(&entry.restart),
        uptime_ms: entry.uptime_ms,
        restarts: entry.restarts,
        mailbox: entry.mailbox,
        handled: entry.handled,
        longest_wait_us: entry.longest_wait_us,
        stuck_ms: entry.stuck_ms,
        doing: entry.doing,
        last_failure: entry.last_failure.map(failure),
        failures: entry.failures.into_iter().map(failure).collect(),
    }
}

fn failure(failure: FailureRecord) -> ActorFailure {
    ActorFailure { at: failure.at, exit: failure.exit, message: failure.message }
}

/// The word that serde has for a plain variant.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

impl CodedError for CommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound => ErrorKind::NotFound,
            Self::Closing => ErrorKind::Unavailable,
            Self::Failed(_) => ErrorKind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "actors/not-found",
            Self::Closing => "actors/shutting-down",
            Self::Failed(_) => "actors/restart-failed",
        }
    }
}
