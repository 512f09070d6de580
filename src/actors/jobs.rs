//! Job workers: each runs one job after the other. They have no state: a job that was running when
//! a worker failed runs again when its lease expires.

use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};

use super::sessions::SessionService;
use super::supervision::SupervisedContext;
use crate::domain::WithEvents;
use crate::domain::jobs::{JobRunner, PollOutcome};

/// How often finished jobs are deleted.
const REAP_INTERVAL: Duration = Duration::from_secs(60);

/// The actor that runs jobs.
pub struct JobWorker {
    jobs: JobRunner,
    sessions: SessionService,
}

crate::actors::supervision::supervised!(JobWorker);

impl JobWorker {
    /// A worker whose events are published through `sessions`.
    pub const fn new(jobs: JobRunner, sessions: SessionService) -> Self {
        Self { jobs, sessions }
    }

    fn run_next(&mut self, ctx: &mut SupervisedContext<Self>) {
        let jobs = self.jobs.clone();
        let work = async move {
            match jobs.run_one().await {
                Ok(PollOutcome::Handled(news)) => return news,
                Ok(PollOutcome::Idle) => {}
                Err(error) => tracing::warn!(%error, "job poll failed"),
            }
            jobs.wait().await;
            Vec::new()
        };
        ctx.spawn(work.into_actor(self).map(|news, worker, ctx| {
            worker.sessions.publish_events(WithEvents { reply: (), events: news });
            worker.run_next(ctx);
        }));
    }

    fn reap(&mut self, ctx: &mut SupervisedContext<Self>) {
        let jobs = self.jobs.clone();
        ctx.spawn(async move { jobs.tidy().await }.into_actor(self));
    }
}

impl Actor for JobWorker {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.reap(ctx);
        ctx.run_interval(REAP_INTERVAL, Self::reap);
        self.run_next(ctx);
    }
}
