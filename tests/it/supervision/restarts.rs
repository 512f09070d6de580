//! Who comes back after a failure, when, and who with it.

use tokio::time::Instant;

use super::actor::*;
use super::*;

fn three(strategy: Strategy, script: &Script) -> (SupervisorSpec, [ActorRef<Puppet>; 3]) {
    let kids = ["a", "b", "c"].map(|name| puppet(name, script));
    let refs = [kids[0].handle(), kids[1].handle(), kids[2].handle()];
    (kids.into_iter().fold(supervisor("node", strategy), SupervisorSpec::with), refs)
}

#[test]
fn restart_loses_only_the_poison_message() {
    simulate(async {
        let script = Script::default();
        let a = puppet("a", &script);
        let to_a = a.handle();
        let living = live(supervisor("node", Strategy::OneForOne).with(a)).await;
        assert_eq!(to_a.ask(Count).await, Ok(1));
        assert_eq!(to_a.ask(Count).await, Ok(2));
        let (boom, behind) = (to_a.ask(Boom), to_a.ask(Count));

        assert_eq!(boom.await, Err(SendError::Failed));
        assert_eq!(behind.await, Ok(1), "the same mailbox, a fresh state");
        assert_eq!(script.lines(), ["a", "+a"]);
        end(living).await;
    });
}

#[test]
fn one_for_one_restarts_only_failed_child() {
    simulate(async {
        let script = Script::default();
        let (spec, [_, b, _]) = three(Strategy::OneForOne, &script);
        let living = live(spec).await;
        assert_eq!(b.ask(Boom).await, Err(SendError::Failed));
        assert_eq!(b.ask(Count).await, Ok(1));

        assert_eq!(script.lines(), ["a", "b", "c", "+b"]);
        end(living).await;
    });
}

#[test]
fn rest_for_one_restarts_later_children_in_order() {
    simulate(async {
        let script = Script::default();
        let (spec, [_, b, c]) = three(Strategy::RestForOne, &script);
        let living = live(spec).await;
        b.tell(Boom).unwrap();
        until("c is back", || script.has("+c")).await;

        assert_eq!(c.ask(Count).await, Ok(1));
        assert_eq!(script.lines(), ["a", "b", "c", "-c", "+b", "+c"]);
        end(living).await;
    });
}

#[test]
fn one_for_all_restarts_all_children_in_order() {
    simulate(async {
        let script = Script::default();
        let (spec, [_, b, c]) = three(Strategy::OneForAll, &script);
        let living = live(spec).await;
        b.tell(Fail("no more")).unwrap();
        until("c is back", || script.has("+c")).await;

        assert_eq!(c.ask(Count).await, Ok(1));
        assert_eq!(script.lines(), ["a", "b", "c", "-b", "-c", "-a", "+a", "+b", "+c"]);
        end(living).await;
    });
}

#[test]
fn group_restart_waits_for_each_child_to_start() {
    simulate(async {
        let script = Script::default();
        let (spec, [a, _, c]) = three(Strategy::RestForOne, &script);
        let living = live(spec).await;
        script.lines();
        script.panic_at("started");
        a.tell(Boom).unwrap();
        until("c is back", || script.has("+c")).await;

        assert_eq!(c.ask(Count).await, Ok(1));
        assert_eq!(
            script.lines(),
            ["-c", "-b", "+a", "+a", "+b", "+c"],
            "b waited for the second a"
        );
        end(living).await;
    });
}

#[test]
fn restart_type_determines_which_children_restart() {
    simulate(async {
        let script = Script::default();
        let kids = [
            puppet("permanent", &script),
            puppet("transient", &script).transient(),
            puppet("temporary", &script).temporary(),
        ];
        let refs = [kids[0].handle(), kids[1].handle(), kids[2].handle()];
        let spec =
            kids.into_iter().fold(supervisor("node", Strategy::OneForOne), SupervisorSpec::with);
        let living = live(spec).await;
        let tree = living.tree();
        refs.iter().for_each(|r| r.tell(Boom).unwrap());
        until("the temporary one ended", || {
            entry(&tree, "/node/temporary").state == ActorState::Ended
        })
        .await;
        assert_eq!(refs[0].ask(Count).await, Ok(1));
        assert_eq!(refs[1].ask(Count).await, Ok(1));
        assert_eq!(refs[2].ask(Count).await, Err(SendError::Gone));
        refs[..2].iter().for_each(|r| r.tell(Quit).unwrap());
        until("the transient one ended", || {
            entry(&tree, "/node/transient").state == ActorState::Ended
        })
        .await;

        assert_eq!(refs[0].ask(Count).await, Ok(1));
        assert_eq!(refs[1].tell(Count), Err(SendError::Gone));
        end(living).await;
    });
}

