//! One life of an actor: the future that catches its panics and reports its end.

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

/// Told that a place is given up.
pub(super) type OnRemoved<A> = Box<dyn Fn(&Arc<Mailbox<A>>) + Send>;

/// A leaf of the tree: a mailbox, how to build who reads it, and where.
pub(super) struct ActorChild<A: Actor<Context = SupervisedContext<A>>> {
    pub(super) mailbox: MailboxOwner<A>,
    pub(super) factory: ActorFactory<A>,
    pub(super) place: ThreadAffinity,
    pub(super) places: Arc<ThreadPools>,
    pub(super) clock: Clock,
    /// Told when the place is given up.
    pub(super) on_leave: Option<OnRemoved<A>>,
}

impl<A: Actor<Context = SupervisedContext<A>>> ChildHandle for ActorChild<A> {
    fn cell(&self) -> &Arc<super::cell::ActorStats> {
        &self.mailbox.0.cell
    }

    fn start(&self, line: ParentLink, turn: u32, again: bool) {
        self.mailbox.0.assign_to(turn);
        let witness = ExitNotifier::new(line, turn);
        let (mailbox, factory) = (Arc::clone(&self.mailbox.0), Arc::clone(&self.factory));
        let clock = self.clock.clone();
        let desk = self.places.spawn(self.place, move |desk| {
            let life = Incarnation {
                body: ActorSlot::Unborn(factory),
                mailbox,
                desk,
                witness: Some(witness),
                again,
                up: false,
                stopped: false,
                clock,
            };
            spawn_local(life);
        });
        self.mailbox.0.cell.desk.store(desk, Relaxed);
    }

    fn stop(&self) {
        self.mailbox.0.order(ControlSignal::Stop);
    }

    fn kill(&self) {
        self.mailbox.0.order(ControlSignal::Kill);
    }

    fn abandon(&self, turn: u32) {
        self.mailbox.0.detach(turn);
    }

