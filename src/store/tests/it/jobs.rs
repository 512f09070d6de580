//! A job is executed once, however many workers claim it and whichever of them die.

use std::time::Duration;

use base::ids::JobId;
use store::{JobClaimOutcome, JobResolution, JobRow, JobState, NewJob, Store};

use crate::harness::{T0, at, audit, create_user, on_both};

const LEASE: Duration = Duration::from_secs(30);
const MOST: i64 = 3;

fn job(kind: &str) -> NewJob {
    NewJob {
        id: JobId::new(),
        kind: kind.into(),
        user_id: None,
        payload: serde_json::json!({ "n": 1 }),
    }
}

async fn claim(store: &Store, seconds: u64) -> Option<JobRow> {
    match store.claim_job(vec!["a".into()], LEASE, MOST, at(seconds)).await.unwrap() {
        JobClaimOutcome::Claimed(job) => Some(job),
        JobClaimOutcome::Dead(_) | JobClaimOutcome::NoneDue => None,
    }
}

async fn concurrent_workers_claim_each_job_once(store: Store) {
    for _ in 0..5 {
        store.enqueue_job(job("a"), T0).await.unwrap();
    }
    store.enqueue_job(job("b"), T0).await.unwrap();
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::task::spawn(async move {
                let mut mine = Vec::new();
                for _ in 0..5 {
                    mine.extend(claim(&store, 1).await.map(|job| job.id));
                }
                mine
            })
        })
        .collect();
    let mut taken = Vec::new();
    for worker in workers {
        taken.extend(worker.await.unwrap());
    }

    assert_eq!(taken.len(), 5);
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), 5, "no job twice, none of another kind");
}

async fn expired_job_lease_fences_previous_worker(store: Store) {
    store.enqueue_job(job("a"), T0).await.unwrap();
    let first = claim(&store, 0).await.unwrap();
    assert_eq!((first.state, first.attempts), (JobState::Running, 1));
    assert_eq!(claim(&store, 29).await, None);
    assert!(store.extend_lease(first.id, 1, at(50)).await.unwrap());
    assert_eq!(claim(&store, 49).await, None);
    let second = claim(&store, 50).await.unwrap();

    assert_eq!((second.id, second.attempts), (first.id, 2));
    assert!(!store.extend_lease(first.id, 1, at(99)).await.unwrap());
    assert!(!store.finish_job(first.id, 1, JobResolution::Done, at(51)).await.unwrap());
    assert!(store.finish_job(first.id, 2, JobResolution::Done, at(52)).await.unwrap());
    assert!(!store.finish_job(first.id, 2, JobResolution::Done, at(53)).await.unwrap());
    assert_eq!(claim(&store, 1000).await, None);
}

async fn failed_job_is_retried_then_marked_dead(store: Store) {
    store.enqueue_job(job("a"), T0).await.unwrap();
    let first = claim(&store, 0).await.unwrap();
    let again = JobResolution::Retry { at: at(10), failure: "the disk is full".into() };
    assert!(store.finish_job(first.id, 1, again, at(1)).await.unwrap());
    assert_eq!(claim(&store, 9).await, None);
    let second = claim(&store, 10).await.unwrap();
    assert_eq!(second.failure.as_deref(), Some("the disk is full"));
    claim(&store, 40).await.unwrap(); // nobody finished the second one
    let buried = store.claim_job(vec!["a".into()], LEASE, MOST, at(70)).await.unwrap();

    assert!(matches!(buried, JobClaimOutcome::Dead(job) if job.state == JobState::Dead));
    assert_eq!(claim(&store, 9999).await, None);
    let all = store.jobs(Some(JobState::Dead), None, 10).await.unwrap();
    assert_eq!((all.len(), all[0].ended_at), (1, Some(at(70))));
    let week = 7 * 24 * 3600;
    assert_eq!(store.purge(at(70 + week), Duration::ZERO, None).await.unwrap().unwrap().jobs, 0);
    assert_eq!(store.purge(at(71 + week), Duration::ZERO, None).await.unwrap().unwrap().jobs, 1);
}

async fn user_has_at_most_one_active_export(store: Store) {
    let ann = create_user(&store, "Ann").await.id;
    let ask = async |seconds: u64, lost: Option<JobId>| {
        let asked = store.request_export(job("a"), ann, lost, audit("export"), at(seconds)).await;
        asked.unwrap().unwrap()
    };
    let (first, same) = tokio::join!(ask(0, None), ask(0, None));
    assert_eq!(first.id, same.id);
    let work = claim(&store, 1).await.unwrap();
    assert_eq!((work.id, ask(1, None).await.state), (first.id, JobState::Running));
    assert_eq!(claim(&store, 1).await, None, "one job for both");
    assert!(store.finish_export(first.id, 42, at(100), at(2)).await.unwrap());
    assert!(store.finish_job(first.id, 1, JobResolution::Done, at(2)).await.unwrap());

    let ready = ask(99, None).await;
    assert_eq!((ready.id, ready.size, ready.ready_at), (first.id, Some(42), Some(at(2))));
    let second_export = ask(100, None).await;
    assert_ne!(second_export.id, first.id);
    assert_eq!(second_export.ready_at, None);
    assert_ne!(
        ask(100, Some(second_export.id)).await.id,
        second_export.id,
        "a lost archive is created again"
    );
    assert!(!store.finish_export(first.id, 1, at(200), at(101)).await.unwrap(), "nobody's");
    assert_eq!(store.existing_exports(vec![first.id]).await.unwrap(), []);
}

async fn dead_export_is_expired(store: Store) {
    let ann = create_user(&store, "Ann").await.id;
    let asked = store.request_export(job("a"), ann, None, audit("export"), T0).await;
    let id = asked.unwrap().unwrap().id;
    let known = || store.existing_exports(vec![id]);
    assert_eq!(known().await.unwrap(), [(id, None)]);
    claim(&store, 1).await.unwrap();
    assert_eq!(known().await.unwrap(), [(id, Some(1))], "the first attempt is running");
    let again = JobResolution::Retry { at: at(9), failure: "the disk is full".into() };
    store.finish_job(id, 1, again, at(2)).await.unwrap();
    assert_eq!(known().await.unwrap(), [(id, None)]);
    claim(&store, 9).await.unwrap();
    assert_eq!(store.expire_exports(at(9)).await.unwrap(), 0);
    let dead = JobResolution::Dead { failure: "the disk is full".into() };
    store.finish_job(id, 2, dead, at(10)).await.unwrap();

    assert_eq!(store.expire_exports(at(10)).await.unwrap(), 1);
    assert_eq!(known().await.unwrap(), []);
}

on_both!(
    concurrent_workers_claim_each_job_once,
    expired_job_lease_fences_previous_worker,
    failed_job_is_retried_then_marked_dead,
    user_has_at_most_one_active_export,
    dead_export_is_expired,
);
