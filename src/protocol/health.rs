//! Responses of the health endpoints.

use serde::Serialize;
use utoipa::ToSchema;

/// Response of `GET /health`. The field names are fixed by older clients.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// `healthy`, or `degraded` if a check failed.
    pub status: &'static str,
    /// Always `SecureVOX`.
    pub service: &'static str,
    /// Version of the server.
    pub version: &'static str,
    /// Calls in progress on this node.
    pub active_calls: usize,
    /// Users with an open session on this node.
    pub connected_users: usize,
    /// Result of each check.
    pub checks: HealthChecks,
}

/// Check results: `ok`, `failed`, or `off` if the component is not configured.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthChecks {
    /// The database answers a query.
    pub database: &'static str,
    /// The cache holds counters and sessions.
    pub cache: &'static str,
    /// Message bus between nodes.
    pub bus: &'static str,
    /// Telegram gateway for notifications.
    pub telegram: &'static str,
}

/// Response of the probes `GET /health/live` and `GET /health/ready`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProbeReply {
    /// `ok`, `starting`, `draining` or `failed`.
    pub status: &'static str,
}
