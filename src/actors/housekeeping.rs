//! Housekeeping: removes what is over, and reads keys that another node may have rotated.
//!
//! It keeps nothing; after a restart it begins its round anew.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use base::clock::{Clock, Time};
use base::ids::CallId;
use metrics::counter;
use metrics_exporter_prometheus::PrometheusHandle;
use store::Store;

use super::calls::Calls;
use super::supervision::Ctx;
use crate::domain::accounts::Keyring;
use crate::domain::files::Files;
use crate::telemetry::metrics::PURGED;

const ROUND: Duration = Duration::from_secs(60);
const UPKEEP: Duration = Duration::from_secs(5);

/// What it looks after.
pub struct Parts {
    /// Rows whose time is over.
    pub store: Store,
    /// Keys that another node may have rotated.
    pub keys: Keyring,
    /// The time.
    pub clock: Clock,
    /// How long a notification waits to be fetched.
    pub outbox: Duration,
    /// What was measured.
    pub metrics: PrometheusHandle,
    /// Calls that go on here.
    pub calls: Calls,
    /// Files that nobody needs any more.
    pub files: Files,
}

/// The actor.
pub struct Housekeeping {
    parts: Parts,
    /// Calls that were open in history last time and went on nowhere.
    orphans: Vec<CallId>,
}

crate::actors::supervision::supervised!(Housekeeping);

impl Housekeeping {
    /// Looks after these.
    pub const fn new(parts: Parts) -> Self {
        Self { parts, orphans: Vec::new() }
    }

    fn round(&mut self, ctx: &mut Ctx<Self>) {
        let Parts { store, keys, clock, outbox, calls, files, .. } = &self.parts;
        let (store, keys, files) = (store.clone(), keys.clone(), files.clone());
        let (now, outbox) = (clock.now(), *outbox);
        let (calls, suspects) = (calls.clone(), std::mem::take(&mut self.orphans));
        let work = async move {
            match store.purge(now, outbox).await {
                Ok(purged) => {
                    for (kind, rows) in [
                        ("refresh_tokens", purged.refresh_tokens),
                        ("setup_links", purged.setup_links),
                        ("outbox", purged.outbox),
                        ("keys", purged.keys),
                        ("reset_links", purged.reset_links),
                        ("jobs", purged.jobs),
                    ] {
                        counter!(PURGED, "kind" => kind).increment(rows as u64);
                    }
                }
                Err(error) => tracing::warn!(%error, "nothing was purged this round"),
            }
            if let Err(error) = keys.reload().await {
                tracing::warn!(%error, "the signing keys were not read again");
            }
            if let Err(error) = files.collect().await {
                tracing::warn!(%error, "files that nobody needs were not all removed this round");
            }
            close_orphans(&store, &calls, &suspects, now).await
        };
        ctx.wait(work.into_actor(self).map(|orphans, housekeeping, ctx| {
            housekeeping.orphans = orphans;
            ctx.run_later(ROUND, Self::round);
        }));
    }
}

/// Closes calls whose room failed for good. Only those that were suspect a round ago: the end of
/// one that has just ended is perhaps being written. Gives the suspects of this round.
async fn close_orphans(
    store: &Store,
    calls: &Calls,
    suspects: &[CallId],
    now: Time,
) -> Vec<CallId> {
    let open = match store.open_calls().await {
        Ok(open) => open,
        Err(error) => {
            tracing::warn!(%error, "open calls were not looked at this round");
            return Vec::new();
        }
    };
    let living = calls.ids(); // asked later: who is not there now was there before
    let orphans = open.into_iter().filter(|id| !living.contains(id));
    let (old, new): (Vec<_>, Vec<_>) = orphans.partition(|id| suspects.contains(id));
    if !old.is_empty()
        && let Err(error) = store.close_calls(old, now).await
    {
        tracing::warn!(%error, "orphaned calls were not closed this round");
    }
    new
}

impl Actor for Housekeeping {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.round(ctx); // what was interrupted by the end before is looked after at once
        // What histograms have seen is kept one by one until it is counted; nobody may be scraping.
        ctx.run_interval(UPKEEP, |housekeeping, _| housekeeping.parts.metrics.run_upkeep());
    }
}