    fn close(&self) {
        self.mailbox.0.close();
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> Drop for ActorChild<A> {
    fn drop(&mut self) {
        if let Some(tell) = &self.on_leave {
            tell(&self.mailbox.0);
        }
    }
}

/// The one place where tasks begin.
pub(super) fn spawn_local(task: impl Future<Output = ()> + 'static) {
    drop(tokio::task::spawn_local(task)); // the handle only: the task reports its own end
}

enum ActorSlot<A: Actor<Context = SupervisedContext<A>>> {
    Unborn(ActorFactory<A>),
    Alive(Box<ContextFut<A, SupervisedContext<A>>>),
    Dead,
}

struct Incarnation<A: Actor<Context = SupervisedContext<A>>> {
    body: ActorSlot<A>,
    mailbox: Arc<Mailbox<A>>,
    desk: Arc<ThreadActivity>,
    witness: Option<ExitNotifier>,
    again: bool,
    up: bool,
    /// The order to stop was passed on.
    stopped: bool,
    clock: Clock,
}

impl<A: Actor<Context = SupervisedContext<A>>> Future for Incarnation<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.get_mut();
        let Some(turn) = me.witness.as_ref().map(|w| w.turn) else { return Poll::Ready(()) };
        match me.mailbox.attach_reader(turn, cx.waker()) {
            ControlSignal::Vanish => return me.vanish(),
            ControlSignal::Kill => return me.end(ExitReason::Killed, "kill"),
            ControlSignal::Stop if matches!(me.body, ActorSlot::Unborn(_)) => {
                return me.end(ExitReason::Shutdown, "factory");
            }
            ControlSignal::Stop if !me.stopped => {
                me.stopped = true;
                if let ActorSlot::Alive(life) = &mut me.body {
                    life.ctx().reason.get_or_insert(ExitReason::Shutdown);
                    life.ctx().stop();
                }
            }
            ControlSignal::Stop | ControlSignal::Live => {}
        }
        me.desk.enter(&me.mailbox.cell, "factory");
        if let ActorSlot::Unborn(_) = me.body
            && let Err(text) = catch_panic(|| me.birth(turn))
        {
            return me.end(ExitReason::Panic(text), "factory");
        }
        let ActorSlot::Alive(life) = &mut me.body else { return Poll::Ready(()) };
        life.ctx().refill();
        let poll = catch_panic(|| Pin::new(&mut **life).poll(cx));
        let ctx = life.ctx();
        if ctx.ready && !me.up {
            me.up = true;
            if let Some(witness) = &me.witness {
                witness.up();
            }
        }
        match poll {
            Ok(Poll::Pending) => {
                if ctx.exhausted() {
                    cx.waker().wake_by_ref();
                }
                me.desk.leave();
                Poll::Pending
            }
            Ok(Poll::Ready(())) => {
                let exit = ctx.reason.take().unwrap_or(ExitReason::Normal);
                me.end(exit, "stopped")
            }
            Err(text) => {
                let (at, reason) = (ctx.current_message_type(), ctx.reason.take());
                match reason {
                    // The first failure is the cause; what broke on the way out is noted only.
                    Some(cause @ ExitReason::Failed(_)) => {
                        me.note(ExitReason::Panic(text), at);
                        me.end(cause, "fail")
                    }
                    _ => me.end(ExitReason::Panic(text), at),
                }
            }
        }
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> Incarnation<A> {
    fn birth(&mut self, turn: u32) {
        let ActorSlot::Unborn(factory) = &self.body else { return };
        // Actix' own mailbox serves `ctx.address()` alone; 0: its size is not bounded.
        let (_, inlet) = dev::channel::channel(0);
        let inlet = dev::Mailbox::new(inlet);
        let mut ctx = SupervisedContext::new(
            ContextParts::new(inlet.sender_producer()),
            Arc::clone(&self.mailbox),
            Arc::clone(factory),
            Arc::clone(&self.desk),
            (turn, self.again),
        );
        let actor = ctx.rebuild();
        ctx.begin("started");
        self.body = ActorSlot::Alive(Box::new(ContextFut::new(ctx, actor, inlet)));
    }

    /// Drops the actor, and says what a panic in its `Drop` said.
    fn bury(&mut self) -> Option<String> {
        self.desk.note("drop", tokio::time::Instant::now());
        let mut body = std::mem::replace(&mut self.body, ActorSlot::Dead);
        if let ActorSlot::Alive(life) = &mut body {
            life.ctx().terminate(); // or its drop would poll the actor again
        }
        catch_panic(|| drop(body)).err()
    }

    fn end(&mut self, mut exit: ExitReason, mut at: &'static str) -> Poll<()> {
        self.desk.enter(&self.mailbox.cell, "drop");
        if let Some(text) = self.bury() {
            if exit.is_failure() {
                self.note(ExitReason::Panic(text), "drop");
            } else {
                (exit, at) = (ExitReason::Panic(text), "drop");
            }
        }
        self.desk.leave();
        if let Some(witness) = self.witness.take() {
            witness.down(exit, at);
        }
        Poll::Ready(())
    }

    fn vanish(&mut self) -> Poll<()> {
        let _ = self.bury(); // what it says no longer matters
        if let Some(witness) = self.witness.take() {
            witness.forget();
        }
        Poll::Ready(())
    }

    fn note(&self, exit: ExitReason, at: &'static str) {
        let failure =
            FailureRecord { at: self.clock.now(), exit: exit.to_string(), message: at.into() };
        self.mailbox.cell.record(failure);
    }
}

impl<A: Actor<Context = SupervisedContext<A>>> Drop for Incarnation<A> {
    /// The thread ends under us: the actor is dropped without being polled again.
    fn drop(&mut self) {
        if matches!(self.body, ActorSlot::Alive(_)) {
            let _ = self.bury();
        }
    }
}
