//! A job is done once, however many want to do it and whoever dies over it.

use std::time::Duration;

use base::ids::JobId;
use store::{JobClaimOutcome, JobResolution, JobRow, JobState, NewJob, Store};

use crate::harness::{T0, at, audit, on_both, somebody};

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

async fn claims(store: &Store, seconds: u64) -> Option<JobRow> {
    match store.claim_job(vec!["a".into()], LEASE, MOST, at(seconds)).await.unwrap() {
        JobClaimOutcome::Taken(job) => Some(job),
        JobClaimOutcome::Buried(_) | JobClaimOutcome::Nothing => None,
    }
}

async fn concurrent_workers_claim_each_job_once(store: Store) {
    for _ in 0..5 {
        store.enqueue(job("a"), T0).await.unwrap();
    }
    store.enqueue(job("b"), T0).await.unwrap();
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::task::spawn(async move {
                let mut mine = Vec::new();
                for _ in 0..5 {
                    mine.extend(claims(&store, 1).await.map(|job| job.id));
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
    assert_eq!(taken.len(), 5, "none twice, and none of another kind");
}

async fn expired_job_lease_fences_previous_worker(store: Store) {
    store.enqueue(job("a"), T0).await.unwrap();
    let first = claims(&store, 0).await.unwrap();
    assert_eq!((first.state, first.attempts), (JobState::Running, 1));
    assert_eq!(claims(&store, 29).await, None);
    assert!(store.extend_lease(first.id, 1, at(50)).await.unwrap());
    assert_eq!(claims(&store, 49).await, None);
    let second = claims(&store, 50).await.unwrap();

    assert_eq!((second.id, second.attempts), (first.id, 2));
    assert!(!store.extend_lease(first.id, 1, at(99)).await.unwrap());
    assert!(!store.end_job(first.id, 1, JobResolution::Done, at(51)).await.unwrap());
    assert!(store.end_job(first.id, 2, JobResolution::Done, at(52)).await.unwrap());
    assert!(!store.end_job(first.id, 2, JobResolution::Done, at(53)).await.unwrap());
    assert_eq!(claims(&store, 1000).await, None);
}

async fn failed_job_is_retried_then_marked_dead(store: Store) {
    store.enqueue(job("a"), T0).await.unwrap();
    let first = claims(&store, 0).await.unwrap();
    let again = JobResolution::Retry { at: at(10), failure: "the disk is full".into() };
    assert!(store.end_job(first.id, 1, again, at(1)).await.unwrap());
    assert_eq!(claims(&store, 9).await, None);
    let second = claims(&store, 10).await.unwrap();
    assert_eq!(second.failure.as_deref(), Some("the disk is full"));
    claims(&store, 40).await.unwrap(); // nobody ended the second
    let buried = store.claim_job(vec!["a".into()], LEASE, MOST, at(70)).await.unwrap();

    assert!(matches!(buried, JobClaimOutcome::Buried(job) if job.state == JobState::Dead));
    assert_eq!(claims(&store, 9999).await, None);
    let all = store.jobs(Some(JobState::Dead), None, 10).await.unwrap();
    assert_eq!((all.len(), all[0].ended_at), (1, Some(at(70))));
    let week = 7 * 24 * 3600;
    assert_eq!(store.purge(at(70 + week), Duration::ZERO, None).await.unwrap().unwrap().jobs, 0);
    assert_eq!(store.purge(at(71 + week), Duration::ZERO, None).await.unwrap().unwrap().jobs, 1);
}

async fn user_has_at_most_one_active_export(store: Store) {
    let ann = somebody(&store, "Ann").await.id;
    let ask = async |seconds: u64, lost: Option<JobId>| {
        let asked = store.request_export(job("a"), ann, lost, audit("export"), at(seconds)).await;
        asked.unwrap().unwrap()
    };
    let (first, same) = tokio::join!(ask(0, None), ask(0, None));
    assert_eq!(first.id, same.id);
    let work = claims(&store, 1).await.unwrap();
    assert_eq!((work.id, ask(1, None).await.state), (first.id, JobState::Running));
    assert_eq!(claims(&store, 1).await, None, "one job for both");
    assert!(store.finish_export(first.id, 42, at(100), at(2)).await.unwrap());
    assert!(store.end_job(first.id, 1, JobResolution::Done, at(2)).await.unwrap());

    let ready = ask(99, None).await;
    assert_eq!((ready.id, ready.size, ready.ready_at), (first.id, Some(42), Some(at(2))));
    let anew = ask(100, None).await;
    assert_ne!(anew.id, first.id);
    assert_eq!(anew.ready_at, None);
    assert_ne!(ask(100, Some(anew.id)).await.id, anew.id, "a lost one is made anew");
    assert!(!store.finish_export(first.id, 1, at(200), at(101)).await.unwrap(), "nobody's");
    assert_eq!(store.known_exports(vec![first.id]).await.unwrap(), []);
}

async fn dead_export_is_expired(store: Store) {
    let ann = somebody(&store, "Ann").await.id;
    let asked = store.request_export(job("a"), ann, None, audit("export"), T0).await;
    let id = asked.unwrap().unwrap().id;
    let known = || store.known_exports(vec![id]);
    assert_eq!(known().await.unwrap(), [(id, None)]);
    claims(&store, 1).await.unwrap();
    assert_eq!(known().await.unwrap(), [(id, Some(1))], "the first attempt is making it");
    let again = JobResolution::Retry { at: at(9), failure: "the disk is full".into() };
    store.end_job(id, 1, again, at(2)).await.unwrap();
    assert_eq!(known().await.unwrap(), [(id, None)]);
    claims(&store, 9).await.unwrap();
    assert_eq!(store.expire_exports(at(9)).await.unwrap(), 0);
    let dead = JobResolution::Dead { failure: "the disk is full".into() };
    store.end_job(id, 2, dead, at(10)).await.unwrap();

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
