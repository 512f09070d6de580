//! What administrators and operators see.

use base::clock::Timestamp;
use base::ids::{ApiTokenId, AuditId, JobId, NodeId, UserId};
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cluster::NodeLoad;

/// A node of the cluster.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeView {
    /// Made anew at every start of its process.
    #[schema(value_type = String)]
    pub id: NodeId,
    /// How people call it.
    pub name: String,
    /// Where it is found.
    pub url: String,
    /// `joining`, `up` or `draining`.
    pub state: String,
    /// When it came up; `null` for a node that is alone.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Whether it is the one that answers.
    pub this: bool,
    /// What it carries.
    pub load: NodeLoad,
}

/// The supervision tree of a node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ActorTreeView {
    /// Which node.
    pub node: String,
    /// Every actor, sorted by path.
    pub items: Vec<ActorView>,
}

/// One actor, as seen from outside without disturbing it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ActorView {
    /// Where it stands in the tree.
    #[schema(example = "/node/chat/0")]
    pub path: String,
    /// `down`, `waiting`, `starting`, `running`, `stopping`, `ended` or `stopped`.
    pub state: String,
    /// `supervisor`, `partition` or `actor`.
    pub kind: String,
    /// `permanent`, `transient` or `temporary`.
    pub restart: String,
    /// Milliseconds since its last start; 0 if it does not run.
    pub uptime_ms: u64,
    /// How often it was restarted.
    pub restarts: u32,
    /// Messages that wait.
    pub mailbox: u64,
    /// Messages handled.
    pub handled: u64,
    /// The longest a message has waited, in microseconds.
    pub longest_wait_us: u64,
    /// How long it has held its thread now, in milliseconds; 0 if it does not.
    pub stuck_ms: u64,
    /// What it holds its thread with; empty if nothing.
    pub doing: String,
    /// What ended it last.
    pub last_failure: Option<ActorFailure>,
    /// What ended it, oldest first; the last few.
    pub failures: Vec<ActorFailure>,
}

/// Why an actor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorFailure {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What happened, such as a panic's text.
    pub exit: String,
    /// The type of the message it was handling, or the hook it was in.
    pub message: String,
}

/// Which node's tree is wanted.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActorsQuery {
    /// The node; this one where it is left out.
    pub node: Option<String>,
}

/// Makes an API token.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiToken {
    /// What it is for.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What it may do, such as `builds:write`.
    pub scopes: Vec<String>,
    /// After how many days it ends; never where it is left out.
    #[schema(minimum = 1, maximum = 3650)]
    pub expires_in_days: Option<u32>,
}

/// An API token, without the secret itself.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiTokenView {
    /// For `DELETE /api/admin/tokens/{id}`.
    #[schema(value_type = String)]
    pub id: ApiTokenId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// When it was taken back.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// A new API token; the secret is shown this once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedApiToken {
    /// For `Authorization: ApiTokenView …`.
    #[schema(value_type = String)]
    pub secret: Secret<String>,
    /// The rest.
    pub token: ApiTokenView,
}

/// Which entries of the audit log are wanted; what is left out fits everything.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// How many at most: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// Where the piece before ended.
    pub after: Option<String>,
    /// Done by this person.
    #[schema(value_type = Option<String>)]
    pub actor: Option<UserId>,
    /// Done to this: an id, most often.
    pub subject: Option<String>,
    /// This was done, such as `user.suspended`.
    pub action: Option<String>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntryView {
    /// Stable.
    #[schema(value_type = String)]
    pub id: AuditId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who; `null` for the server itself.
    #[schema(value_type = Option<String>)]
    pub actor: Option<UserId>,
    /// What was done, such as `actor.restart`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More about it.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    /// From where.
    pub ip: Option<String>,
}

/// Work that is to be done, or was done within the last week.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobView {
    /// Stable.
    #[schema(value_type = String)]
    pub id: JobId,
    /// What is to be done, such as `account.export`.
    pub kind: String,
    /// `waiting`, `running`, `done`, or `dead`: it failed too often.
    pub state: String,
    /// How often it was begun.
    pub attempts: i64,
    /// When it may be begun (again).
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// Why it failed last.
    pub failure: Option<String>,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}
