//! HTTP and WebSocket API. Handlers parse the request, call a service and build the response.

pub mod access;
mod account_security;
mod accounts;
mod actors;
mod api_tokens;
mod calls;
mod chat;
mod contacts;
pub mod error_codes;
pub mod extract;
mod files;
mod health;
pub mod http_error;
mod invites;
pub mod listener;
mod messages;
mod middleware;
mod nodes;
pub mod openapi;
mod origin;
mod pages;
pub mod problem;
pub mod route;
pub mod routes;
pub mod schema;
pub mod socket;
pub mod tls;
mod uploads;
mod user_admin;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base::clock::Clock;
use metrics_exporter_prometheus::PrometheusHandle;
use store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::actors::admin::AdminService;
use crate::actors::sessions::{self, SessionService};
use crate::actors::store_health::StoreHealthFlag;
use crate::actors::supervision::SupervisionTree;
use crate::actors::uploads::UploadRegistry;
use crate::cluster::{Bus, Cache, NodeLeases};
use crate::config::Config;
use crate::domain::accounts::AccountService;
use crate::domain::api_tokens::ApiTokenService;
use crate::domain::chat::ChatService;
use crate::domain::contacts::ContactService;
use crate::domain::exports::ExportService;
use crate::domain::files::FileService;
use crate::domain::jobs::JobRunner;
use crate::telemetry::metrics::count_rejected;

/// Shared application state of all handlers; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The configuration of this node.
    pub config: Arc<Config>,
    pub clock: Clock,
    /// Configured name of this node.
    pub node: Arc<str>,
    /// Account service: sign-in, devices, security.
    pub accounts: AccountService,
    /// API token service.
    pub api_tokens: ApiTokenService,
    /// Data export service.
    pub exports: ExportService,
    /// Job runner, woken by handlers that enqueue jobs.
    pub jobs: JobRunner,
    /// Contact service.
    pub contacts: ContactService,
    /// Chat service.
    pub chat: ChatService,
    /// File and attachment service.
    pub files: FileService,
    /// Resumable uploads open on this node.
    pub uploads: UploadRegistry,
    /// Sessions, event delivery, presence, calls and chat shards.
    pub sessions: SessionService,
    /// Database, for health checks and the audit log.
    pub store: Store,
    /// Cache, for rate limit counters.
    pub cache: Arc<dyn Cache>,
    /// Event bus to other nodes.
    pub bus: Arc<dyn Bus>,
    /// Whether the database answered recently.
    pub store_up: StoreHealthFlag,
    /// The supervision tree, once it is running.
    pub tree: Arc<std::sync::OnceLock<SupervisionTree>>,
    /// Administration of all nodes.
    pub admin: AdminService,
    /// Leases of this node; `None` without a cluster.
    pub leases: Option<NodeLeases>,
    /// Engine.IO sessions of this node.
    pub engines: socket::Engines,
    /// Counter and admission control of sockets.
    pub sockets: SocketLimiter,
    /// Renderer of the metrics page.
    pub metrics: PrometheusHandle,
    /// Whether the node is draining.
    pub draining: DrainFlag,
}

/// Maximum time a socket waits for admission. Ten thousand simultaneous reconnects take 5 to 15 s.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Counts open sockets and limits concurrent admissions; cheap to clone.
#[derive(Clone, Debug)]
pub struct SocketLimiter {
    open: Arc<AtomicUsize>,
    admissions: Arc<Semaphore>,
}

impl SocketLimiter {
    /// `queue` is the length of the database queue; an eighth of it is used for admissions.
    pub fn new(queue: usize) -> Self {
        let admissions = (queue / 8).max(1);
        Self { open: Arc::default(), admissions: Arc::new(Semaphore::new(admissions)) }
    }

    /// Counts a socket until the guard is dropped.
    pub fn count(&self) -> SocketGuard {
        self.open.fetch_add(1, Ordering::AcqRel);
        SocketGuard(self.open.clone())
    }

    /// Waits for admission; the permit is held until dropped. Without this limit, mass reconnects
    /// would overflow the database queue and be rejected.
    ///
    /// # Errors
    /// [`sessions::SessionError::NotStarted`] if it takes too long: the database is unavailable.
    pub(crate) async fn admit(&self) -> Result<OwnedSemaphorePermit, sessions::SessionError> {
        match tokio::time::timeout(ADMISSION_TIMEOUT, self.admissions.clone().acquire_owned()).await
        {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                count_rejected("turns");
                Err(sessions::SessionError::NotStarted)
            }
        }
    }

    /// Number of open sockets.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

/// One open socket; counted until dropped.
#[derive(Debug)]
pub struct SocketGuard(Arc<AtomicUsize>);

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the node is draining; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct DrainFlag(Arc<AtomicBool>);

impl DrainFlag {
    /// Starts draining: no new work is accepted.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the node is draining.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn socket_admission_waits_until_permit_or_timeout() {
        let sockets = SocketLimiter::new(8);
        let permit = sockets.admit().await.unwrap();
        let (second, ()) = tokio::join!(sockets.admit(), async { drop(permit) });
        let _second = second.expect("admitted after release");

        assert!(matches!(sockets.admit().await, Err(sessions::SessionError::NotStarted)));
    }
}
