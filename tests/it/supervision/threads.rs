//! Real threads: lost, stuck, and seen from outside.

use std::sync::{Arc, Mutex, mpsc};

use super::actor::*;
use super::*;

fn quick() -> LaunchOptions {
    let patience = WatchdogThresholds {
        warn_after: Duration::from_millis(30),
        replace_after: Duration::from_secs(600),
        unrecoverable_after: Duration::from_secs(600),
        ..WatchdogThresholds::default()
    };
    LaunchOptions { watchdog: patience, ..LaunchOptions::threads(1) }
}

fn two(script: &Script) -> (SupervisorSpec, ActorRef<Puppet>, ActorRef<Puppet>) {
    let (a, b) = (puppet("a", script), puppet("b", script));
    let (to_a, to_b) = (a.handle(), b.handle());
    (supervisor("node", Strategy::OneForOne).with(a).with(b), to_a, to_b)
}

#[test]
fn tree_runs_on_its_own_threads() {
    with_threads(async {
        let script = Script::default();
        let here = puppet("here", &script).on_threads(ThreadAffinity::LaunchThread);
        let media = puppet("media", &script).on_threads(ThreadAffinity::Thread("media", 3));
        let (to_here, to_media) = (here.handle(), media.handle());
        let spec = supervisor("node", Strategy::OneForOne).with(here).with(media);
        let living = launch(spec, LaunchOptions::threads(2).pool("media", 2)).await.unwrap();

        assert_eq!(to_here.ask(Count).await, Ok(1));
        assert_eq!(to_media.ask(Count).await, Ok(1));
        assert_eq!(end(living).await, ExitReason::Shutdown);
    });
}

struct Suicide;
impl actix::Message for Suicide {
    type Result = ();
}
impl actix::Handler<Suicide> for Puppet {
    type Result = ();
    fn handle(&mut self, _: Suicide, _: &mut SupervisedContext<Self>) {
        actix_rt::Arbiter::current().stop();
    }
}

#[test]
fn actors_of_lost_thread_restart_with_same_actor_ref() {
    with_threads(async {
        let script = Script::default();
        let (spec, to_a, to_b) = two(&script);
        let living = launch(spec, quick()).await.unwrap();
        let tree = living.tree();
        for times in 1..=20 {
            to_a.tell(Suicide).unwrap();
            until("both are back", || {
                ["/node/a", "/node/b"].iter().all(|path| {
                    let entry = entry(&tree, path);
                    entry.restarts >= times && entry.state == ActorState::Running
                })
            })
            .await;
            assert!(to_a.ask(Count).await.is_ok());
            assert!(to_b.ask(Count).await.is_ok());
        }

        assert_eq!(entry(&tree, "/node/b").last_failure.unwrap().exit, "lost");
        assert_eq!(end(living).await, ExitReason::Shutdown);
    });
}

#[test]
fn stuck_actor_is_reported_with_its_message() {
    with_threads(async {
        let script = Script::default();
        let (spec, to_a, to_b) = two(&script);
        let living = launch(spec, quick()).await.unwrap();
        let tree = living.tree();
        let (release, hold) = mpsc::channel();
        to_a.tell(Hold(hold)).unwrap();
        until("it holds", || script.has("a holds")).await;
        let behind = to_b.ask(Count);
        until("it is stuck", || entry(&tree, "/node/a").stuck_ms > 50).await;

        let a = entry(&tree, "/node/a");
        assert!(a.doing.ends_with("Hold"), "{a:?}");
        assert_eq!(entry(&tree, "/node/b").stuck_ms, 0, "its neighbour only waits");
        assert_eq!(entry(&tree, "/node/b").mailbox, 1);
        drop(release);
        assert_eq!(behind.await, Ok(1));
        until("it is free", || entry(&tree, "/node/a").stuck_ms == 0).await;
        assert_eq!(end(living).await, ExitReason::Shutdown);
    });
}

