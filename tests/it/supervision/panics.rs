//! Panics of every kind: caught, blamed on the right message, survived a thousand times.

use super::actor::*;
use super::*;

const TIMES: u32 = 1000;

/// A tree of a victim and its sibling; the story makes the victim fail `TIMES` times in one way.
async fn a_thousand_times(provoke: impl Fn(&Script, &ActorRef<Puppet>), blamed: &str) {
    let (script, calm) = (Script::default(), Script::default());
    let victim = puppet("victim", &script).intensity(TIMES, MINUTE);
    let to_victim = victim.handle();
    let sibling = puppet("sibling", &calm);
    let to_sibling = sibling.handle();
    let spec = supervisor("node", Strategy::OneForOne).intensity(TIMES, MINUTE);
    let living = live(spec.with(victim).with(sibling)).await;
    let tree = living.tree();

    for times in 1..=TIMES {
        provoke(&script, &to_victim);
        until("it came back", || entry(&tree, "/node/victim").restarts == times).await;
        assert_eq!(to_victim.ask(Count).await, Ok(1), "a fresh life");
        assert_eq!(to_sibling.ask(Count).await, Ok(times), "the sibling lives on");
    }

    let victim = entry(&tree, "/node/victim");
    assert_eq!(
        (victim.restarts, victim.state, victim.failures.len()),
        (TIMES, ActorState::Running, 10)
    );
    for failure in &victim.failures {
        assert!(failure.exit.starts_with("panic: on purpose"), "{failure:?}");
        assert!(failure.message.contains(blamed), "{failure:?}");
    }
    assert_eq!(calm.lines(), ["sibling"]);
    assert_eq!(end(living).await, ExitReason::Shutdown);
}

#[test]
fn handler_survives_a_thousand_panics() {
    simulate(a_thousand_times(|_, victim| victim.tell(Boom).unwrap(), "actor::Boom"));
}

#[test]
fn actor_future_survives_a_thousand_panics() {
    simulate(a_thousand_times(|_, victim| victim.tell(BoomLater).unwrap(), "{{closure}}"));
}

#[test]
fn started_hook_survives_a_thousand_panics() {
    // Every other restart: the one that was provoked by `Quit` panics in `started`.
    let provoke = |script: &Script, victim: &ActorRef<Puppet>| {
        script.panic_at("started");
        victim.tell(Quit).unwrap();
    };
    simulate(twice_each(provoke, "started"));
}

#[test]
fn factory_survives_a_thousand_panics() {
    let provoke = |script: &Script, victim: &ActorRef<Puppet>| {
        script.panic_at("factory");
        victim.tell(Quit).unwrap();
    };
    simulate(twice_each(provoke, "factory"));
}

/// As `a_thousand_times`, for failures that follow a restart: each round restarts twice.
async fn twice_each(provoke: impl Fn(&Script, &ActorRef<Puppet>), blamed: &str) {
    let script = Script::default();
    let victim = puppet("victim", &script).intensity(2 * TIMES, MINUTE);
    let to_victim = victim.handle();
    let spec = supervisor("node", Strategy::OneForOne).intensity(2 * TIMES, MINUTE);
    let living = live(spec.with(victim)).await;
    let tree = living.tree();

    for times in 1..=TIMES {
        provoke(&script, &to_victim);
        until("it came back", || entry(&tree, "/node/victim").restarts == 2 * times).await;
        assert_eq!(to_victim.ask(Count).await, Ok(1), "a fresh life");
    }

    let failures = entry(&tree, "/node/victim").failures;
    assert_eq!(failures.len(), 10);
    assert!(failures.iter().all(|failure| failure.message == blamed), "{failures:?}");
    assert_eq!(end(living).await, ExitReason::Shutdown);
}

#[test]
fn stopped_hook_survives_a_thousand_panics() {
    let provoke = |script: &Script, victim: &ActorRef<Puppet>| {
        script.panic_at("stopped");
        victim.tell(Quit).unwrap();
    };
    simulate(a_thousand_times(provoke, "stopped"));
}

#[test]
fn stopping_hook_survives_a_thousand_panics() {
    let provoke = |script: &Script, victim: &ActorRef<Puppet>| {
        script.panic_at("stopping");
        victim.tell(Quit).unwrap();
    };
    simulate(a_thousand_times(provoke, "stopping"));
}

#[test]
fn drop_survives_a_thousand_panics() {
    let provoke = |script: &Script, victim: &ActorRef<Puppet>| {
        script.panic_at("drop");
        victim.tell(Quit).unwrap();
    };
    simulate(a_thousand_times(provoke, "drop"));
}

#[test]
fn panics_in_stop_hooks_and_drop_do_not_abort_process() {
    simulate(async {
        let script = Script::default();
        let a = puppet("a", &script);
        let to_a = a.handle();
        let living = live(supervisor("node", Strategy::OneForOne).with(a)).await;
        script.panic_at("stopped");
        script.panic_at("stopping");
        script.panic_at("drop");
        assert_eq!(to_a.ask(Boom).await, Err(SendError::Failed));

        assert_eq!(to_a.ask(Count).await, Ok(1));
        let failures = entry(&living.tree(), "/node/a").failures;
        let at: Vec<_> = failures.iter().map(|f| f.message.rsplit("::").next().unwrap()).collect();
        assert_eq!(at, ["drop", "Boom"], "after a panic no hook of a broken actor runs");
        script.lines();
        end(living).await;
    });
}

#[test]
fn two_queued_poison_messages_do_not_abort_process() {
    simulate(async {
        let script = Script::default();
        let a = puppet("a", &script);
        let to_a = a.handle();
        let living = live(supervisor("node", Strategy::OneForOne).with(a)).await;
        to_a.tell(Refuse(1)).unwrap();
        let booms = [to_a.ask(Boom), to_a.ask(Boom)];
        let behind = to_a.ask(Count);
        for boom in booms {
            assert_eq!(boom.await, Err(SendError::Failed));
        }

        assert_eq!(behind.await, Ok(1));
        assert_eq!(entry(&living.tree(), "/node/a").restarts, 2);
        end(living).await;
    });
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("on purpose, when dropped");
    }
}

/// Holds grenades in its state and in its futures.
struct Arsenal(#[expect(dead_code, reason = "it is there to be dropped")] Option<Grenade>);

impl actix::Actor for Arsenal {
    type Context = SupervisedContext<Self>;
    fn started(&mut self, ctx: &mut SupervisedContext<Self>) {
        use actix::prelude::*;
        for _ in 0..3 {
            let grenade = Grenade;
            let held = async move {
                std::future::pending::<()>().await;
                drop(grenade);
            };
            ctx.spawn(held.into_actor(self));
        }
    }
}

impl actix::Handler<Boom> for Arsenal {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut SupervisedContext<Self>) {
        std::panic::panic_any(Grenade);
    }
}

#[test]
fn nested_drop_panics_do_not_abort_process() {
    simulate(async {
        let a = child("a", |_: &mut SupervisedContext<Arsenal>| Arsenal(Some(Grenade)))
            .backoff(AT_ONCE);
        let to_a = a.handle();
        let living = live(supervisor("node", Strategy::OneForOne).with(a)).await;
        let tree = living.tree();
        for times in 1..=3 {
            to_a.tell(Boom).unwrap();
            until("it came back", || entry(&tree, "/node/a").restarts == times).await;
        }

        assert_eq!(
            entry(&tree, "/node/a").last_failure.unwrap().exit,
            "panic: a panic without text"
        );
        end(living).await;
    });
}
