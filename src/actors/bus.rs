//! The ways to the other nodes: two actors, each of whose lives is one connection to the broker.
//!
//! A connection that is lost is a failure like any other: the tree shows it with its reason, and
//! the actor is started anew, after a pause that grows, for as long as it takes.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use base::backoff::Backoff;

use super::supervision::{
    ActorSpec, Strategy, SupervisedContext, SupervisorSpec, ThreadAffinity, child, supervisor,
};
use crate::cluster::AmqpBus;

/// The pool of the one thread on which both live: whatever blocks others does not block them.
pub const BUS: &str = "bus";

/// Short enough that a node is back seconds after its broker.
const RECONNECT_BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(3) };
/// Losing the broker is no reason to restart anything else, however often it happens.
const UNLIMITED_RESTARTS: (u32, Duration) = (u32::MAX, Duration::from_secs(60));

/// Both, under `bus`.
pub fn spec(bus: &AmqpBus) -> SupervisorSpec {
    let (out, into) = (bus.clone(), bus.clone());
    let (most, window) = UNLIMITED_RESTARTS;
    supervisor("bus", Strategy::OneForOne)
        .intensity(most, window)
        .with(terms(child("publisher", move |_| BusPublisherActor(out.clone()))))
        .with(terms(child("consumer", move |_| BusConsumerActor(into.clone()))))
}

fn terms<A: Actor<Context = SupervisedContext<A>>>(child: ActorSpec<A>) -> ActorSpec<A> {
    let (most, window) = UNLIMITED_RESTARTS;
    child.intensity(most, window).backoff(RECONNECT_BACKOFF).on_threads(ThreadAffinity::Pool(BUS))
}

/// Carries to the broker what is told and asked.
struct BusPublisherActor(AmqpBus);

crate::actors::supervision::supervised!(BusPublisherActor);

impl Actor for BusPublisherActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let life = self.0.publisher().into_actor(self);
        ctx.spawn(life.map(|broken, _, ctx| ctx.fail(broken.to_string())));
    }
}

/// Brings from the broker what others tell and ask.
struct BusConsumerActor(AmqpBus);

crate::actors::supervision::supervised!(BusConsumerActor);

impl Actor for BusConsumerActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let life = self.0.consumer().into_actor(self);
        ctx.spawn(life.map(|broken, _, ctx| ctx.fail(broken.to_string())));
    }
}
