//! One incarnation of an actor: the future that catches its panics and reports its exit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use actix::dev::{ContextFut, ContextParts};
use actix::{Actor, ActorContext, dev};
use base::clock::Clock;

use super::context::{ActorFactory, SupervisedContext};
use super::exit::{ExitReason, FailureRecord, catch_panic};
use super::mailbox::{ControlSignal, Mailbox, MailboxOwner};
use super::parent_link::{ChildHandle, ExitNotifier, ParentLink};
use super::thread_activity::ThreadActivity;
use super::threads::{ThreadAffinity, ThreadPools};

/// Callback that runs when a child is removed from the tree.
pub(super) type OnRemoved<A> = Box<dyn Fn(&Arc<Mailbox<A>>) + Send>;

/// An actor as a child: its mailbox, the factory of its incarnations and the threads they run on.
pub(super) struct ActorChild<A: Actor<Context = SupervisedContext<A>>> {
    pub(super) mailbox: MailboxOwner<A>,
    pub(super) factory: ActorFactory<A>,
    pub(super) affinity: ThreadAffinity,
    pub(super) pools: Arc<ThreadPools>,
    pub(super) clock: Clock,
    /// Called when the child is removed from the tree.
    pub(super) on_removed: Option<OnRemoved<A>>,
}

impl<A: Actor<Context = SupervisedContext<A>>> ChildHandle for ActorChild<A> {
    fn stats(&self) -> &Arc<super::actor_stats::ActorStats> {
        &self.mailbox.0.stats
    }

    fn start(&self, link: ParentLink, incarnation: u32, is_restart: bool) {
        self.mailbox.0.assign_to(incarnation);
        let notifier = ExitNotifier::new(link, incarnation);
        let (mailbox, factory) = (Arc::clone(&self.mailbox.0), Arc::clone(&self.factory));
        let clock = self.clock.clone();
        let thread_id = self.pools.spawn(self.affinity, move |activity| {
            let running = Incarnation {
                slot: ActorSlot::NotStarted(factory),
                mailbox,
                activity,
                notifier: Some(notifier),
                is_restart,
                is_up: false,
                stop_sent: false,
                clock,
            };
            spawn_local(running);
        });
        self.mailbox.0.stats.thread_id.store(thread_id, Relaxed);
    }

    fn stop(&self) {
        self.mailbox.0.signal(ControlSignal::Stop);
    }

    fn kill(&self) {
        self.mailbox.0.signal(ControlSignal::Kill);
    }

    fn abandon(&self, incarnation: u32) {
        self.mailbox.0.detach(incarnation);
    }

