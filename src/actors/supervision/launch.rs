//! Starting and shutting down a supervision tree.

use std::sync::Arc;
use std::time::Duration;

use base::clock::Clock;
use base::random::RandomSource;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::exit::ExitReason;
use super::incarnation::spawn_local;
use super::parent_link::{ChildHandle, ParentLink, SupervisorEvent};
use super::policy::{Intensity, Restart, RestartPolicy, Strategy};
use super::spec::{self, BuildChild, SupervisorSpec};
use super::supervisor_state::SupervisorState;
use super::supervisor_task::{SupervisorChild, TreeContext};
use super::threads::{ACTORS, ThreadAffinity, ThreadPools};
use super::tree::{SupervisionTree, TreeIndex};
use super::watchdog::{Watchdog, WatchdogThresholds};

/// The resources a supervision tree runs on.
#[derive(Clone)]
pub struct LaunchOptions {
    /// The thread pools by name and size. `None` runs everything on the current thread, without
    /// arbiters and without a watchdog, as simulations need it.
    pub pools: Option<Vec<(&'static str, usize)>>,
    /// When the watchdog acts on a blocked thread.
    pub watchdog: WatchdogThresholds,
    /// Source of the back-off jitter.
    pub random: RandomSource,
    /// Clock for the timestamps of failure records.
    pub clock: Clock,
}

impl LaunchOptions {
    /// Everything on the current thread.
    pub fn one_thread() -> Self {
        Self {
            pools: None,
            watchdog: WatchdogThresholds::default(),
            random: RandomSource::system(),
            clock: Clock::wall(),
        }
    }

    /// One pool of `threads` threads, at least 1, which is the default pool.
    pub fn threads(threads: usize) -> Self {
        Self { pools: Some(vec![(ACTORS, threads)]), ..Self::one_thread() }
    }

    /// Adds one more thread pool.
    pub fn pool(mut self, name: &'static str, threads: usize) -> Self {
        self.pools.get_or_insert_default().push((name, threads));
        self
    }
}

/// Why a tree could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// Thread pools need a running actix system.
    #[error("no actix system is running")]
    NoSystem,
    /// A child is assigned to a pool that does not exist.
    #[error("no such thread pool: {0:?}")]
    PoolNotFound(ThreadAffinity),
    /// A name is empty, contains a slash, or is used by a sibling.
    #[error("invalid or duplicate child name: {0}")]
    InvalidName(String),
    /// A child did not come up within its restart intensity.
    #[error("the tree did not start: {0}")]
    Failed(ExitReason),
}

/// Starts the tree described by `spec` and returns when all its children are up, in order. Must be
/// called inside an actix system, or for [`LaunchOptions::one_thread`] inside a `LocalSet`.
///
/// # Errors
/// [`LaunchError`]; children that were up have been stopped again.
pub async fn launch(
    spec: SupervisorSpec,
    options: LaunchOptions,
) -> Result<RunningTree, LaunchError> {
    let pools = match &options.pools {
        None => ThreadPools::one_thread(),
        Some(sizes) => ThreadPools::pools(sizes).ok_or(LaunchError::NoSystem)?,
    };
    if let Some(affinity) =
        spec.affinities().into_iter().find(|affinity| !pools.contains(*affinity))
    {
        return Err(LaunchError::PoolNotFound(affinity));
    }
    if let Some(name) = spec.first_invalid_name() {
        return Err(LaunchError::InvalidName(name));
    }
    let (index, pools) = (Arc::new(TreeIndex::new()), Arc::new(pools));
    let tree = SupervisionTree { index: Arc::clone(&index), pools: Arc::clone(&pools) };
    let watchdog = options.pools.is_some().then_some(options.watchdog);
    let watchdog = watchdog
        .and_then(|thresholds| Watchdog::start(Arc::clone(&index), Arc::clone(&pools), thresholds));
    let context = TreeContext { index, pools, random: options.random, clock: options.clock };

    // The root is the only child of a hidden supervisor, which ends with it.
    let policy = RestartPolicy { restart: Restart::Temporary, ..spec.policy() };
    let grace = policy.grace.saturating_add(RestartPolicy::CHILD.grace);
    let intensity = Intensity { max_restarts: 0, period: Duration::ZERO };
    let state =
        SupervisorState::new(Strategy::OneForOne, intensity, vec![policy]).ending_with_child();
    let root = spec::build_supervisor(&context, String::new(), state, vec![spec.into()]);
    let (parent, mut events) = mpsc::unbounded_channel();
    root.start(ParentLink { parent, child_id: 0 }, 1, false);
    let exit = loop {
        match events.recv().await {
            Some(SupervisorEvent::Up { .. }) => break None,
            Some(SupervisorEvent::Down { exit, .. }) => break Some(exit),
            Some(_) => {}
            None => break Some(ExitReason::Lost),
        }
    };
    let (exit_tx, exited) = watch::channel(exit.clone());
    let running = RunningTree { root: Some(root), tree, exited, grace, watchdog };
    if let Some(exit) = exit {
        running.shutdown(grace).await;
        return Err(LaunchError::Failed(exit));
    }
    running.tree.pools.spawn_control(move || {
        spawn_local(async move {
            while let Some(event) = events.recv().await {
                if let SupervisorEvent::Down { exit, .. } = event {
                    exit_tx.send_replace(Some(exit));
                }
            }
        });
    });
    Ok(running)
}

/// A running tree. Dropping it without [`RunningTree::shutdown`] kills everything in it.
pub struct RunningTree {
    root: Option<SupervisorChild>,
    tree: SupervisionTree,
    exited: watch::Receiver<Option<ExitReason>>,
    grace: Duration,
    watchdog: Option<Watchdog>,
}

impl RunningTree {
    /// The view of the tree for operators.
    pub fn tree(&self) -> SupervisionTree {
        self.tree.clone()
    }

    /// Waits until the tree has ended, by its own failure or by [`RunningTree::shutdown`].
    pub async fn exited(&self) -> ExitReason {
        let mut exited = self.exited.clone();
        let exit = exited.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        exit.unwrap_or(ExitReason::Lost)
    }

    /// Stops all children in reverse order, each with its own deadline; what still runs after
    /// `deadline` is killed. Returns why the root ended; after that nothing of the tree is left
    /// except actors that block a thread and do not return.
    pub async fn shutdown(mut self, deadline: Duration) -> ExitReason {
        let Some(root) = self.root.take() else { return ExitReason::Shutdown };
        root.stop();
        let mut exit = timeout(deadline, self.exited()).await;
        if exit.is_err() {
            root.kill();
            exit = timeout(self.grace, self.exited()).await;
        }
        drop(root);
        // on timeout the tree still lists what remains
        let _ = timeout(self.grace, self.tree.index.wait_until_empty()).await;
        drop(self.watchdog.take());
        self.tree.pools.close();
        exit.unwrap_or(ExitReason::Killed)
    }
}

impl Drop for RunningTree {
    fn drop(&mut self) {
        if let Some(root) = self.root.take() {
            root.kill();
            drop(root);
            self.tree.pools.close();
        }
    }
}
