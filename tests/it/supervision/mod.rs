//! Supervision: actors that fail on purpose, and what becomes of them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a story that fails may stop")]

pub(crate) mod actor;
mod dynamic_supervisor;
mod messages;
mod operator;
mod order;
mod panics;
mod restarts;
mod threads;

use std::future::Future;
use std::time::Duration;

use actix::System;
use base::backoff::Backoff;
use securevox::actors::supervision::*;
use tokio::task::LocalSet;

const SOON: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs a story on one thread with a clock of its own: waiting costs nothing.
fn simulate(story: impl Future<Output = ()>) {
    actor::quiet_panics();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(86_400), story).await.expect("the story hangs");
    });
}

/// Runs a story with real threads and real time.
fn with_threads(story: impl Future<Output = ()>) {
    actor::quiet_panics();
    System::new().block_on(async {
        tokio::time::timeout(MINUTE, story).await.expect("the story hangs");
    });
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "it never happened: {what}");
}

/// The line of `path` in the tree.
fn entry(tree: &SupervisionTree, path: &str) -> TreeNodeView {
    let found = tree.snapshot().into_iter().find(|entry| entry.path == path);
    found.unwrap_or_else(|| panic!("nothing stands at {path}"))
}

/// Restarts without waiting.
const AT_ONCE: Backoff = Backoff::NONE;

async fn live(spec: SupervisorSpec) -> RunningTree {
    launch(spec, LaunchOptions::one_thread()).await.unwrap()
}

/// Ends a tree and looks that nothing is left of it.
async fn end(living: RunningTree) -> ExitReason {
    let tree = living.tree();
    let exit = living.shutdown(MINUTE).await;
    assert_eq!(tree.snapshot(), vec![], "something was left behind");
    exit
}
