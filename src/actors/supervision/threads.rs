//! The threads that actors run on: pools of arbiters, or one thread for a whole simulation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix_rt::{Arbiter, ArbiterHandle, System};

use super::actor_stats::locked;
use super::thread_activity::ThreadActivity;

/// Which threads a child runs on. In a simulation every affinity means the one thread there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadAffinity {
    /// The thread that launched the tree.
    LaunchThread,
    /// Any thread of the pool of that name, chosen round-robin.
    Pool(&'static str),
    /// One thread of a pool, by its number (modulo the size of the pool).
    Thread(&'static str, usize),
}

impl Default for ThreadAffinity {
    fn default() -> Self {
        Self::Pool(ACTORS)
    }
}

/// Name of the default thread pool.
pub const ACTORS: &str = "actors";

/// The threads of one tree.
pub(super) struct ThreadPools {
    launch_thread: ArbiterThread,
    /// Runs the supervisors, apart from the actors they watch.
    control: ArbiterThread,
    pools: HashMap<&'static str, ThreadPool>,
    /// The activity of every thread that may be busy, lost threads included.
    activities: Mutex<Vec<Arc<ThreadActivity>>>,
}

struct ThreadPool {
    threads: Vec<ArbiterThread>,
    next: AtomicUsize,
}

struct ArbiterThread {
    activity: Mutex<Arc<ThreadActivity>>,
    thread: ThreadSlot,
}

enum ThreadSlot {
    /// The `LocalSet` of the current thread.
    Local,
    /// The arbiter of the actix system.
    System(ArbiterHandle),
    /// An arbiter of this tree, created on demand and created again when lost.
    Owned(Mutex<Option<ArbiterHandle>>),
}

impl ArbiterThread {
    fn new(thread: ThreadSlot) -> Self {
        Self { activity: Mutex::new(ThreadActivity::new()), thread }
    }

    fn owned() -> Self {
        Self::new(ThreadSlot::Owned(Mutex::new(None)))
    }
}

impl ThreadPools {
    /// Everything on the current thread, in its `LocalSet`.
    pub(super) fn one_thread() -> Self {
        let (launch_thread, control) =
            (ArbiterThread::new(ThreadSlot::Local), ArbiterThread::new(ThreadSlot::Local));
        let activities = Mutex::new(vec![Arc::clone(&locked(&launch_thread.activity))]);
        Self { launch_thread, control, pools: HashMap::new(), activities }
    }

    /// Pools of the given sizes; `None` outside an actix system.
    pub(super) fn pools(sizes: &[(&'static str, usize)]) -> Option<Self> {
        let launch_thread =
            ArbiterThread::new(ThreadSlot::System(System::try_current()?.arbiter().clone()));
        let pool = |size: usize| ThreadPool {
            threads: (0..size.max(1)).map(|_| ArbiterThread::owned()).collect(),
            next: AtomicUsize::new(0),
        };
        let pools = sizes.iter().map(|&(name, size)| (name, pool(size))).collect();
        let activities = Mutex::new(vec![Arc::clone(&locked(&launch_thread.activity))]);
        Some(Self { launch_thread, control: ArbiterThread::owned(), pools, activities })
    }

    /// Whether these threads exist.
    pub(super) fn contains(&self, affinity: ThreadAffinity) -> bool {
        match affinity {
            _ if self.is_one_thread() => true,
            ThreadAffinity::LaunchThread => true,
            ThreadAffinity::Pool(name) | ThreadAffinity::Thread(name, _) => {
                self.pools.contains_key(name)
            }
        }
    }

    fn is_one_thread(&self) -> bool {
        matches!(self.launch_thread.thread, ThreadSlot::Local)
    }

    /// Runs `work` on one of these threads and returns the id of the thread. If the thread is gone
    /// `work` is dropped, and the next call creates a new one.
    pub(super) fn spawn(
        &self,
        affinity: ThreadAffinity,
        work: impl FnOnce(Arc<ThreadActivity>) + Send + 'static,
    ) -> u64 {
        self.spawn_at(self.arbiter_thread(affinity), work)
    }

    /// Runs `work` on the thread of the supervisors.
    pub(super) fn spawn_control(&self, work: impl FnOnce() + Send + 'static) {
        let _ = self.spawn_at(&self.control, move |_| work());
    }

    fn arbiter_thread(&self, affinity: ThreadAffinity) -> &ArbiterThread {
        let pool = |name| self.pools.get(name).filter(|_| !self.is_one_thread());
        let nth = |pool: &ThreadPool, n: usize| n % pool.threads.len();
        let found = match affinity {
            ThreadAffinity::LaunchThread => None,
            ThreadAffinity::Thread(name, n) => pool(name).map(|pool| &pool.threads[nth(pool, n)]),
            ThreadAffinity::Pool(name) => pool(name).map(|pool| {
                let n = pool.next.fetch_add(1, Ordering::Relaxed);
                &pool.threads[nth(pool, n)]
            }),
        };
        found.unwrap_or(&self.launch_thread)
    }

    fn spawn_at(
        &self,
        arbiter_thread: &ArbiterThread,
        work: impl FnOnce(Arc<ThreadActivity>) + Send + 'static,
    ) -> u64 {
        match &arbiter_thread.thread {
            ThreadSlot::Local => {
                let activity = Arc::clone(&locked(&arbiter_thread.activity));
                let id = activity.id;
                work(activity);
                id
            }
            ThreadSlot::System(arbiter) => {
                let activity = Arc::clone(&locked(&arbiter_thread.activity));
                let id = activity.id;
                arbiter.spawn_fn(move || work(activity));
                id
            }
            ThreadSlot::Owned(arbiter) => {
                let mut arbiter = locked(arbiter);
                let handle = arbiter.get_or_insert_with(|| {
                    let activity = ThreadActivity::new();
                    locked(&self.activities).push(Arc::clone(&activity));
                    *locked(&arbiter_thread.activity) = activity;
                    Arbiter::new().handle()
                });
                let activity = Arc::clone(&locked(&arbiter_thread.activity));
                let id = activity.id;
                if !handle.spawn_fn(move || work(activity)) {
                    *arbiter = None;
                }
                id
            }
        }
    }

    /// The activity of every thread that may be stuck.
    pub(super) fn activities(&self) -> Vec<Arc<ThreadActivity>> {
        locked(&self.activities).clone()
    }

    /// Gives up the thread `activity`; what is sent there next gets a new one. False if it is not an
    /// owned thread or was given up before.
    pub(super) fn replace_thread(&self, thread_id: u64) -> bool {
        for arbiter_thread in self.pools.values().flat_map(|pool| &pool.threads) {
            let ThreadSlot::Owned(arbiter) = &arbiter_thread.thread else { continue };
            let mut arbiter = locked(arbiter);
            if locked(&arbiter_thread.activity).id == thread_id {
                return arbiter.take().is_some_and(|handle| handle.stop());
            }
        }
        false
    }

    /// Ends every owned thread.
    pub(super) fn close(&self) {
        let threads = self.pools.values().flat_map(|pool| &pool.threads).chain([&self.control]);
        for arbiter_thread in threads {
            if let ThreadSlot::Owned(arbiter) = &arbiter_thread.thread
                && let Some(handle) = locked(arbiter).take()
            {
                handle.stop();
            }
        }
    }
}
