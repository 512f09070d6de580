//! Message expiry: deletes expired messages in short rounds.
//!
//! It has no state: an expired message is no longer shown from that moment on, deleted or not, and
//! after a restart the next round finds it.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use metrics::counter;
use store::Store;

use super::sessions::SessionService;
use super::supervision::SupervisedContext;
use crate::domain::WithEvents;
use crate::telemetry::metrics::PURGED_ROWS;

/// The actor that deletes expired messages.
pub struct MessageExpirer {
    sessions: SessionService,
    store: Store,
    interval: Duration,
    /// Deleted content may still be in the files of the database.
    has_remnants: bool,
}

crate::actors::supervision::supervised!(MessageExpirer);

impl MessageExpirer {
    /// Runs once per `interval`.
    pub const fn new(sessions: SessionService, store: Store, interval: Duration) -> Self {
        Self { sessions, store, interval, has_remnants: false }
    }

    fn run(&mut self, ctx: &mut SupervisedContext<Self>) {
        let (sessions, store, mut has_remnants) =
            (self.sessions.clone(), self.store.clone(), self.has_remnants);
        let work = async move {
            let has_more = match sessions.chat.expire().await {
                Ok((count, news)) => {
                    sessions.publish_events(WithEvents { reply: (), events: news });
                    counter!(PURGED_ROWS, "kind" => "messages").increment(count as u64);
                    has_remnants |= count > 0;
                    count > 0
                }
                Err(error) => {
                    tracing::warn!(%error, "message expiry run failed");
                    false
                }
            };
            if has_remnants && !has_more {
                // The database is being read, or is unavailable: retried in the next round.
                has_remnants = !store.purge_deleted_data().await.unwrap_or(false);
            }
            (has_more, has_remnants)
        };
        ctx.wait(work.into_actor(self).map(|(has_more, has_remnants), expiry, ctx| {
            expiry.has_remnants = has_remnants;
            let delay = if has_more { Duration::ZERO } else { expiry.interval };
            ctx.run_later(delay, Self::run);
        }));
    }
}

impl Actor for MessageExpirer {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(self.interval, Self::run);
    }
}
