//! Administration: the actor trees of this node and of every other, and commands to them.

use std::sync::{Arc, OnceLock};

use base::error::CodedError;
use base::ids::NodeId;
use tokio::sync::Notify;

use super::peer_nodes::{PeerNodes, REQUEST_TIMEOUT};
use super::supervision::{CommandError, FailureRecord, SupervisionTree, TreeNodeView};
use crate::cluster::BusError;
use crate::protocol::admin::{ActorFailure, ActorTreeView, ActorView};
use crate::protocol::cluster::{ActorCommandRequest, NodeLoad, NodeRequest};

/// Handle to the actor trees of all nodes; cheap to clone.
#[derive(Clone)]
pub struct AdminService {
    tree: Arc<OnceLock<SupervisionTree>>,
    peer_nodes: PeerNodes,
    /// Notified when this node shall drain.
    drain_requested: Arc<Notify>,
}

/// Why a command was not executed.
#[derive(Debug, thiserror::Error, CodedError)]
pub enum AdminError {
    /// The tree is not launched yet.
    #[error("the node is starting")]
    #[code("node/starting", Unavailable)]
    Starting,
    /// No node with this id is alive.
    #[error("node not found")]
    #[code("actors/node-not-found", NotFound)]
    NodeNotFound,
    /// The other node refused the command.
    #[error("{0}")]
    #[code("actors/restart-failed", Conflict)]
    Refused(String),
    /// The tree of this node refused the command.
    #[error(transparent)]
    #[code(transparent)]
    Command(#[from] CommandError),
    /// The other node could not be reached.
    #[error(transparent)]
    #[code(transparent)]
    Bus(#[from] BusError),
}

impl AdminService {
    /// Creates the service; the tree may be set later.
    pub fn new(tree: Arc<OnceLock<SupervisionTree>>, peer_nodes: PeerNodes) -> Self {
        Self { tree, peer_nodes, drain_requested: Arc::default() }
    }

    fn tree(&self) -> Result<&SupervisionTree, AdminError> {
        self.tree.get().ok_or(AdminError::Starting)
    }

    /// The given node if it is another one, `None` if it is this one.
    fn remote_node(&self, node: Option<NodeId>) -> Result<Option<NodeId>, AdminError> {
        match node {
            Some(node) if node == self.peer_nodes.local_node() => Ok(None),
            Some(node) if !self.peer_nodes.is_live(node) => Err(AdminError::NodeNotFound),
            remote_node => Ok(remote_node),
        }
    }

    /// The actors of a node; `None` means this node.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn actors(&self, node: Option<NodeId>) -> Result<ActorTreeView, AdminError> {
        match self.remote_node(node)? {
            Some(node) => {
                Ok(self.peer_nodes.ask(node, &NodeRequest::Actors, REQUEST_TIMEOUT).await?)
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
        Ok(ActorTreeView { node: self.peer_nodes.local_node().to_string(), items })
    }

    /// Restarts or stops an actor of a node; `None` means this node.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn execute(
        &self,
        node: Option<NodeId>,
        command: ActorCommandRequest,
    ) -> Result<(), AdminError> {
        match self.remote_node(node)? {
            Some(node) => {
                let request = NodeRequest::CommandActor(command);
                match self.peer_nodes.ask(node, &request, REQUEST_TIMEOUT).await? {
                    None => Ok(()),
                    Some(refusal) => Err(AdminError::Refused(refusal)),
                }
            }
            None => self.execute_local(command).await,
        }
    }

    /// Restarts or stops an actor of this node.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn execute_local(&self, command: ActorCommandRequest) -> Result<(), AdminError> {
        let tree = self.tree()?;
        if command.restart {
            tree.restart(&command.path).await?
        } else {
            tree.stop(&command.path).await?
        }
        Ok(())
    }

    /// Whether a node is known to be alive.
    pub fn knows(&self, node: NodeId) -> bool {
        self.peer_nodes.is_live(node)
    }

    /// The load of a node; `local_load` returns that of this one.
    pub fn load(&self, node: NodeId, local_load: impl FnOnce() -> NodeLoad) -> NodeLoad {
        if node == self.peer_nodes.local_node() {
            return local_load();
        }
        self.peer_nodes.loads().remove(&node).map(|(load, _)| load).unwrap_or_default()
    }

    /// Asks a node to drain; returns when the request has arrived.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn drain(&self, node: NodeId) -> Result<(), AdminError> {
        match self.remote_node(Some(node))? {
            Some(node) => {
                Ok(self.peer_nodes.ask(node, &NodeRequest::Drain, REQUEST_TIMEOUT).await?)
            }
            None => {
                self.drain_local();
                Ok(())
            }
        }
    }

    /// Asks this node to drain.
    pub fn drain_local(&self) {
        self.drain_requested.notify_one();
    }

    /// Waits until this node is asked to drain.
    pub async fn drain_requested(&self) {
        self.drain_requested.notified().await;
    }
}

fn view(entry: TreeNodeView) -> ActorView {
    ActorView {
        path: entry.path,
        state: serde_name(&entry.state),
        kind: serde_name(&entry.kind),
        restart: serde_name(&entry.restart),
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

/// The serde name of a unit variant.
fn serde_name(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}
