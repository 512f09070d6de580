//! Health of the database, which is pinged every two seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use metrics::gauge;
use store::Store;

use super::supervision::SupervisedContext;
use crate::telemetry::metrics::{STORE_QUEUE_DEPTH, STORE_UP};

const PING_INTERVAL: Duration = Duration::from_secs(2);

/// Whether the database answered the last ping; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct StoreHealthFlag(Arc<AtomicBool>);

impl StoreHealthFlag {
    /// Whether the last ping succeeded.
    pub fn is_up(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The actor that pings the database.
pub struct StoreHealthMonitor {
    store: Store,
    up: StoreHealthFlag,
}

crate::actors::supervision::supervised!(StoreHealthMonitor);

impl StoreHealthMonitor {
    /// Writes the result of each ping to `up`.
    pub const fn new(store: Store, up: StoreHealthFlag) -> Self {
        Self { store, up }
    }

    fn ping(&mut self, ctx: &mut SupervisedContext<Self>) {
        let store = self.store.clone();
        let ping = async move { (store.ping().await, store.queued()) };
        ctx.spawn(ping.into_actor(self).map(|(result, queued), health, ctx| {
            let up = result.is_ok();
            if health.up.0.swap(up, Ordering::AcqRel) != up {
                match result {
                    Ok(()) => tracing::info!("database available"),
                    Err(error) => tracing::error!(%error, "database unavailable"),
                }
            }
            gauge!(STORE_UP).set(f64::from(u8::from(up)));
            gauge!(STORE_QUEUE_DEPTH).set(u32::try_from(queued).map_or(f64::MAX, f64::from));
            ctx.run_later(PING_INTERVAL, Self::ping);
        }));
    }
}

impl Actor for StoreHealthMonitor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.ping(ctx);
    }
}
