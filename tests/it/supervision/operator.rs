//! What operators see, stop and start.

use super::actor::*;
use super::*;

fn tree_of_four(script: &Script) -> (SupervisorSpec, ActorRef<Puppet>) {
    let b = puppet("b", script);
    let to_b = b.handle();
    let inner = supervisor("inner", Strategy::OneForAll).with(b).with(puppet("c", script));
    (supervisor("node", Strategy::RestForOne).with(puppet("a", script)).with(inner), to_b)
}

#[test]
fn stopped_permanent_child_stays_stopped_until_restart() {
    simulate(async {
        let script = Script::default();
        let (spec, to_b) = tree_of_four(&script);
        let living = live(spec).await;
        let tree = living.tree();
        let waiting = to_b.ask(Slow(MINUTE));
        tree.stop("/node/inner/b").await.unwrap();
        assert_eq!(entry(&tree, "/node/inner/b").state, ActorState::Stopped);
        assert_eq!(waiting.await, Err(SendError::Failed));
        assert_eq!(to_b.ask(Count).await, Err(SendError::Gone));
        tokio::time::sleep(MINUTE).await;
        assert_eq!(entry(&tree, "/node/inner/b").state, ActorState::Stopped);
        assert_eq!(script.lines(), ["a", "b", "c", "-b"]);

        tree.restart("/node/inner/b").await.unwrap();
        assert_eq!(to_b.ask(Count).await, Ok(1));
        assert_eq!(script.lines(), ["+b"]);
        end(living).await;
    });
}

#[test]
fn operator_restart_is_isolated_and_not_a_failure() {
    simulate(async {
        let script = Script::default();
        let (spec, to_b) = tree_of_four(&script);
        let living = live(spec).await;
        let tree = living.tree();
        for _ in 0..50 {
            tree.restart("/node/inner/b").await.unwrap();
            assert_eq!(to_b.ask(Count).await, Ok(1));
        }

        let b = entry(&tree, "/node/inner/b");
        assert_eq!((b.restarts, b.state, b.failures), (50, ActorState::Running, vec![]));
        assert_eq!((script.count("+c"), script.count("+a")), (0, 0));
        end(living).await;
    });
}

#[test]
fn supervisor_stop_and_restart_includes_its_children() {
    simulate(async {
        let script = Script::default();
        let (spec, to_b) = tree_of_four(&script);
        let living = live(spec).await;
        let tree = living.tree();
        script.lines();
        tree.stop("/node/inner").await.unwrap();
        assert_eq!(script.lines(), ["-c", "-b"]);
        assert_eq!(to_b.tell(Count), Err(SendError::Gone));
        tree.restart("/node/inner").await.unwrap();

        assert_eq!(script.lines(), ["+b", "+c"]);
        assert_eq!(to_b.ask(Count).await, Ok(1));
        tree.restart("/node").await.unwrap();
        assert_eq!(script.lines(), ["-c", "-b", "-a", "+a", "+b", "+c"]);
        end(living).await;
    });
}

#[test]
fn stopped_child_is_not_revived_by_sibling_restart() {
    simulate(async {
        let script = Script::default();
        let (spec, to_b) = tree_of_four(&script);
        let living = live(spec).await;
        let tree = living.tree();
        tree.stop("/node/inner/c").await.unwrap();
        to_b.tell(Boom).unwrap();

        assert_eq!(to_b.ask(Count).await, Ok(1));
        assert_eq!(entry(&tree, "/node/inner/c").state, ActorState::Stopped);
        end(living).await;
    });
}

#[test]
fn impossible_tree_command_returns_reason() {
    simulate(async {
        let script = Script::default();
        let (spec, _) = tree_of_four(&script);
        let living = live(spec).await;
        let tree = living.tree();
        assert_eq!(tree.restart("/node/nobody").await, Err(CommandError::NotFound));
        tree.stop("/node/inner").await.unwrap();
        assert_eq!(tree.restart("/node/inner/b").await, Err(CommandError::Closing));
        script.panic_at("started");
        tree.stop("/node/a").await.unwrap();
        let refused = tree.restart("/node/a").await;

        // With no back-off it is up again before anybody could say that it failed.
        assert!(matches!(refused, Ok(()) | Err(CommandError::Failed(_))), "{refused:?}");
        end(living).await;
        assert_eq!(tree.stop("/node/a").await, Err(CommandError::NotFound));
    });
}

#[test]
fn ended_child_can_be_restarted() {
    simulate(async {
        let script = Script::default();
        let once = puppet("once", &script).temporary();
        let to_once = once.handle();
        let living = live(supervisor("node", Strategy::OneForOne).with(once)).await;
        let tree = living.tree();
        to_once.tell(Quit).unwrap();
        until("it ended", || entry(&tree, "/node/once").state == ActorState::Ended).await;
        tree.restart("/node/once").await.unwrap();

        assert_eq!(to_once.ask(Count).await, Ok(1));
        end(living).await;
    });
}

#[test]
fn tree_snapshot_has_counters_and_serializes_to_json() {
    simulate(async {
        let script = Script::default();
        let (spec, to_b) = tree_of_four(&script);
        let living = live(spec).await;
        for _ in 0..5 {
            to_b.ask(Count).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        to_b.tell(Boom).unwrap();
        to_b.ask(Count).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        let b = entry(&living.tree(), "/node/inner/b");

        assert_eq!(
            (b.kind, b.state, b.restart),
            (TreeNodeKind::Actor, ActorState::Running, Restart::Permanent)
        );
        assert_eq!((b.handled, b.mailbox, b.restarts, b.stuck_ms), (7, 0, 1, 0));
        assert_eq!(b.uptime_ms / 100, 30, "it counts from the restart");
        let json = serde_json::to_value(&b).unwrap();
        assert_eq!(json["state"], "running");
        assert!(json["last_failure"]["message"].as_str().unwrap().ends_with("Boom"));
        assert!(json["last_failure"]["at"].as_str().unwrap().ends_with('Z'));
        end(living).await;
    });
}
