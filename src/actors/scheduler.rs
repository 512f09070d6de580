//! Periodic work that one node does for the cluster: the node that holds the lease.
//!
//! It has no state; a new owner starts over. A suspended owner that resumes has a stale epoch, and
//! its writes carry that epoch.

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
use crate::telemetry::metrics::{PURGED_ROWS, SCHEDULER_LEADER};

/// Name of the lease in the directory.
const LEASE: &str = "scheduler";
/// How often the lease is claimed.
const CLAIM_INTERVAL: Duration = Duration::from_secs(1);
/// How often the work runs.
const TASK_INTERVAL: Duration = Duration::from_secs(60);

/// The dependencies of a [`Scheduler`], at its start and after a restart.
#[derive(Clone)]
pub struct SchedulerDeps {
    /// The database that is purged.
    pub store: Store,
    /// The directory with the lease.
    pub directory: Arc<dyn OwnershipDirectory>,
    /// Clock for expiry times.
    pub clock: Clock,
    /// How long a notification waits to be fetched before it is deleted.
    pub outbox_retention: Duration,
    /// The calls of the cluster.
    pub calls: CallService,
    /// File storage, whose unused blobs are deleted.
    pub files: FileService,
}

/// The actor of the cluster-wide periodic work.
pub struct Scheduler {
    deps: SchedulerDeps,
    /// The epoch of this node's lease, while it holds it.
    epoch: Option<u64>,
    /// Time until the next round.
    due_in: Duration,
    /// Calls that were open in the history in the last round but ran on no node.
    suspects: Vec<CallId>,
}

crate::actors::supervision::supervised!(Scheduler);

impl Scheduler {
    /// A scheduler that does not hold the lease yet.
    pub const fn new(deps: SchedulerDeps) -> Self {
        Self { deps, epoch: None, due_in: TASK_INTERVAL, suspects: Vec::new() }
    }

    fn claim_lease(&mut self, ctx: &mut SupervisedContext<Self>) {
        let directory = self.deps.directory.clone();
        let previous_epoch = self.epoch;
        let claim = async move {
            match directory.claim(LEASE, "").await? {
                ClaimOutcome::Owned { epoch, .. } => Ok::<_, DirectoryError>(Some(epoch)),
                // Held already, by this actor or by an incarnation before it.
                ClaimOutcome::Held(held) => Ok(directory.owns(&held).then_some(held.epoch)),
            }
            .map(|epoch| (epoch, previous_epoch))
        };
        ctx.spawn(claim.into_actor(self).map(|claim_result, scheduler, ctx| {
            scheduler.epoch = match claim_result {
                Ok((epoch, before)) => {
                    if epoch.is_some() && epoch != before {
                        tracing::info!(epoch, "scheduler leadership acquired");
                        scheduler.due_in = Duration::ZERO;
                    }
                    epoch
                }
                Err(error) => {
                    tracing::warn!(%error, "scheduler leadership check failed");
                    None
                }
            };
            gauge!(SCHEDULER_LEADER).set(if scheduler.epoch.is_some() { 1.0 } else { 0.0 });
            scheduler.due_in = scheduler.due_in.saturating_sub(CLAIM_INTERVAL);
            match scheduler.epoch {
                Some(epoch) if scheduler.due_in.is_zero() => scheduler.run_tasks(epoch, ctx),
                _ => {
                    ctx.run_later(CLAIM_INTERVAL, Self::claim_lease);
                }
            }
        }));
    }

    fn run_tasks(&mut self, epoch: u64, ctx: &mut SupervisedContext<Self>) {
        let deps = self.deps.clone();
        let suspects = std::mem::take(&mut self.suspects);
        let fence = deps.directory.fencing_token(LEASE, epoch);
        let work = async move {
            let now = deps.clock.now();
            purge(&deps, fence, now).await;
            if let Err(error) = deps.files.collect().await {
                tracing::warn!(%error, "blob garbage collection failed");
            }
            close_orphans(&deps, &suspects).await
        };
        ctx.spawn(work.into_actor(self).map(|suspects, scheduler, ctx| {
            scheduler.suspects = suspects;
            scheduler.due_in = TASK_INTERVAL;
            ctx.run_later(CLAIM_INTERVAL, Self::claim_lease);
        }));
    }
}

async fn purge(deps: &SchedulerDeps, fence: Option<FencingToken>, now: Timestamp) {
    match deps.store.purge(now, deps.outbox_retention, fence.map(Into::into)).await {
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
                counter!(PURGED_ROWS, "kind" => kind).increment(rows as u64);
            }
        }
        Ok(None) => tracing::warn!("scheduler leadership lost"),
        Err(error) => tracing::warn!(%error, "purge failed"),
    }
}

/// Closes calls in the history that run on no node, if they were suspects in the last round: the
/// end of a call that has just ended may still be in progress, and so may the take-over of a call
/// whose node died. Returns the suspects of this round.
async fn close_orphans(deps: &SchedulerDeps, suspects: &[CallId]) -> Vec<CallId> {
    let open = match deps.store.open_calls().await {
        Ok(open) => open,
        Err(error) => {
            tracing::warn!(%error, "orphaned call scan failed");
            return Vec::new();
        }
    };
    let Some(running_calls) = deps.calls.cluster_call_ids() else { return suspects.to_vec() };
    let orphans = open.into_iter().filter(|id| !running_calls.contains(id));
    let (confirmed, new_suspects): (Vec<_>, Vec<_>) = orphans.partition(|id| suspects.contains(id));
    for id in confirmed {
        if let Err(error) = deps.calls.close_orphan(id).await {
            tracing::warn!(%error, "orphaned call close failed");
        }
    }
    new_suspects
}

impl Actor for Scheduler {
    type Context = SupervisedContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.claim_lease(ctx);
    }
}