    fn close(&self) {
        self.mailbox.0.close();
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> Drop for ActorChild<A> {
    fn drop(&mut self) {
        if let Some(on_removed) = &self.on_removed {
            on_removed(&self.mailbox.0);
        }
    }
}

/// Spawns a task of the tree; the only place in this module tree that does so.
pub(super) fn spawn_local(task: impl Future<Output = ()> + 'static) {
    // only the handle is dropped: the task reports its own end
    drop(tokio::task::spawn_local(task));
}

enum ActorSlot<A: Actor<Context = SupervisedContext<A>>> {
    NotStarted(ActorFactory<A>),
    Running(Box<ContextFut<A, SupervisedContext<A>>>),
    Dropped,
}

struct Incarnation<A: Actor<Context = SupervisedContext<A>>> {
    slot: ActorSlot<A>,
    mailbox: Arc<Mailbox<A>>,
    activity: Arc<ThreadActivity>,
    notifier: Option<ExitNotifier>,
    is_restart: bool,
    is_up: bool,
    /// Whether the stop signal was passed on to the actor.
    stop_sent: bool,
    clock: Clock,
}

impl<A: Actor<Context = SupervisedContext<A>>> Future for Incarnation<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(incarnation) = this.notifier.as_ref().map(|notifier| notifier.incarnation) else {
            return Poll::Ready(());
        };
        match this.mailbox.attach_reader(incarnation, cx.waker()) {
            ControlSignal::Superseded => return this.exit_superseded(),
            ControlSignal::Kill => return this.end(ExitReason::Killed, "kill"),
            ControlSignal::Stop if matches!(this.slot, ActorSlot::NotStarted(_)) => {
                return this.end(ExitReason::Shutdown, "factory");
            }
            ControlSignal::Stop if !this.stop_sent => {
                this.stop_sent = true;
                if let ActorSlot::Running(running) = &mut this.slot {
                    running.ctx().reason.get_or_insert(ExitReason::Shutdown);
                    running.ctx().stop();
                }
            }
            ControlSignal::Stop | ControlSignal::Run => {}
        }
        this.activity.enter(&this.mailbox.stats, "factory");
        if let ActorSlot::NotStarted(_) = this.slot
            && let Err(text) = catch_panic(|| this.create_actor(incarnation))
        {
            return this.end(ExitReason::Panic(text), "factory");
        }
        let ActorSlot::Running(running) = &mut this.slot else { return Poll::Ready(()) };
        running.ctx().refill();
        let poll = catch_panic(|| Pin::new(&mut **running).poll(cx));
        let ctx = running.ctx();
        if ctx.is_ready && !this.is_up {
            this.is_up = true;
            if let Some(notifier) = &this.notifier {
                notifier.up();
            }
        }
        match poll {
            Ok(Poll::Pending) => {
                if ctx.exhausted() {
                    cx.waker().wake_by_ref();
                }
                this.activity.leave();
                Poll::Pending
            }
            Ok(Poll::Ready(())) => {
                let exit = ctx.reason.take().unwrap_or(ExitReason::Normal);
                this.end(exit, "stopped")
            }
            Err(text) => {
                let (at, reason) = (ctx.current_message_type(), ctx.reason.take());
                match reason {
                    // The first failure is the cause; a panic while stopping is only recorded.
                    Some(cause @ ExitReason::Failed(_)) => {
                        this.record_failure(ExitReason::Panic(text), at);
                        this.end(cause, "fail")
                    }
                    _ => this.end(ExitReason::Panic(text), at),
                }
            }
        }
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> Incarnation<A> {
    fn create_actor(&mut self, incarnation: u32) {
        let ActorSlot::NotStarted(factory) = &self.slot else { return };
        // The actix mailbox serves `ctx.address()` only; 0 means that its size is not bounded.
        let (_, actix_mailbox) = dev::channel::channel(0);
        let actix_mailbox = dev::Mailbox::new(actix_mailbox);
        let mut ctx = SupervisedContext::new(
            ContextParts::new(actix_mailbox.sender_producer()),
            Arc::clone(&self.mailbox),
            Arc::clone(factory),
            Arc::clone(&self.activity),
            (incarnation, self.is_restart),
        );
        let actor = ctx.rebuild();
        ctx.begin("started");
        self.slot = ActorSlot::Running(Box::new(ContextFut::new(ctx, actor, actix_mailbox)));
    }

    /// Drops the actor and returns the message of a panic in its `Drop`.
    fn drop_actor(&mut self) -> Option<String> {
        self.activity.update("drop", tokio::time::Instant::now());
        let mut slot = std::mem::replace(&mut self.slot, ActorSlot::Dropped);
        if let ActorSlot::Running(running) = &mut slot {
            running.ctx().terminate(); // otherwise its drop would poll the actor again
        }
        catch_panic(|| drop(slot)).err()
    }

    fn end(&mut self, mut exit: ExitReason, mut at: &'static str) -> Poll<()> {
        self.activity.enter(&self.mailbox.stats, "drop");
        if let Some(text) = self.drop_actor() {
            if exit.is_failure() {
                self.record_failure(ExitReason::Panic(text), "drop");
            } else {
                (exit, at) = (ExitReason::Panic(text), "drop");
            }
        }
        self.activity.leave();
        if let Some(notifier) = self.notifier.take() {
            notifier.down(exit, at);
        }
        Poll::Ready(())
    }

    fn exit_superseded(&mut self) -> Poll<()> {
        let _ = self.drop_actor(); // a superseded incarnation reports nothing
        if let Some(notifier) = self.notifier.take() {
            notifier.disarm();
        }
        Poll::Ready(())
    }

    fn record_failure(&self, exit: ExitReason, at: &'static str) {
        let failure =
            FailureRecord { at: self.clock.now(), exit: exit.to_string(), message: at.into() };
        self.mailbox.stats.record(failure);
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> Drop for Incarnation<A> {
    /// The thread is ending: the actor is dropped without being polled again.
    fn drop(&mut self) {
        if matches!(self.slot, ActorSlot::Running(_)) {
            let _ = self.drop_actor();
        }
    }
}
