//! Expiry: removes messages whose time is over, in short rounds.
//!
//! It keeps nothing: a message that has disappeared is not shown from that moment on, removed or
//! not, and after a restart the next round finds it.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use metrics::counter;
use store::Store;

use super::sessions::SessionService;
use super::supervision::SupervisedContext;
use crate::domain::WithEvents;
use crate::telemetry::metrics::PURGED;

/// The actor.
pub struct MessageExpirer {
    living: SessionService,
    store: Store,
    round: Duration,
    /// Something was removed that the files of the database may still remember.
    remembered: bool,
}

crate::actors::supervision::supervised!(MessageExpirer);

impl MessageExpirer {
    /// Looks once in a `round`.
    pub const fn new(living: SessionService, store: Store, round: Duration) -> Self {
        Self { living, store, round, remembered: false }
    }

    fn look(&mut self, ctx: &mut SupervisedContext<Self>) {
        let (living, store, mut remembered) =
            (self.living.clone(), self.store.clone(), self.remembered);
        let work = async move {
            let more = match living.chat.expire().await {
                Ok((count, news)) => {
                    living.publish_events(WithEvents { answer: (), news });
                    counter!(PURGED, "kind" => "messages").increment(count as u64);
                    remembered |= count > 0;
                    count > 0
                }
                Err(error) => {
                    tracing::warn!(%error, "message expiry run failed");
                    false
                }
            };
            if remembered && !more {
                // Somebody reads just now, or the database is away: tried again next time.
                remembered = !store.forget_deleted().await.unwrap_or(false);
            }
            (more, remembered)
        };
        ctx.wait(work.into_actor(self).map(|(more, remembered), expiry, ctx| {
            expiry.remembered = remembered;
            let pause = if more { Duration::ZERO } else { expiry.round };
            ctx.run_later(pause, Self::look);
        }));
    }
}

impl Actor for MessageExpirer {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(self.round, Self::look);
    }
}
