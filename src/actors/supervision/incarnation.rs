//! One life of an actor: the future that catches its panics and reports its end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use actix::dev::{ContextFut, ContextParts};
use actix::{Actor, ActorContext, dev};
use base::clock::Clock;

use super::context::{Ctx, Factory};
use super::exit::{Exit, Failure, caught};
use super::mailbox::{Mailbox, Order, Owner};
use super::parent_link::{Line, Seat, Witness};
use super::thread_activity::Desk;
use super::threads::{Place, Places};

/// Told that a place is given up.
pub(super) type Farewell<A> = Box<dyn Fn(&Arc<Mailbox<A>>) + Send>;

/// A leaf of the tree: a mailbox, how to build who reads it, and where.
pub(super) struct ActorSeat<A: Actor<Context = Ctx<A>>> {
    pub(super) mailbox: Owner<A>,
    pub(super) factory: Factory<A>,
    pub(super) place: Place,
    pub(super) places: Arc<Places>,
    pub(super) clock: Clock,
    /// Told when the place is given up.
    pub(super) on_leave: Option<Farewell<A>>,
}

impl<A: Actor<Context = Ctx<A>>> Seat for ActorSeat<A> {
    fn cell(&self) -> &Arc<super::cell::Cell> {
        &self.mailbox.0.cell
    }

    fn start(&self, line: Line, turn: u32, again: bool) {
        self.mailbox.0.hand_to(turn);
        let witness = Witness::new(line, turn);
        let (mailbox, factory) = (Arc::clone(&self.mailbox.0), Arc::clone(&self.factory));
        let clock = self.clock.clone();
        let desk = self.places.spawn(self.place, move |desk| {
            let life = Incarnation {
                body: Body::Unborn(factory),
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
        self.mailbox.0.order(Order::Stop);
    }

    fn kill(&self) {
        self.mailbox.0.order(Order::Kill);
    }

    fn abandon(&self, turn: u32) {
        self.mailbox.0.disown(turn);
    }

    fn close(&self) {
        self.mailbox.0.close();
    }
}

impl<A: Actor<Context = Ctx<A>>> Drop for ActorSeat<A> {
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

enum Body<A: Actor<Context = Ctx<A>>> {
    Unborn(Factory<A>),
    Alive(Box<ContextFut<A, Ctx<A>>>),
    Dead,
}

struct Incarnation<A: Actor<Context = Ctx<A>>> {
    body: Body<A>,
    mailbox: Arc<Mailbox<A>>,
    desk: Arc<Desk>,
    witness: Option<Witness>,
    again: bool,
    up: bool,
    /// The order to stop was passed on.
    stopped: bool,
    clock: Clock,
}

impl<A: Actor<Context = Ctx<A>>> Future for Incarnation<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.get_mut();
        let Some(turn) = me.witness.as_ref().map(|w| w.turn) else { return Poll::Ready(()) };
        match me.mailbox.attend(turn, cx.waker()) {
            Order::Vanish => return me.vanish(),
            Order::Kill => return me.end(Exit::Killed, "kill"),
            Order::Stop if matches!(me.body, Body::Unborn(_)) => {
                return me.end(Exit::Shutdown, "factory");
            }
            Order::Stop if !me.stopped => {
                me.stopped = true;
                if let Body::Alive(life) = &mut me.body {
                    life.ctx().reason.get_or_insert(Exit::Shutdown);
                    life.ctx().stop();
                }
            }
            Order::Stop | Order::Live => {}
        }
        me.desk.enter(&me.mailbox.cell, "factory");
        if let Body::Unborn(_) = me.body
            && let Err(text) = caught(|| me.birth(turn))
        {
            return me.end(Exit::Panic(text), "factory");
        }
        let Body::Alive(life) = &mut me.body else { return Poll::Ready(()) };
        life.ctx().refill();
        let poll = caught(|| Pin::new(&mut **life).poll(cx));
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
                let exit = ctx.reason.take().unwrap_or(Exit::Normal);
                me.end(exit, "stopped")
            }
            Err(text) => {
                let (at, reason) = (ctx.blame(), ctx.reason.take());
                match reason {
                    // The first failure is the cause; what broke on the way out is noted only.
                    Some(cause @ Exit::Failed(_)) => {
                        me.note(Exit::Panic(text), at);
                        me.end(cause, "fail")
                    }
                    _ => me.end(Exit::Panic(text), at),
                }
            }
        }
    }
}

impl<A: Actor<Context = Ctx<A>>> Incarnation<A> {
    fn birth(&mut self, turn: u32) {
        let Body::Unborn(factory) = &self.body else { return };
        // Actix' own mailbox serves `ctx.address()` alone; 0: its size is not bounded.
        let (_, inlet) = dev::channel::channel(0);
        let inlet = dev::Mailbox::new(inlet);
        let mut ctx = Ctx::new(
            ContextParts::new(inlet.sender_producer()),
            Arc::clone(&self.mailbox),
            Arc::clone(factory),
            Arc::clone(&self.desk),
            (turn, self.again),
        );
        let actor = ctx.rebuild();
        ctx.begin("started");
        self.body = Body::Alive(Box::new(ContextFut::new(ctx, actor, inlet)));
    }

    /// Drops the actor, and says what a panic in its `Drop` said.
    fn bury(&mut self) -> Option<String> {
        self.desk.note("drop", tokio::time::Instant::now());
        let mut body = std::mem::replace(&mut self.body, Body::Dead);
        if let Body::Alive(life) = &mut body {
            life.ctx().terminate(); // or its drop would poll the actor again
        }
        caught(|| drop(body)).err()
    }

    fn end(&mut self, mut exit: Exit, mut at: &'static str) -> Poll<()> {
        self.desk.enter(&self.mailbox.cell, "drop");
        if let Some(text) = self.bury() {
            if exit.is_failure() {
                self.note(Exit::Panic(text), "drop");
            } else {
                (exit, at) = (Exit::Panic(text), "drop");
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

    fn note(&self, exit: Exit, at: &'static str) {
        let failure = Failure { at: self.clock.now(), exit: exit.to_string(), message: at.into() };
        self.mailbox.cell.record(failure);
    }
}

impl<A: Actor<Context = Ctx<A>>> Drop for Incarnation<A> {
    /// The thread ends under us: the actor is dropped without being polled again.
    fn drop(&mut self) {
        if matches!(self.body, Body::Alive(_)) {
            let _ = self.bury();
        }
    }
}
