//! The mailbox of an actor. It belongs to the path in the tree and outlives the incarnations that
//! read it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use actix::Actor;
use actix::dev::EnvelopeProxy;

use super::actor_stats::{ActorStats, TreeNodeKind, locked};
use super::exit::catch_panic;
use super::send_error::SendError;

/// A message of any type in the mailbox of an `A`.
pub(super) type BoxedEnvelope<A> = Box<dyn EnvelopeProxy<A> + Send>;

/// What the supervisor wants of the incarnation that reads the mailbox; a later variant overrides
/// an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ControlSignal {
    Run,
    Stop,
    Kill,
    /// Another incarnation owns the mailbox now; this one must end without a report.
    Superseded,
}

/// The mailbox and the counters of one path in the tree; it survives every incarnation.
pub(super) struct Mailbox<A: Actor> {
    pub(super) stats: Arc<ActorStats>,
    inner: Mutex<MailboxInner<A>>,
}

struct MailboxInner<A: Actor> {
    envelopes: VecDeque<BoxedEnvelope<A>>,
    capacity: usize,
    open: bool,
    /// The only incarnation that may read; any other one is left over on a lost thread.
    incarnation: u32,
    signal: ControlSignal,
    waker: Option<Waker>,
}

impl<A: Actor> Mailbox<A> {
    pub(super) fn new(capacity: usize) -> Self {
        let inner = MailboxInner {
            envelopes: VecDeque::new(),
            capacity,
            open: true,
            incarnation: 0,
            signal: ControlSignal::Run,
            waker: None,
        };
        Self { stats: Arc::new(ActorStats::new(TreeNodeKind::Actor)), inner: Mutex::new(inner) }
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        locked(&self.inner).capacity = capacity;
    }

    pub(super) fn push(&self, envelope: BoxedEnvelope<A>, bounded: bool) -> Result<(), SendError> {
        let mut inner = locked(&self.inner);
        if !inner.open {
            drop(inner); // so that the envelope is dropped outside the lock
            return Err(SendError::Gone);
        }
        if bounded && inner.envelopes.len() >= inner.capacity {
            drop(inner);
            return Err(SendError::Full);
        }
        inner.envelopes.push_back(envelope);
        self.update_depth(&inner);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The oldest envelope, if `incarnation` is the incarnation that may read.
    pub(super) fn take(&self, incarnation: u32) -> Option<BoxedEnvelope<A>> {
        let mut inner = locked(&self.inner);
        if inner.incarnation != incarnation {
            return None;
        }
        let envelope = inner.envelopes.pop_front();
        self.update_depth(&inner);
        envelope
    }

    /// The current signal for the incarnation `incarnation`; `waker` is woken by the next envelope or
    /// signal.
    pub(super) fn attach_reader(&self, incarnation: u32, waker: &Waker) -> ControlSignal {
        let mut inner = locked(&self.inner);
        if inner.incarnation != incarnation {
            return ControlSignal::Superseded;
        }
        if !inner.waker.as_ref().is_some_and(|current| current.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        inner.signal
    }

    /// Assigns the mailbox to a new incarnation and opens it.
    pub(super) fn assign_to(&self, incarnation: u32) {
        let mut inner = locked(&self.inner);
        inner.incarnation = incarnation;
        inner.open = true;
        inner.signal = ControlSignal::Run;
        let superseded = inner.waker.take();
        drop(inner);
        if let Some(superseded) = superseded {
            superseded.wake(); // it finds that it has been superseded
        }
    }

    /// Takes the mailbox from the incarnation `incarnation`; its envelopes stay for the next one.
    pub(super) fn detach(&self, incarnation: u32) {
        let mut inner = locked(&self.inner);
        if inner.incarnation == incarnation {
            inner.incarnation = incarnation.wrapping_add(1);
        }
        let superseded = inner.waker.take();
        drop(inner);
        if let Some(superseded) = superseded {
            superseded.wake();
        }
    }

    /// Raises the signal to at least `signal`; a signal is never lowered.
    pub(super) fn signal(&self, signal: ControlSignal) {
        let mut inner = locked(&self.inner);
        inner.signal = inner.signal.max(signal);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Closes the mailbox and drops its envelopes; callers waiting for a reply get an error.
    pub(super) fn close(&self) {
        let mut inner = locked(&self.inner);
        inner.open = false;
        let envelopes = std::mem::take(&mut inner.envelopes);
        self.update_depth(&inner);
        drop(inner);
        for envelope in envelopes {
            if let Err(panic_text) = catch_panic(|| drop(envelope)) {
                tracing::error!(
                    actor.path = self.stats.path(),
                    panic = panic_text,
                    "panic while dropping message"
                );
            }
        }
    }

    fn update_depth(&self, inner: &MailboxInner<A>) {
        self.stats.depth.store(inner.envelopes.len() as u64, Ordering::Relaxed);
    }
}

/// Owner of a mailbox. Dropping it closes the mailbox, as nothing can read it any more.
pub(super) struct MailboxOwner<A: Actor>(pub(super) Arc<Mailbox<A>>);

impl<A: Actor> Drop for MailboxOwner<A> {
    fn drop(&mut self) {
        self.0.close();
    }
}
