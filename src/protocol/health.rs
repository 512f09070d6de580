//! What the server says about its own health.

use serde::Serialize;
use utoipa::ToSchema;

/// The answer of `GET /health`; the field names are fixed by older clients.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `healthy`, or `degraded` if a check failed.
    pub status: &'static str,
    /// Always `SecureVOX`.
    pub service: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// Calls in progress on this node.
    pub active_calls: usize,
    /// People with an open session on this node.
    pub connected_users: usize,
    /// Each part by itself.
    pub checks: HealthChecks,
}

/// `ok`, `failed`, or `off` where a part is not configured.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthChecks {
    /// Answers a query.
    pub database: &'static str,
    /// Counters and sessions.
    pub cache: &'static str,
    /// The connection between nodes.
    pub bus: &'static str,
    /// The Telegram gateway.
    pub telegram: &'static str,
}

/// The answer of the probes `GET /health/live` and `GET /health/ready`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProbeReply {
    /// `ok`, `starting`, `draining` or `failed`.
    pub status: &'static str,
}
