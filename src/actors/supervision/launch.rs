//! The beginning and the end of a tree.

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

/// What a tree runs on.
#[derive(Clone)]
pub struct LaunchOptions {
    /// The pools of threads, by name and size; `None`: everything on the current thread, without
    /// arbiters and without a watchdog, as simulations need it.
    pub pools: Option<Vec<(&'static str, usize)>>,
    /// When the watchdog acts.
    pub patience: WatchdogThresholds,
    /// The jitter of back-offs.
    pub entropy: RandomSource,
    /// The time of failures.
    pub clock: Clock,
}

impl LaunchOptions {
    /// Everything on the current thread.
    pub fn one_thread() -> Self {
        Self {
            pools: None,
            patience: WatchdogThresholds::default(),
            entropy: RandomSource::system(),
            clock: Clock::wall(),
        }
    }

    /// A pool of `threads` threads, 1 or more, for those who do not care.
    pub fn threads(threads: usize) -> Self {
        Self { pools: Some(vec![(ACTORS, threads)]), ..Self::one_thread() }
    }

    /// One pool more.
    pub fn pool(mut self, name: &'static str, threads: usize) -> Self {
        self.pools.get_or_insert_default().push((name, threads));
        self
    }
}

/// Why there is no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// Threads need an actix system.
    #[error("no actix system runs here")]
    NoSystem,
    /// A child wants to live in a pool that there is not.
    #[error("there is no such place: {0:?}")]
    NoSuchPlace(ThreadAffinity),
    /// A name is empty, has a slash, or is its sibling's too.
    #[error("two children share this name, or it is none: {0}")]
    BadName(String),
    /// A child did not come up, however often it was tried.
    #[error("it did not come up: {0}")]
    Failed(ExitReason),
}

/// Brings up the tree below `spec`; returns when all its children are up, in order. To be called
/// inside an actix system, or for [`LaunchOptions::one_thread`] inside a `LocalSet`.
///
/// # Errors
/// [`LaunchError`]; whatever was up has come down again.
pub async fn launch(
    spec: SupervisorSpec,
    options: LaunchOptions,
) -> Result<RunningTree, LaunchError> {
    let places = match &options.pools {
        None => ThreadPools::one_thread(),
        Some(sizes) => ThreadPools::pools(sizes).ok_or(LaunchError::NoSystem)?,
    };
    if let Some(place) = spec.places().into_iter().find(|place| !places.has(*place)) {
        return Err(LaunchError::NoSuchPlace(place));
    }
    if let Some(name) = spec.bad_name() {
        return Err(LaunchError::BadName(name));
    }
    let (forest, places) = (Arc::new(TreeIndex::new()), Arc::new(places));
    let tree = SupervisionTree { forest: Arc::clone(&forest), places: Arc::clone(&places) };
    let watchdog = options.pools.is_some().then_some(options.patience);
    let watchdog = watchdog
        .and_then(|patience| Watchdog::start(Arc::clone(&forest), Arc::clone(&places), patience));
    let site = TreeContext { forest, places, entropy: options.entropy, clock: options.clock };

    // The root is the only child of a supervisor that nobody sees, and that ends with it.
    let policy = RestartPolicy { restart: Restart::Temporary, ..spec.policy() };
    let grace = policy.grace.saturating_add(RestartPolicy::CHILD.grace);
    let intensity = Intensity { most: 0, window: Duration::ZERO };
    let family =
        SupervisorState::new(Strategy::OneForOne, intensity, vec![policy]).ending_with_child();
    let seat = spec::build(&site, String::new(), family, vec![spec.into()]);
    let (above, mut news) = mpsc::unbounded_channel();
    seat.start(ParentLink { above, kid: 0 }, 1, false);
    let exit = loop {
        match news.recv().await {
            Some(SupervisorEvent::Up { .. }) => break None,
            Some(SupervisorEvent::Down { exit, .. }) => break Some(exit),
            Some(_) => {}
            None => break Some(ExitReason::Lost),
        }
    };
    let (tell, exited) = watch::channel(exit.clone());
    let living = RunningTree { seat: Some(seat), tree, exited, grace, watchdog };
    if let Some(exit) = exit {
        living.shutdown(grace).await;
        return Err(LaunchError::Failed(exit));
    }
    living.tree.places.spawn_control(move || {
        spawn_local(async move {
            while let Some(event) = news.recv().await {
                if let SupervisorEvent::Down { exit, .. } = event {
                    tell.send_replace(Some(exit));
                }
            }
        });
    });
    Ok(living)
}

/// A living tree. If it is dropped without [`RunningTree::shutdown`], all in it is killed.
pub struct RunningTree {
    seat: Option<SupervisorChild>,
    tree: SupervisionTree,
    exited: watch::Receiver<Option<ExitReason>>,
    grace: Duration,
    watchdog: Option<Watchdog>,
}

impl RunningTree {
    /// The view for operators.
    pub fn tree(&self) -> SupervisionTree {
        self.tree.clone()
    }

    /// Waits until the tree has ended: by its own failure, or by [`RunningTree::shutdown`].
    pub async fn exited(&self) -> ExitReason {
        let mut exited = self.exited.clone();
        let exit = exited.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        exit.unwrap_or(ExitReason::Lost)
    }

    /// Stops all in reverse order, each with its own deadline; what lives after `deadline` is
    /// killed. Returns how the root ended; then nothing of the tree is left but actors that hold
    /// a thread and do not return.
    pub async fn shutdown(mut self, deadline: Duration) -> ExitReason {
        let Some(seat) = self.seat.take() else { return ExitReason::Shutdown };
        seat.stop();
        let mut exit = timeout(deadline, self.exited()).await;
        if exit.is_err() {
            seat.kill();
            exit = timeout(self.grace, self.exited()).await;
        }
        drop(seat);
        let _ = timeout(self.grace, self.tree.forest.wait_until_empty()).await; // an empty tree shows it
        drop(self.watchdog.take());
        self.tree.places.close();
        exit.unwrap_or(ExitReason::Killed)
    }
}

impl Drop for RunningTree {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            seat.kill();
            drop(seat);
            self.tree.places.close();
        }
    }
}
