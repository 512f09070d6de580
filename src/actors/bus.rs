//! The connections to the other nodes: two actors, each of whose incarnations is one connection to
//! the broker.
//!
//! A lost connection is a failure like any other: the tree shows it with its reason, and the actor
//! is restarted after a growing back-off, without limit.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use base::backoff::Backoff;

use super::supervision::{
    ActorSpec, Strategy, SupervisedContext, SupervisorSpec, ThreadAffinity, child, supervisor,
};
use crate::cluster::AmqpBus;

/// The pool of the one thread on which both run, so that blocked actors do not block them.
pub const BUS: &str = "bus";

/// Short enough that a node reconnects within seconds of its broker's return.
const RECONNECT_BACKOFF: Backoff =
    Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(3) };
/// Restarts and their period. Losing the broker must not restart anything else, however often it
/// happens.
const UNLIMITED_RESTARTS: (u32, Duration) = (u32::MAX, Duration::from_secs(60));

/// The supervisor `bus` with both actors.
pub fn spec(bus: &AmqpBus) -> SupervisorSpec {
    let (publisher_bus, consumer_bus) = (bus.clone(), bus.clone());
    let (max_restarts, period) = UNLIMITED_RESTARTS;
    supervisor("bus", Strategy::OneForOne)
        .intensity(max_restarts, period)
        .with(with_restart_policy(child("publisher", move |_| {
            BusPublisherActor(publisher_bus.clone())
        })))
        .with(with_restart_policy(child("consumer", move |_| {
            BusConsumerActor(consumer_bus.clone())
        })))
}

fn with_restart_policy<A: Actor<Context = SupervisedContext<A>>>(
    child: ActorSpec<A>,
) -> ActorSpec<A> {
    let (max_restarts, period) = UNLIMITED_RESTARTS;
    child
        .intensity(max_restarts, period)
        .backoff(RECONNECT_BACKOFF)
        .on_threads(ThreadAffinity::Pool(BUS))
}

/// Sends events and requests to the broker.
struct BusPublisherActor(AmqpBus);

crate::actors::supervision::supervised!(BusPublisherActor);

impl Actor for BusPublisherActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let connection = self.0.publisher().into_actor(self);
        ctx.spawn(connection.map(|error, _, ctx| ctx.fail(error.to_string())));
    }
}

/// Receives events and requests from the broker.
struct BusConsumerActor(AmqpBus);

crate::actors::supervision::supervised!(BusConsumerActor);

impl Actor for BusConsumerActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let connection = self.0.consumer().into_actor(self);
        ctx.spawn(connection.map(|error, _, ctx| ctx.fail(error.to_string())));
    }
}