#[test]
fn stuck_thread_is_replaced_and_mailboxes_survive() {
    with_threads(async {
        let script = Script::default();
        let (spec, to_a, to_b) = two(&script);
        let called: Arc<Mutex<Vec<StuckActor>>> = Arc::default();
        let calls = Arc::clone(&called);
        let patience = WatchdogThresholds {
            warn_after: Duration::from_millis(30),
            replace_after: Duration::from_millis(100),
            unrecoverable_after: Duration::from_millis(300),
            on_unrecoverable: Arc::new(move |stuck| calls.lock().unwrap().push(stuck)),
        };
        let options = LaunchOptions { watchdog: patience, ..LaunchOptions::threads(1) };
        let living = launch(spec, options).await.unwrap();
        let tree = living.tree();
        let (release, hold) = mpsc::channel();
        let held = to_a.ask(Hold(hold));
        until("it holds", || script.has("a holds")).await;
        let (behind, neighbour) = (to_a.ask(Count), to_b.ask(Count));
        assert_eq!(behind.await, Ok(1), "answered by the next incarnation");
        assert_eq!(neighbour.await, Ok(1));
        assert_eq!(entry(&tree, "/node/a").last_failure.unwrap().exit, "stuck");
        assert_eq!(entry(&tree, "/node/b").last_failure.unwrap().exit, "lost");
        until("the last resort is called", || !called.lock().unwrap().is_empty()).await;
        let stuck = called.lock().unwrap()[0].clone();
        assert_eq!(stuck.path, "/node/a");
        assert!(stuck.message.ends_with("Hold") && stuck.blocked_for >= Duration::from_millis(300));

        // The old thread comes back at last: its orphan disturbs nobody.
        drop(release);
        assert_eq!(held.await, Ok(()));
        for times in 2..100 {
            assert_eq!(to_a.ask(Count).await, Ok(times));
        }
        assert_eq!(entry(&tree, "/node/a").restarts, 1);
        assert_eq!(called.lock().unwrap().len(), 1);
        assert_eq!(end(living).await, ExitReason::Shutdown);
    });
}

#[test]
fn shutdown_does_not_wait_for_stuck_thread() {
    with_threads(async {
        let script = Script::default();
        let (a, b) = (puppet("a", &script), puppet("b", &script));
        let a =
            a.shutdown(Duration::from_millis(100)).on_threads(ThreadAffinity::Thread("other", 0));
        let (to_a, _to_b) = (a.handle(), b.handle());
        let spec = supervisor("node", Strategy::OneForOne).with(b).with(a);
        let living = launch(spec, quick().pool("other", 1)).await.unwrap();
        let (release, hold) = mpsc::channel();
        to_a.tell(Hold(hold)).unwrap();
        until("it holds", || script.has("a holds")).await;
        script.lines();

        assert_eq!(end(living).await, ExitReason::Shutdown);
        assert_eq!(script.lines(), ["-b"], "the others stopped properly");
        drop(release);
    });
}

#[test]
fn panics_on_pool_threads_under_load_lose_no_messages() {
    with_threads(async {
        let script = Script::default();
        let a = puppet("a", &script).intensity(10_000, MINUTE).mailbox(100_000);
        let to_a = a.handle();
        let spec = supervisor("node", Strategy::OneForOne).intensity(10_000, MINUTE).with(a);
        let living = launch(spec, LaunchOptions::threads(2)).await.unwrap();
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let to_a = to_a.clone();
                std::thread::spawn(move || {
                    for n in 0..1000 {
                        to_a.tell_control(Count).unwrap();
                        if n % 10 == 0 {
                            to_a.tell_control(Boom).unwrap();
                        }
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(to_a.ask(Count).await.is_ok());

        let a = entry(&living.tree(), "/node/a");
        assert_eq!((a.restarts, a.handled), (400, 4401), "no message was lost but the poison");
        assert_eq!(end(living).await, ExitReason::Shutdown);
    });
}

#[test]
fn multithreaded_tree_requires_actix_system() {
    simulate(async {
        let spec = supervisor("node", Strategy::OneForOne);
        let error = launch(spec, LaunchOptions::threads(1)).await.err();
        assert_eq!(error, Some(LaunchError::NoSystem));
    });
}
