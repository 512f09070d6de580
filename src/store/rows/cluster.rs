//! Nodes and the leases they own.

use base::clock::Timestamp;
use base::ids::NodeId;
use diesel::prelude::{Queryable, Selectable};

use super::text_enum::text_enum;
use crate::schema::nodes;

text_enum! {
    /// Life-cycle state of a node.
    NodeState: "state of a node" {
        /// Starting.
        Joining = "joining",
        /// Serving.
        Up = "up",
        /// Handing over its rooms before it leaves.
        Draining = "draining",
        /// Has left, or was declared dead.
        Down = "down",
    }
}

/// A node: one run of a server process.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = nodes)]
pub struct NodeRow {
    /// New at every start.
    pub id: NodeId,
    /// Name for operators.
    pub name: String,
    /// URL at which operators reach it.
    pub url: String,
    pub state: NodeState,
    /// Time of its start.
    pub started_at: Timestamp,
    /// Time of its last heartbeat.
    pub renewed_at: Timestamp,
    /// Time at which its heartbeat expires.
    pub until: Timestamp,
}

/// A heartbeat of a node.
#[derive(Clone, Debug)]
pub struct NodeHeartbeat {
    pub id: NodeId,
    /// Name for operators.
    pub name: String,
    /// URL at which operators reach it.
    pub url: String,
    pub state: NodeState,
    /// Whether the node knows that it holds its lock: otherwise a free lock proves nothing.
    pub holds_lock: bool,
}

/// The database's response to a heartbeat.
#[derive(Clone, Debug)]
pub struct HeartbeatOutcome {
    /// Whether the heartbeat was accepted; otherwise the node was declared dead and owns nothing
    /// any more.
    pub is_alive: bool,
    /// The database's clock.
    pub now: Timestamp,
    /// All nodes whose heartbeat is valid.
    pub nodes: Vec<NodeRow>,
}

/// A lease: who owns a resource.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct LeaseRow {
    /// Name of the resource.
    pub key: String,
    /// The owning node.
    pub owner: NodeId,
    /// Fencing epoch; grows with every change of owner.
    pub epoch: i64,
    /// A value that the owner stores with the lease.
    pub value: String,
}

/// Result of claiming a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseClaimOutcome {
    /// The lease did not exist.
    Created(LeaseRow),
    /// Its previous owner was dead.
    TakenOver(LeaseRow),
    /// Its owner is alive; perhaps the claiming node itself.
    Held(LeaseRow),
    /// The claiming node has no valid heartbeat.
    NotAlive,
}

/// Fencing token: proves ownership with a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FencingTokenRow {
    /// The key of the lease.
    pub key: String,
    /// The owning node.
    pub owner: NodeId,
    /// The epoch under which the node owns it.
    pub epoch: i64,
}

/// Number of a node's advisory lock: the random half of its id.
pub(crate) fn lock_number(id: NodeId) -> i64 {
    let (_, low) = id.uuid().as_u64_pair();
    i64::from_be_bytes(low.to_be_bytes())
}
