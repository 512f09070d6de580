//! Housekeeping of this node: reads keys that another node may have rotated, counts what was measured.
//!
//! It keeps nothing; after a restart it begins its round anew.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use metrics_exporter_prometheus::PrometheusHandle;

use super::supervision::SupervisedContext;
use crate::domain::accounts::TokenSigner;

const PURGE_INTERVAL: Duration = Duration::from_secs(60);
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The actor.
pub struct HousekeepingActor {
    keys: TokenSigner,
    metrics: PrometheusHandle,
}

crate::actors::supervision::supervised!(HousekeepingActor);

impl HousekeepingActor {
    /// Keeps these in order.
    pub const fn new(keys: TokenSigner, metrics: PrometheusHandle) -> Self {
        Self { keys, metrics }
    }

    fn round(&mut self, ctx: &mut SupervisedContext<Self>) {
        let keys = self.keys.clone();
        let read = async move { keys.reload().await };
        ctx.spawn(read.into_actor(self).map(|read, _, ctx| {
            if let Err(error) = read {
                tracing::warn!(%error, "signing key reload failed");
            }
            ctx.run_later(PURGE_INTERVAL, Self::round);
        }));
    }
}

impl Actor for HousekeepingActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(PURGE_INTERVAL, Self::round);
        // What histograms have seen is kept one by one until it is counted; nobody may be scraping.
        ctx.run_interval(METRICS_UPKEEP_INTERVAL, |housekeeping, _| {
            housekeeping.metrics.run_upkeep()
        });
    }
}
