//! Housekeeping of this node: reloads signing keys that another node may have rotated, and runs the
//! upkeep of metrics.
//!
//! It has no state; after a restart it starts over.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use metrics_exporter_prometheus::PrometheusHandle;

use super::supervision::SupervisedContext;
use crate::domain::accounts::TokenSigner;

const PURGE_INTERVAL: Duration = Duration::from_secs(60);
const METRICS_UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The actor of the housekeeping.
pub struct HousekeepingActor {
    keys: TokenSigner,
    metrics: PrometheusHandle,
}

crate::actors::supervision::supervised!(HousekeepingActor);

impl HousekeepingActor {
    /// Reloads `keys` and maintains `metrics`.
    pub const fn new(keys: TokenSigner, metrics: PrometheusHandle) -> Self {
        Self { keys, metrics }
    }

    fn reload_keys(&mut self, ctx: &mut SupervisedContext<Self>) {
        let keys = self.keys.clone();
        let reload = async move { keys.reload().await };
        ctx.spawn(reload.into_actor(self).map(|reload, _, ctx| {
            if let Err(error) = reload {
                tracing::warn!(%error, "signing key reload failed");
            }
            ctx.run_later(PURGE_INTERVAL, Self::reload_keys);
        }));
    }
}

impl Actor for HousekeepingActor {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(PURGE_INTERVAL, Self::reload_keys);
        // Histogram samples are stored one by one until the upkeep aggregates them; nobody may be
        // scraping.
        ctx.run_interval(METRICS_UPKEEP_INTERVAL, |housekeeping, _| {
            housekeeping.metrics.run_upkeep()
        });
    }
}