#[test]
fn exceeding_restart_intensity_escalates_to_parent() {
    simulate(async {
        let script = Script::default();
        let bad = puppet("bad", &script).intensity(2, MINUTE);
        let to_bad = bad.handle();
        let rooms =
            supervisor("rooms", Strategy::OneForOne).with(bad).with(puppet("good", &script));
        let spec = supervisor("node", Strategy::OneForOne).with(puppet("top", &script)).with(rooms);
        let living = live(spec).await;
        let tree = living.tree();
        (0..3).for_each(|_| to_bad.tell(Boom).unwrap());
        until("rooms is rebuilt", || entry(&tree, "/node/rooms").restarts == 1).await;
        until("rooms is up", || entry(&tree, "/node/rooms").state == ActorState::Running).await;

        assert_eq!(to_bad.ask(Count).await, Ok(1), "the same reference after an escalation");
        assert_eq!(script.count("top"), 1, "the sibling of the supervisor saw nothing");
        assert_eq!((script.count("+good"), script.count("+top")), (1, 0));
        let failure = entry(&tree, "/node/rooms").last_failure.unwrap();
        assert!(failure.exit.starts_with("escalated: "), "{failure:?}");
        end(living).await;
    });
}

#[test]
fn supervisor_restart_intensity_counts_all_children() {
    simulate(async {
        let script = Script::default();
        let (spec, refs) = three(Strategy::OneForOne, &script);
        let living = live(spec.intensity(2, MINUTE)).await;
        refs.iter().for_each(|r| r.tell(Boom).unwrap());

        let exit = living.exited().await;
        assert!(matches!(exit, ExitReason::Escalated(_)), "{exit}");
        assert_eq!(refs[0].tell(Count), Err(SendError::Gone));
        assert!(
            matches!(end(living).await, ExitReason::Escalated(_)),
            "the end does not hide the cause"
        );
    });
}

#[test]
fn failures_outside_restart_period_are_forgotten() {
    simulate(async {
        let script = Script::default();
        let a = puppet("a", &script).intensity(1, Duration::from_secs(1));
        let to_a = a.handle();
        let living =
            live(supervisor("node", Strategy::OneForOne).with(a).intensity(99, MINUTE)).await;
        for _ in 0..20 {
            assert_eq!(to_a.ask(Boom).await, Err(SendError::Failed));
            tokio::time::sleep(Duration::from_millis(1001)).await;
        }

        assert_eq!(to_a.ask(Count).await, Ok(1));
        end(living).await;
    });
}

#[test]
fn restart_backoff_doubles_and_resets_when_stable() {
    simulate(async {
        let script = Script::default();
        let backoff =
            Backoff { initial: Duration::from_millis(20), max: Duration::from_millis(100) };
        let a = puppet("a", &script).intensity(99, MINUTE).backoff(backoff);
        let a = a.stable_after(Duration::from_secs(5));
        let to_a = a.handle();
        let living =
            live(supervisor("node", Strategy::OneForOne).with(a).intensity(99, MINUTE)).await;
        let mut waits = vec![];
        for i in 0..6 {
            if i == 5 {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            let began = Instant::now();
            to_a.tell(Boom).unwrap();
            assert_eq!(to_a.ask(Count).await, Ok(1), "asked while it was down");
            waits.push(began.elapsed().as_millis());
        }

        for (wait, full) in waits.iter().zip([20, 40, 80, 100, 100, 20]) {
            assert!((full / 2..=full + 1).contains(wait), "{waits:?}");
        }
        end(living).await;
    });
}

#[test]
fn child_stopping_itself_on_start_escalates() {
    simulate(async {
        struct Restless;
        impl actix::Actor for Restless {
            type Context = SupervisedContext<Self>;
            fn started(&mut self, ctx: &mut SupervisedContext<Self>) {
                actix::ActorContext::stop(ctx);
            }
        }
        let spec = supervisor("node", Strategy::OneForOne);
        let spec = spec.with(
            child("restless", |_: &mut SupervisedContext<Restless>| Restless).backoff(AT_ONCE),
        );

        let error = launch(spec, LaunchOptions::one_thread()).await.err().unwrap();
        assert!(matches!(error, LaunchError::Failed(ExitReason::Escalated(_))), "{error}");
    });
}

#[test]
fn initial_start_failure_is_retried() {
    simulate(async {
        let script = Script::default();
        script.panic_at("factory");
        script.panic_at("started");
        let a = puppet("a", &script);
        let to_a = a.handle();
        let early = to_a.ask(Count);
        let living = live(supervisor("node", Strategy::OneForOne).with(a)).await;

        assert_eq!(early.await, Ok(1), "it waited in the mailbox since before the launch");
        assert_eq!(entry(&living.tree(), "/node/a").restarts, 2);
        end(living).await;
    });
}

#[test]
fn exit_reason_is_not_masked_by_panic_in_stopped() {
    simulate(async {
        let script = Script::default();
        let a = puppet("a", &script);
        let to_a = a.handle();
        let living = live(supervisor("node", Strategy::OneForOne).with(a)).await;
        script.panic_at("stopped");
        to_a.tell(Fail("the disk is full")).unwrap();
        assert_eq!(to_a.ask(Count).await, Ok(1));

        let failures = entry(&living.tree(), "/node/a").failures;
        let exits: Vec<_> =
            failures.iter().map(|f| (f.exit.as_str(), f.message.as_str())).collect();
        let expected =
            [("panic: on purpose in stopped", "stopped"), ("failed: the disk is full", "fail")];
        assert_eq!(exits, expected);
        end(living).await;
    });
}
