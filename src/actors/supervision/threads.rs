//! Where actors live: pools of arbiters, or one thread for a whole simulation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix_rt::{Arbiter, ArbiterHandle, System};

use super::cell::locked;
use super::thread_activity::ThreadActivity;

/// Where a child lives. In a simulation every place is the one thread there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThreadAffinity {
    /// The thread that launched the tree.
    Here,
    /// Any thread of the pool of that name; the threads take turns.
    Pool(&'static str),
    /// One thread of a pool, by its number (modulo the size of the pool).
    Thread(&'static str, usize),
}

impl Default for ThreadAffinity {
    fn default() -> Self {
        Self::Pool(ACTORS)
    }
}

/// The pool of those who do not care.
pub const ACTORS: &str = "actors";

/// The threads of one tree.
pub(super) struct ThreadPools {
    here: ArbiterThread,
    /// Supervisors, apart from those they watch.
    control: ArbiterThread,
    pools: HashMap<&'static str, ThreadPool>,
    /// All desks that may be busy, those of lost threads too.
    desks: Mutex<Vec<Arc<ThreadActivity>>>,
}

struct ThreadPool {
    workers: Vec<ArbiterThread>,
    next: AtomicUsize,
}

struct ArbiterThread {
    desk: Mutex<Arc<ThreadActivity>>,
    thread: ThreadSlot,
}

enum ThreadSlot {
    /// The current thread's `LocalSet`.
    Local,
    /// The arbiter of the actix system.
    System(ArbiterHandle),
    /// A thread of ours; made at need, made again when lost.
    Own(Mutex<Option<ArbiterHandle>>),
}

impl ArbiterThread {
    fn new(thread: ThreadSlot) -> Self {
        Self { desk: Mutex::new(ThreadActivity::new()), thread }
    }

    fn own() -> Self {
        Self::new(ThreadSlot::Own(Mutex::new(None)))
    }
}

impl ThreadPools {
    /// Everything on the current thread, in its `LocalSet`.
    pub(super) fn one_thread() -> Self {
        let (here, control) =
            (ArbiterThread::new(ThreadSlot::Local), ArbiterThread::new(ThreadSlot::Local));
        let desks = Mutex::new(vec![Arc::clone(&locked(&here.desk))]);
        Self { here, control, pools: HashMap::new(), desks }
    }

    /// Pools of so many threads each; `None` outside an actix system.
    pub(super) fn pools(sizes: &[(&'static str, usize)]) -> Option<Self> {
        let here = ArbiterThread::new(ThreadSlot::System(System::try_current()?.arbiter().clone()));
        let pool = |size: usize| ThreadPool {
            workers: (0..size.max(1)).map(|_| ArbiterThread::own()).collect(),
            next: AtomicUsize::new(0),
        };
        let pools = sizes.iter().map(|&(name, size)| (name, pool(size))).collect();
        let desks = Mutex::new(vec![Arc::clone(&locked(&here.desk))]);
        Some(Self { here, control: ArbiterThread::own(), pools, desks })
    }

    /// Whether that place exists.
    pub(super) fn has(&self, place: ThreadAffinity) -> bool {
        match place {
            _ if self.is_one_thread() => true,
            ThreadAffinity::Here => true,
            ThreadAffinity::Pool(name) | ThreadAffinity::Thread(name, _) => {
                self.pools.contains_key(name)
            }
        }
    }

    fn is_one_thread(&self) -> bool {
        matches!(self.here.thread, ThreadSlot::Local)
    }

    /// Runs `work` there and says at which desk. If the thread is gone `work` is dropped, and the
    /// next call finds a new one.
    pub(super) fn spawn(
        &self,
        place: ThreadAffinity,
        work: impl FnOnce(Arc<ThreadActivity>) + Send + 'static,
    ) -> u64 {
        self.spawn_at(self.worker(place), work)
    }

    /// Runs `work` where supervisors live.
    pub(super) fn spawn_control(&self, work: impl FnOnce() + Send + 'static) {
        let _ = self.spawn_at(&self.control, move |_| work());
    }

    fn worker(&self, place: ThreadAffinity) -> &ArbiterThread {
        let pool = |name| self.pools.get(name).filter(|_| !self.is_one_thread());
        let nth = |pool: &ThreadPool, n: usize| n % pool.workers.len();
        let found = match place {
            ThreadAffinity::Here => None,
            ThreadAffinity::Thread(name, n) => pool(name).map(|pool| &pool.workers[nth(pool, n)]),
            ThreadAffinity::Pool(name) => pool(name).map(|pool| {
                let n = pool.next.fetch_add(1, Ordering::Relaxed);
                &pool.workers[nth(pool, n)]
            }),
        };
        found.unwrap_or(&self.here)
    }

    fn spawn_at(
        &self,
        worker: &ArbiterThread,
        work: impl FnOnce(Arc<ThreadActivity>) + Send + 'static,
    ) -> u64 {
        match &worker.thread {
            ThreadSlot::Local => {
                let desk = Arc::clone(&locked(&worker.desk));
                let id = desk.id;
                work(desk);
                id
            }
            ThreadSlot::System(arbiter) => {
                let desk = Arc::clone(&locked(&worker.desk));
                let id = desk.id;
                arbiter.spawn_fn(move || work(desk));
                id
            }
            ThreadSlot::Own(arbiter) => {
                let mut arbiter = locked(arbiter);
                let handle = arbiter.get_or_insert_with(|| {
                    let desk = ThreadActivity::new();
                    locked(&self.desks).push(Arc::clone(&desk));
                    *locked(&worker.desk) = desk;
                    Arbiter::new().handle()
                });
                let desk = Arc::clone(&locked(&worker.desk));
                let id = desk.id;
                if !handle.spawn_fn(move || work(desk)) {
                    *arbiter = None;
                }
                id
            }
        }
    }

    /// Every desk at which somebody may be stuck.
    pub(super) fn desks(&self) -> Vec<Arc<ThreadActivity>> {
        locked(&self.desks).clone()
    }

    /// Gives up the thread of `desk`: the next who are sent there get a new one. False if it is
    /// not one of ours or was given up before.
    pub(super) fn give_up(&self, desk: u64) -> bool {
        for worker in self.pools.values().flat_map(|pool| &pool.workers) {
            let ThreadSlot::Own(arbiter) = &worker.thread else { continue };
            let mut arbiter = locked(arbiter);
            if locked(&worker.desk).id == desk {
                return arbiter.take().is_some_and(|handle| handle.stop());
            }
        }
        false
    }

    /// Ends every thread of ours.
    pub(super) fn close(&self) {
        let workers = self.pools.values().flat_map(|pool| &pool.workers).chain([&self.control]);
        for worker in workers {
            if let ThreadSlot::Own(arbiter) = &worker.thread
                && let Some(handle) = locked(arbiter).take()
            {
                handle.stop();
            }
        }
    }
}
