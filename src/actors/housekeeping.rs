//! Housekeeping: removes what is over, and reads keys that another node may have rotated.
//!
//! It keeps nothing; after a restart it begins its round anew.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use base::clock::Clock;
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use store::Store;

use super::supervision::Ctx;
use crate::domain::accounts::Keyring;
use crate::telemetry::metrics::PURGED;

const ROUND: Duration = Duration::from_secs(60);
const UPKEEP: Duration = Duration::from_secs(5);

/// The actor.
pub struct Housekeeping {
    store: Store,
    keys: Keyring,
    clock: Clock,
    outbox: Duration,
    metrics: PrometheusHandle,
}

crate::actors::supervision::supervised!(Housekeeping);

impl Housekeeping {
    /// `outbox`: how long a notification waits to be fetched.
    pub const fn new(
        store: Store,
        keys: Keyring,
        clock: Clock,
        outbox: Duration,
        metrics: PrometheusHandle,
    ) -> Self {
        Self { store, keys, clock, outbox, metrics }
    }

    fn round(&mut self, ctx: &mut Ctx<Self>) {
        let (store, keys) = (self.store.clone(), self.keys.clone());
        let (now, outbox) = (self.clock.now(), self.outbox);
        let work = async move {
            match store.purge(now, outbox).await {
                Ok(purged) => {
                    for (kind, rows) in [
                        ("refresh_tokens", purged.refresh_tokens),
                        ("setup_links", purged.setup_links),
                        ("outbox", purged.outbox),
                        ("keys", purged.keys),
                    ] {
                        counter!(PURGED, "kind" => kind).increment(rows as u64);
                    }
                }
                Err(error) => tracing::warn!(%error, "nothing was purged this round"),
            }
            if let Err(error) = keys.reload().await {
                tracing::warn!(%error, "the signing keys were not read again");
            }
        };
        ctx.wait(work.into_actor(self).map(|(), _, ctx| {
            ctx.run_later(ROUND, Self::round);
        }));
    }
}

impl Actor for Housekeeping {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(ROUND, Self::round);
        // What histograms have seen is kept one by one until it is counted; nobody may be scraping.
        ctx.run_interval(UPKEEP, |housekeeping, _| housekeeping.metrics.run_upkeep());
    }
}
