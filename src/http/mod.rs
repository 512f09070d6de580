//! HTTP and WebSockets in; deeds and actors asked; answers out. A handler reads, asks, answers.

pub mod access;
mod account_security;
mod accounts;
mod actors;
mod api_tokens;
mod calls;
mod chat;
mod contacts;
pub mod extract;
mod files;
mod health;
mod invites;
pub mod listener;
mod messages;
mod middleware;
mod nodes;
pub mod openapi;
mod origin;
mod pages;
pub mod problem;
pub mod routes;
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

/// All that a handler can reach; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The settings.
    pub config: Arc<Config>,
    /// The time.
    pub clock: Clock,
    /// The name of this node.
    pub node: Arc<str>,
    /// Deeds of accounts.
    pub accounts: AccountService,
    /// Deeds of API tokens.
    pub tokens: ApiTokenService,
    /// Archives of what belongs to a person.
    pub exports: ExportService,
    /// Where whoever wrote a job rings.
    pub jobs: JobRunner,
    /// Deeds of contacts.
    pub contacts: ContactService,
    /// Deeds of chat.
    pub chat: ChatService,
    /// Files that people send.
    pub files: FileService,
    /// Resumable uploads that go on here.
    pub uploads: UploadRegistry,
    /// Sessions and lanes.
    pub living: SessionService,
    /// For health and the audit log.
    pub store: Store,
    /// Counters.
    pub cache: Arc<dyn Cache>,
    /// The way to other nodes.
    pub bus: Arc<dyn Bus>,
    /// Whether the database answered lately.
    pub store_up: StoreHealthFlag,
    /// The supervision tree, once it stands.
    pub tree: Arc<std::sync::OnceLock<SupervisionTree>>,
    /// What operators see and do, on every node.
    pub operators: AdminService,
    /// This node's word that it lives, where others may be.
    pub leases: Option<NodeLeases>,
    /// Sockets that speak Socket.IO.
    pub engines: socket::Engines,
    /// How many sockets are open.
    pub sockets: SocketLimiter,
    /// Renders the metrics page.
    pub metrics: PrometheusHandle,
    /// Whether the node is on its way out.
    pub draining: DrainFlag,
}

/// How long a socket may wait for its turn; ten thousand that come back at once take 5 to 15 s.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(30);

/// Counts the sockets that are open on this node, and lets them in; cheap to clone.
#[derive(Clone, Debug)]
pub struct SocketLimiter {
    open: Arc<AtomicUsize>,
    entering: Arc<Semaphore>,
}

impl SocketLimiter {
    /// Those of a node whose database has a queue this long: a part of it is theirs.
    pub fn new(queue: usize) -> Self {
        let entering = (queue / 8).max(1);
        Self { open: Arc::default(), entering: Arc::new(Semaphore::new(entering)) }
    }

    /// One more, until what is given is dropped.
    pub fn count(&self) -> SocketGuard {
        self.open.fetch_add(1, Ordering::AcqRel);
        SocketGuard(self.open.clone())
    }

    /// Waits until it is a socket's turn to be let in, until what is given is dropped. When all come
    /// back at once they would fill the queue of the database, and be refused.
    ///
    /// # Errors
    /// [`sessions::SessionError::NotStarted`] if that takes too long: the database is away.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, sessions::SessionError> {
        match tokio::time::timeout(ADMISSION_TIMEOUT, self.entering.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                count_rejected("turns");
                Err(sessions::SessionError::NotStarted)
            }
        }
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

/// One open socket.
#[derive(Debug)]
pub struct SocketGuard(Arc<AtomicUsize>);

impl Drop for SocketGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether the node is on its way out; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct DrainFlag(Arc<AtomicBool>);

impl DrainFlag {
    /// From now on the node takes nothing new.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it takes nothing new.
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
        let turn = sockets.turn().await.unwrap();
        let (second, ()) = tokio::join!(sockets.turn(), async { drop(turn) });
        let _second = second.expect("its turn comes");

        assert!(matches!(sockets.turn().await, Err(sessions::SessionError::NotStarted)));
    }
}
