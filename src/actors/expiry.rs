//! Expiry: removes messages whose time is over, in short rounds.
//!
//! It keeps nothing: a message that has disappeared is not shown from that moment on, removed or
//! not, and after a restart the next round finds it.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use metrics::counter;

use super::sessions::Living;
use super::supervision::Ctx;
use crate::domain::Deed;
use crate::domain::chat::Chat;
use crate::telemetry::metrics::PURGED;

/// The actor.
pub struct Expiry {
    living: Living,
    round: Duration,
}

crate::actors::supervision::supervised!(Expiry);

impl Expiry {
    /// Looks once in a `round`.
    pub const fn new(living: Living, round: Duration) -> Self {
        Self { living, round }
    }

    fn look(&mut self, ctx: &mut Ctx<Self>) {
        let living = self.living.clone();
        let work = async move {
            match living.chat.expire().await {
                Ok((count, news)) => {
                    living.tell(Deed { answer: (), news });
                    counter!(PURGED, "kind" => "messages").increment(count as u64);
                    count == Chat::expired_at_once()
                }
                Err(error) => {
                    tracing::warn!(%error, "disappearing messages were not removed this round");
                    false
                }
            }
        };
        ctx.wait(work.into_actor(self).map(|more, expiry, ctx| {
            let pause = if more { Duration::ZERO } else { expiry.round };
            ctx.run_later(pause, Self::look);
        }));
    }
}

impl Actor for Expiry {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_later(self.round, Self::look);
    }
}
