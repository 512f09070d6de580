//! Workers: each takes one job after the other. They keep nothing: what they had begun when they
//! failed is begun anew when its lease runs out.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};

use super::sessions::SessionService;
use super::supervision::SupervisedContext;
use crate::domain::WithEvents;
use crate::domain::jobs::{JobRunner, PollOutcome};

/// How often what is over is thrown away.
const REAP_INTERVAL: Duration = Duration::from_secs(60);

/// The actor.
pub struct JobWorker {
    jobs: JobRunner,
    living: SessionService,
}

crate::actors::supervision::supervised!(JobWorker);

impl JobWorker {
    /// Tells the news of its work to those who are here.
    pub const fn new(jobs: JobRunner, living: SessionService) -> Self {
        Self { jobs, living }
    }

    fn round(&mut self, ctx: &mut SupervisedContext<Self>) {
        let jobs = self.jobs.clone();
        let work = async move {
            match jobs.step().await {
                Ok(PollOutcome::Worked(news)) => return news,
                Ok(PollOutcome::Idle) => {}
                Err(error) => tracing::warn!(%error, "job poll failed"),
            }
            jobs.rest().await;
            Vec::new()
        };
        ctx.spawn(work.into_actor(self).map(|news, worker, ctx| {
            worker.living.publish_events(WithEvents { answer: (), news });
            worker.round(ctx);
        }));
    }

    fn tidy(&mut self, ctx: &mut SupervisedContext<Self>) {
        let jobs = self.jobs.clone();
        ctx.spawn(async move { jobs.tidy().await }.into_actor(self));
    }
}

impl Actor for JobWorker {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tidy(ctx);
        ctx.run_interval(REAP_INTERVAL, Self::tidy);
        self.round(ctx);
    }
}
