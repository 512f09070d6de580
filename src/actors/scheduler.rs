//! Work that one node does for all: whoever holds the lease of this name does it, in rounds.
//!
//! It keeps nothing; whoever takes it over begins its round anew. A hung owner that wakes up finds
//! its epoch over: what it writes carries it.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, WrapFuture};
use base::clock::{Clock, Timestamp};
use base::ids::CallId;
use metrics::{counter, gauge};
use store::Store;

use super::calls::CallService;
use super::supervision::SupervisedContext;
use crate::cluster::{ClaimOutcome, DirectoryError, FencingToken, OwnershipDirectory};
use crate::domain::files::FileService;
use crate::telemetry::metrics::{PURGED, SCHEDULER};

/// The lease's name in the directory.
const LEASE: &str = "scheduler";
/// How often it is tried to become the one.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);
/// How often work is done.
const TASK_INTERVAL: Duration = Duration::from_secs(60);

/// What a scheduler is made of, now and after a restart.
#[derive(Clone)]
pub struct SchedulerDeps {
    /// Where things are kept.
    pub store: Store,
    /// Who holds the lease.
    pub directory: Arc<dyn OwnershipDirectory>,
    /// The time.
    pub clock: Clock,
    /// How long a notification waits to be fetched.
    pub outbox_retention: Duration,
    /// Which calls go on.
    pub calls: CallService,
    /// Files that nobody needs any more.
    pub files: FileService,
}

/// The actor.
pub struct Scheduler {
    parts: SchedulerDeps,
    /// Our epoch, while we are the one.
    epoch: Option<u64>,
    /// How long until the next round.
    due: Duration,
    /// Calls that were open in history last time and went on nowhere.
    suspects: Vec<CallId>,
}

crate::actors::supervision::supervised!(Scheduler);

impl Scheduler {
    /// One that is to find out whether it is the one.
    pub const fn new(parts: SchedulerDeps) -> Self {
        Self { parts, epoch: None, due: TASK_INTERVAL, suspects: Vec::new() }
    }

    fn look(&mut self, ctx: &mut SupervisedContext<Self>) {
        let directory = self.parts.directory.clone();
        let me = self.epoch;
        let claim = async move {
            match directory.claim(LEASE, "").await? {
                ClaimOutcome::Mine { epoch, .. } => Ok::<_, DirectoryError>(Some(epoch)),
                // Ours from before: a restart of this actor, or simply still.
                ClaimOutcome::Held(held) => Ok(directory.owns(&held).then_some(held.epoch)),
            }
            .map(|epoch| (epoch, me))
        };
        ctx.spawn(claim.into_actor(self).map(|claimed, scheduler, ctx| {
            scheduler.epoch = match claimed {
                Ok((epoch, before)) => {
                    if epoch.is_some() && epoch != before {
                        tracing::info!(epoch, "scheduler leadership acquired");
                        scheduler.due = Duration::ZERO;
                    }
                    epoch
                }
                Err(error) => {
                    tracing::warn!(%error, "scheduler leadership check failed");
                    None
                }
            };
            gauge!(SCHEDULER).set(if scheduler.epoch.is_some() { 1.0 } else { 0.0 });
            scheduler.due = scheduler.due.saturating_sub(CLAIM_INTERVAL);
            match scheduler.epoch {
                Some(epoch) if scheduler.due.is_zero() => scheduler.round(epoch, ctx),
                _ => {
                    ctx.run_later(CLAIM_INTERVAL, Self::look);
                }
            }
        }));
    }

    fn round(&mut self, epoch: u64, ctx: &mut SupervisedContext<Self>) {
        let parts = self.parts.clone();
        let suspects = std::mem::take(&mut self.suspects);
        let fence = parts.directory.fence(LEASE, epoch);
        let work = async move {
            let now = parts.clock.now();
            purge(&parts, fence, now).await;
            if let Err(error) = parts.files.collect().await {
                tracing::warn!(%error, "blob garbage collection failed");
            }
            close_orphans(&parts, &suspects).await
        };
        ctx.spawn(work.into_actor(self).map(|suspects, scheduler, ctx| {
            scheduler.suspects = suspects;
            scheduler.due = TASK_INTERVAL;
            ctx.run_later(CLAIM_INTERVAL, Self::look);
        }));
    }
}

async fn purge(parts: &SchedulerDeps, fence: Option<FencingToken>, now: Timestamp) {
    match parts.store.purge(now, parts.outbox_retention, fence.map(Into::into)).await {
        Ok(Some(purged)) => {
            for (kind, rows) in [
                ("refresh_tokens", purged.refresh_tokens),
                ("setup_links", purged.setup_links),
                ("outbox", purged.outbox),
                ("keys", purged.keys),
                ("reset_links", purged.reset_links),
                ("invites", purged.invites),
                ("jobs", purged.jobs),
            ] {
                counter!(PURGED, "kind" => kind).increment(rows as u64);
            }
        }
        Ok(None) => tracing::warn!("scheduler leadership lost"),
        Err(error) => tracing::warn!(%error, "purge failed"),
    }
}

/// Closes calls that go on nowhere. Only those that were suspect a round ago: the end of one that
/// has just ended is perhaps being written, and one whose node died is perhaps looked for. Gives
/// the suspects of this round.
async fn close_orphans(parts: &SchedulerDeps, suspects: &[CallId]) -> Vec<CallId> {
    let open = match parts.store.open_calls().await {
        Ok(open) => open,
        Err(error) => {
            tracing::warn!(%error, "orphaned call scan failed");
            return Vec::new();
        }
    };
    let Some(living) = parts.calls.cluster_call_ids() else { return suspects.to_vec() };
    let orphans = open.into_iter().filter(|id| !living.contains(id));
    let (old, new): (Vec<_>, Vec<_>) = orphans.partition(|id| suspects.contains(id));
    for id in old {
        if let Err(error) = parts.calls.close_orphan(id).await {
            tracing::warn!(%error, "an orphaned call was not closed this round");
        }
    }
    new
}

impl Actor for Scheduler {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}
