//! Up in order, down in reverse, each within its time.

use tokio::time::Instant;

use super::actor::*;
use super::*;

fn nested(script: &Script) -> SupervisorSpec {
    let inner = supervisor("inner", Strategy::OneForOne);
    let inner = inner.with(puppet("b", script)).with(puppet("c", script));
    supervisor("node", Strategy::RestForOne)
        .with(puppet("a", script))
        .with(inner)
        .with(puppet("d", script))
}

#[test]
fn tree_starts_in_order_and_stops_in_reverse() {
    simulate(async {
        let script = Script::default();
        let living = live(nested(&script)).await;
        assert_eq!(script.lines(), ["a", "b", "c", "d"]);
        let paths: Vec<_> = living.tree().snapshot().into_iter().map(|e| e.path).collect();
        assert_eq!(
            paths,
            ["/node", "/node/a", "/node/d", "/node/inner", "/node/inner/b", "/node/inner/c"]
        );
        assert!(living.tree().snapshot().iter().all(|e| e.state == ActorState::Running));

        assert_eq!(end(living).await, ExitReason::Shutdown);
        assert_eq!(script.lines(), ["-d", "-c", "-b", "-a"]);
    });
}

#[test]
fn child_starts_after_previous_child_finished_starting() {
    /// Waits a second in `started`, as for a connection.
    struct Slowly(Script);
    impl actix::Actor for Slowly {
        type Context = SupervisedContext<Self>;
        fn started(&mut self, ctx: &mut SupervisedContext<Self>) {
            use actix::prelude::*;
            let wait = tokio::time::sleep(Duration::from_secs(1)).into_actor(self);
            ctx.wait(wait.map(|(), this: &mut Self, _| this.0.log("connected")));
        }
    }
    simulate(async {
        let script = Script::default();
        let log = script.clone();
        let slow = child("slow", move |_: &mut SupervisedContext<Slowly>| Slowly(log.clone()));
        let spec = supervisor("node", Strategy::OneForOne).with(slow).with(puppet("next", &script));
        let living = live(spec).await;

        assert_eq!(script.lines(), ["connected", "next"]);
        end(living).await;
    });
}

#[test]
fn child_exceeding_stop_deadline_is_killed() {
    simulate(async {
        let script = Script::default();
        let stubborn = puppet("stubborn", &script).shutdown(Duration::from_millis(200));
        let to_stubborn = stubborn.handle();
        let spec = supervisor("node", Strategy::OneForOne);
        let living =
            live(spec.with(puppet("a", &script)).with(stubborn).with(puppet("z", &script))).await;
        let tree = living.tree();
        to_stubborn.ask(Refuse(1000)).await.unwrap();
        script.lines();
        let began = Instant::now();
        tree.stop("/node/stubborn").await.unwrap();

        assert_eq!(began.elapsed().as_millis() / 10, 20);
        assert_eq!(entry(&tree, "/node/stubborn").last_failure.unwrap().exit, "killed");
        tree.restart("/node/stubborn").await.unwrap();
        assert_eq!(to_stubborn.ask(Count).await, Ok(1), "killed, and yet restartable");
        to_stubborn.ask(Refuse(1000)).await.unwrap();
        script.lines();
        assert_eq!(end(living).await, ExitReason::Shutdown);
        assert_eq!(script.lines(), ["-z", "-a"]);
    });
}

#[test]
fn supervisor_stop_deadline_is_sum_of_children() {
    simulate(async {
        let script = Script::default();
        let second = Duration::from_secs(1);
        let kids = ["a", "b", "c"].map(|name| puppet(name, &script).shutdown(second));
        let refs = kids.each_ref().map(ActorSpec::handle);
        let inner =
            kids.into_iter().fold(supervisor("inner", Strategy::OneForOne), SupervisorSpec::with);
        let living = live(supervisor("node", Strategy::OneForOne).with(inner)).await;
        refs[0].ask(Refuse(1000)).await.unwrap();
        refs[1].ask(Refuse(1000)).await.unwrap();
        let began = Instant::now();

        assert_eq!(end(living).await, ExitReason::Shutdown, "the supervisor itself was not killed");
        assert_eq!(began.elapsed().as_secs(), 2, "one second for each that refused");
    });
}

