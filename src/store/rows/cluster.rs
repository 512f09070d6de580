//! Nodes and what they own.

use base::clock::Timestamp;
use base::ids::NodeId;
use diesel::prelude::{Queryable, Selectable};

use super::text_enum::word;
use crate::schema::nodes;

word! {
    /// What a node is doing.
    NodeState: "state of a node" {
        /// It comes up.
        Joining = "joining",
        /// It takes its share.
        Up = "up",
        /// It hands over what it has and leaves.
        Draining = "draining",
        /// It has left, or was found dead.
        Down = "down",
    }
}

/// One life of a process.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = nodes)]
pub struct NodeRow {
    /// Made anew at every start.
    pub id: NodeId,
    /// How people call it.
    pub name: String,
    /// Where operators find it.
    pub url: String,
    /// What it is doing.
    pub state: NodeState,
    /// When it came up.
    pub started_at: Timestamp,
    /// When it last said that it lives.
    pub renewed_at: Timestamp,
    /// Until when that holds.
    pub until: Timestamp,
}

/// A node's word that it lives.
#[derive(Clone, Debug)]
pub struct NodeHeartbeat {
    /// Which.
    pub id: NodeId,
    /// How people call it.
    pub name: String,
    /// Where operators find it.
    pub url: String,
    /// What it is doing.
    pub state: NodeState,
    /// Whether it knows that it holds its lock: else that the lock is free proves nothing.
    pub locked: bool,
}

/// What the database answered to a node's word.
#[derive(Clone, Debug)]
pub struct HeartbeatOutcome {
    /// Whether the word was taken; else the node was taken for dead, and owns nothing any more.
    pub alive: bool,
    /// The database's clock.
    pub now: Timestamp,
    /// All nodes whose word holds.
    pub nodes: Vec<NodeRow>,
}

/// Who has what.
#[derive(Clone, Debug, PartialEq, Eq, Queryable)]
pub struct LeaseRow {
    /// What.
    pub key: String,
    /// Who.
    pub owner: NodeId,
    /// Which of its owners that is.
    pub epoch: i64,
    /// What the first owner noted.
    pub value: String,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseClaimOutcome {
    /// Nobody had it.
    New(LeaseRow),
    /// Its owner was dead.
    Taken(LeaseRow),
    /// Its owner lives; perhaps the one who asks.
    Held(LeaseRow),
    /// The one who asks is not known to live.
    NotAlive,
}

/// Proof of ownership on a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FencingTokenRow {
    /// What is owned.
    pub key: String,
    /// By whom.
    pub owner: NodeId,
    /// Under which epoch.
    pub epoch: i64,
}

/// The number of a node's advisory lock: the random half of its id.
pub(crate) fn lock_number(id: NodeId) -> i64 {
    let (_, low) = id.uuid().as_u64_pair();
    i64::from_be_bytes(low.to_be_bytes())
}
