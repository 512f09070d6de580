//! Where actors live: pools of arbiters, or one thread for a whole simulation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use actix_rt::{Arbiter, ArbiterHandle, System};

use super::cell::locked;
use super::thread_activity::Desk;

/// Where a child lives. In a simulation every place is the one thread there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The thread that launched the tree.
    Here,
    /// Any thread of the pool of that name; the threads take turns.
    Pool(&'static str),
    /// One thread of a pool, by its number (modulo the size of the pool).
    Thread(&'static str, usize),
}

impl Default for Place {
    fn default() -> Self {
        Self::Pool(ACTORS)
    }
}

/// The pool of those who do not care.
pub const ACTORS: &str = "actors";

/// The threads of one tree.
pub(super) struct Places {
    here: Worker,
    /// Supervisors, apart from those they watch.
    control: Worker,
    pools: HashMap<&'static str, Pool>,
    /// All desks that may be busy, those of lost threads too.
    desks: Mutex<Vec<Arc<Desk>>>,
}

struct Pool {
    workers: Vec<Worker>,
    next: AtomicUsize,
}

struct Worker {
    desk: Mutex<Arc<Desk>>,
    thread: Thread,
}

enum Thread {
    /// The current thread's `LocalSet`.
    Local,
    /// The arbiter of the actix system.
    System(ArbiterHandle),
    /// A thread of ours; made at need, made again when lost.
    Own(Mutex<Option<ArbiterHandle>>),
}

impl Worker {
    fn new(thread: Thread) -> Self {
        Self { desk: Mutex::new(Desk::new()), thread }
    }

    fn own() -> Self {
        Self::new(Thread::Own(Mutex::new(None)))
    }
}

impl Places {
    /// Everything on the current thread, in its `LocalSet`.
    pub(super) fn one_thread() -> Self {
        let (here, control) = (Worker::new(Thread::Local), Worker::new(Thread::Local));
        let desks = Mutex::new(vec![Arc::clone(&locked(&here.desk))]);
        Self { here, control, pools: HashMap::new(), desks }
    }

    /// Pools of so many threads each; `None` outside an actix system.
    pub(super) fn pools(sizes: &[(&'static str, usize)]) -> Option<Self> {
        let here = Worker::new(Thread::System(System::try_current()?.arbiter().clone()));
        let pool = |size: usize| Pool {
            workers: (0..size.max(1)).map(|_| Worker::own()).collect(),
            next: AtomicUsize::new(0),
        };
        let pools = sizes.iter().map(|&(name, size)| (name, pool(size))).collect();
        let desks = Mutex::new(vec![Arc::clone(&locked(&here.desk))]);
        Some(Self { here, control: Worker::own(), pools, desks })
    }

    /// Whether that place exists.
    pub(super) fn has(&self, place: Place) -> bool {
        match place {
            _ if self.is_one_thread() => true,
            Place::Here => true,
            Place::Pool(name) | Place::Thread(name, _) => self.pools.contains_key(name),
        }
    }

    fn is_one_thread(&self) -> bool {
        matches!(self.here.thread, Thread::Local)
    }

    /// Runs `work` there and says at which desk. If the thread is gone `work` is dropped, and the
    /// next call finds a new one.
    pub(super) fn spawn(&self, place: Place, work: impl FnOnce(Arc<Desk>) + Send + 'static) -> u64 {
        self.spawn_at(self.worker(place), work)
    }

    /// Runs `work` where supervisors live.
    pub(super) fn spawn_control(&self, work: impl FnOnce() + Send + 'static) {
        let _ = self.spawn_at(&self.control, move |_| work());
    }

    fn worker(&self, place: Place) -> &Worker {
        let pool = |name| self.pools.get(name).filter(|_| !self.is_one_thread());
        let nth = |pool: &Pool, n: usize| n % pool.workers.len();
        let found = match place {
            Place::Here => None,
            Place::Thread(name, n) => pool(name).map(|pool| &pool.workers[nth(pool, n)]),
            Place::Pool(name) => pool(name).map(|pool| {
                let n = pool.next.fetch_add(1, Ordering::Relaxed);
                &pool.workers[nth(pool, n)]
            }),
        };
        found.unwrap_or(&self.here)
    }

    fn spawn_at(&self, worker: &Worker, work: impl FnOnce(Arc<Desk>) + Send + 'static) -> u64 {
        match &worker.thread {
            Thread::Local => {
                let desk = Arc::clone(&locked(&worker.desk));
                let id = desk.id;
                work(desk);
                id
            }
            Thread::System(arbiter) => {
                let desk = Arc::clone(&locked(&worker.desk));
                let id = desk.id;
                arbiter.spawn_fn(move || work(desk));
                id
            }
            Thread::Own(arbiter) => {
                let mut arbiter = locked(arbiter);
                let handle = arbiter.get_or_insert_with(|| {
                    let desk = Desk::new();
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
    pub(super) fn desks(&self) -> Vec<Arc<Desk>> {
        locked(&self.desks).clone()
    }

    /// Gives up the thread of `desk`: the next who are sent there get a new one. False if it is
    /// not one of ours or was given up before.
    pub(super) fn give_up(&self, desk: u64) -> bool {
        for worker in self.pools.values().flat_map(|pool| &pool.workers) {
            let Thread::Own(arbiter) = &worker.thread else { continue };
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
            if let Thread::Own(arbiter) = &worker.thread
                && let Some(handle) = locked(arbiter).take()
            {
                handle.stop();
            }
        }
    }
}