#[test]
fn supervisor_stop_deadline_ends_all_children() {
    simulate(async {
        let script = Script::default();
        let (a, b) = (puppet("a", &script).shutdown(MINUTE), puppet("b", &script).shutdown(MINUTE));
        let (to_a, to_b) = (a.handle(), b.handle());
        let inner = supervisor("inner", Strategy::OneForOne).with(a).with(b);
        let inner = inner.shutdown(Duration::from_secs(1));
        let living = live(supervisor("node", Strategy::OneForOne).with(inner)).await;
        to_a.ask(Refuse(1000)).await.unwrap();
        to_b.ask(Refuse(1000)).await.unwrap();
        let began = Instant::now();

        end(living).await;
        assert_eq!(began.elapsed().as_millis() / 100, 10);
    });
}

#[test]
fn tree_shutdown_deadline_overrides_child_deadlines() {
    simulate(async {
        let script = Script::default();
        let a = puppet("a", &script).shutdown(MINUTE);
        let to_a = a.handle();
        let living = live(supervisor("node", Strategy::OneForOne).with(a)).await;
        let tree = living.tree();
        to_a.ask(Refuse(1000)).await.unwrap();
        let began = Instant::now();
        living.shutdown(Duration::from_millis(300)).await;

        assert_eq!(began.elapsed().as_millis() / 10, 30);
        assert_eq!(tree.snapshot(), vec![]);
        assert_eq!(to_a.tell(Count), Err(SendError::Gone));
    });
}

#[test]
fn failed_tree_launch_stops_started_children() {
    simulate(async {
        let script = Script::default();
        (0..9).for_each(|_| script.panic_at("factory"));
        let calm = Script::default();
        let bad = puppet("bad", &script).intensity(3, MINUTE);
        let to_bad = bad.handle();
        let spec = supervisor("node", Strategy::OneForOne).with(puppet("good", &calm)).with(bad);

        let error = launch(spec, LaunchOptions::one_thread()).await.err().unwrap();
        assert!(error.to_string().contains("on purpose in factory"), "{error}");
        assert_eq!(calm.lines(), ["good", "-good"]);
        assert_eq!(to_bad.ask(Count).await, Err(SendError::Gone));
    });
}

#[test]
fn spec_with_bad_name_or_unknown_pool_is_rejected() {
    simulate(async {
        let script = Script::default();
        let twins = supervisor("in", Strategy::OneForOne)
            .with(puppet("a", &script))
            .with(puppet("a", &script));
        let spec = supervisor("node", Strategy::OneForOne).with(twins);
        let error = launch(spec, LaunchOptions::one_thread()).await.err();
        assert_eq!(error, Some(LaunchError::InvalidName("a".into())));
    });
    with_threads(async {
        let lost = puppet("lost", &Script::default()).on_threads(ThreadAffinity::Pool("nowhere"));
        let spec = supervisor("node", Strategy::OneForOne).with(lost);
        let error = launch(spec, LaunchOptions::threads(1)).await.err();
        assert_eq!(error, Some(LaunchError::PoolNotFound(ThreadAffinity::Pool("nowhere"))));
    });
}

#[test]
fn actor_ref_of_unlaunched_spec_reports_gone() {
    simulate(async {
        let a = puppet("a", &Script::default());
        let to_a = a.handle();
        let answer = to_a.ask(Count);
        drop(a);

        assert_eq!(answer.await, Err(SendError::Gone));
        assert_eq!(to_a.tell(Count), Err(SendError::Gone));
    });
}
