//! Request and response types of the administration API.

use base::clock::Timestamp;
use base::ids::{ApiTokenId, AuditId, JobId, NodeId, UserId};
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cluster::NodeLoad;

/// A node of the cluster.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeView {
    /// Identifier of the process; new at every start.
    #[schema(value_type = String)]
    pub id: NodeId,
    /// Configured name of the node.
    pub name: String,
    /// Base URL of the node.
    pub url: String,
    /// Membership state: `joining`, `up` or `draining`.
    pub state: String,
    /// When the node joined the cluster; `null` for a server without a cluster.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Whether this is the node that answered the request.
    pub this: bool,
    /// Current load of the node.
    pub load: NodeLoad,
}

/// The supervision tree of a node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ActorTreeView {
    /// Name of the node.
    pub node: String,
    /// Every actor and supervisor, sorted by path.
    pub items: Vec<ActorView>,
}

/// One actor or supervisor. Read from counters, without a message to the actor.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ActorView {
    /// Path in the supervision tree.
    #[schema(example = "/node/chat/0")]
    pub path: String,
    /// `down`, `waiting`, `starting`, `running`, `stopping`, `ended` or `stopped`.
    pub state: String,
    /// Kind of the tree node: `supervisor`, `partition` or `actor`.
    pub kind: String,
    /// Restart type (OTP): `permanent`, `transient` or `temporary`.
    pub restart: String,
    /// Milliseconds since the last start; 0 if it is not running.
    pub uptime_ms: u64,
    /// Number of restarts.
    pub restarts: u32,
    /// Number of messages waiting in the mailbox.
    pub mailbox: u64,
    /// Number of messages handled.
    pub handled: u64,
    /// Longest time a message has waited in the mailbox, in microseconds.
    pub longest_wait_us: u64,
    /// Time the current handler has run, in milliseconds; 0 if the actor is idle.
    pub stuck_ms: u64,
    /// Message type or hook being handled; empty if the actor is idle.
    pub doing: String,
    /// The most recent failure; `null` if there was none.
    pub last_failure: Option<ActorFailure>,
    /// The most recent failures, oldest first; a limited number is kept.
    pub failures: Vec<ActorFailure>,
}

/// Why an incarnation of an actor ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorFailure {
    /// When the incarnation ended.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Exit reason, for example the text of a panic.
    pub exit: String,
    /// Type of the message being handled, or name of the lifecycle hook.
    pub message: String,
}

/// Selects the node whose supervision tree is returned.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActorsQuery {
    /// Name of the node; the node that receives the request if absent.
    pub node: Option<String>,
}

/// Creates an API token.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiToken {
    /// Purpose of the token, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// What the token may do, for example `builds:write`.
    pub scopes: Vec<String>,
    /// Days until the token expires; it never expires if absent.
    #[schema(minimum = 1, maximum = 3650)]
    pub expires_in_days: Option<u32>,
}

/// An API token without its secret.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ApiTokenView {
    /// Identifier for `DELETE /api/admin/tokens/{id}`.
    #[schema(value_type = String)]
    pub id: ApiTokenId,
    /// Purpose of the token.
    pub name: String,
    /// What the token may do.
    pub scopes: Vec<String>,
    /// When the token was created.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the token expires; `null` if never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When the token was last used, to the minute; `null` if never.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    /// When the token was revoked; `null` if it was not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// A new API token. The secret is returned only once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CreatedApiToken {
    /// Secret for `Authorization: Token …`.
    #[schema(value_type = String)]
    pub secret: Secret<String>,
    /// The token as it appears in the list.
    pub token: ApiTokenView,
}

/// Filters the audit log. An absent filter matches every entry.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Maximum number of entries: 1 to 200.
    #[schema(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next` of the previous page.
    pub after: Option<String>,
    /// Only actions of this user.
    #[schema(value_type = Option<String>)]
    pub actor: Option<UserId>,
    /// Only actions on this subject, usually an id.
    pub subject: Option<String>,
    /// Only this action, for example `user.suspended`.
    pub action: Option<String>,
}

/// An entry of the audit log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditEntryView {
    /// Stable identifier of the entry.
    #[schema(value_type = String)]
    pub id: AuditId,
    /// When the action happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The user who acted; `null` for the server itself.
    #[schema(value_type = Option<String>)]
    pub actor: Option<UserId>,
    /// What was done, for example `actor.restart`.
    pub action: String,
    /// What the action was applied to, usually an id.
    pub subject: String,
    /// Further details; the shape depends on the action.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    /// IP address of the request; `null` if there was none or the caller may not see it.
    pub ip: Option<String>,
}

/// A background job that is pending, or that ended within the last week.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobView {
    /// Stable identifier of the job.
    #[schema(value_type = String)]
    pub id: JobId,
    /// Kind of work, for example `account.export`.
    pub kind: String,
    /// `waiting`, `running`, `done`, or `dead` if all attempts failed.
    pub state: String,
    /// Number of attempts started.
    pub attempts: i64,
    /// When the next attempt may start.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// Error of the last failed attempt.
    pub failure: Option<String>,
    /// When the job was enqueued.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the job ended; `null` until then.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}
