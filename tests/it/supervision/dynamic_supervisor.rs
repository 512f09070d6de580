//! Children that come and go by name.

use futures_util::future::join_all;

use super::actor::*;
use super::*;

async fn one(spec: DynamicSupervisorSpec<Puppet>) -> (RunningTree, DynamicSupervisor<Puppet>) {
    let spec = spec.backoff(AT_ONCE);
    let sessions = spec.handle();
    (live(supervisor("node", Strategy::OneForOne).with(spec)).await, sessions)
}

fn make(
    script: &Script,
) -> impl Fn(&mut SupervisedContext<Puppet>) -> Puppet + Send + Sync + 'static {
    let script = script.clone();
    move |_| Puppet::new("child", &script)
}

#[test]
fn child_is_found_by_name_until_stopped() {
    simulate(async {
        let script = Script::default();
        let (living, sessions) = one(dynamic_supervisor("sessions", 4)).await;
        let anna = sessions.start("anna", make(&script)).await.unwrap();
        assert_eq!(
            sessions.start("anna", make(&script)).await.err(),
            Some(StartChildError::NameTaken)
        );
        assert_eq!(
            sessions.start("a/b", make(&script)).await.err(),
            Some(StartChildError::InvalidName)
        );
        sessions.start("ben", make(&script)).await.unwrap();
        assert_eq!(sessions.get("anna"), Some(anna.clone()));
        assert_eq!((sessions.len(), sessions.children().len()), (2, 2));
        assert!(anna.path().starts_with("/node/sessions/") && anna.path().ends_with("/anna"));
        sessions.stop("anna").await.unwrap();

        assert_eq!((sessions.get("anna"), sessions.len()), (None, 1));
        assert_eq!(anna.tell(Count), Err(SendError::Gone));
        assert_eq!(sessions.stop("anna").await, Err(CommandError::NotFound));
        assert_eq!(script.lines(), ["child", "child", "-child"]);
        end(living).await;
        assert!(sessions.is_empty());
        assert_eq!(
            sessions.start("carl", make(&script)).await.err(),
            Some(StartChildError::NotRunning)
        );
    });
}

#[test]
fn crashing_child_does_not_affect_siblings() {
    simulate(async {
        let script = Script::default();
        let (living, rooms) =
            one(dynamic_supervisor("rooms", 1).transient().intensity(3, MINUTE)).await;
        let bad = rooms.start("bad", make(&script)).await.unwrap();
        let good = rooms.start("good", make(&script)).await.unwrap();
        let booms: Vec<_> = (0..4).map(|_| bad.ask(Boom)).collect();
        let behind = bad.ask(Count);
        for boom in booms {
            assert_eq!(boom.await, Err(SendError::Failed));
        }
        assert_eq!(behind.await, Err(SendError::Gone));

        until("it is gone", || rooms.get("bad").is_none()).await;
        assert_eq!(good.ask(Count).await, Ok(1));
        assert_eq!(entry(&living.tree(), "/node/rooms/0").restarts, 0);
        assert_eq!(entry(&living.tree(), good.path()).restarts, 0);
        end(living).await;
    });
}

#[test]
fn failed_temporary_child_is_removed_and_frees_name() {
    simulate(async {
        let script = Script::default();
        let (living, sessions) = one(dynamic_supervisor("sessions", 2).temporary()).await;
        for _ in 0..100 {
            let anna = sessions.start("anna", make(&script)).await.unwrap();
            assert_eq!(anna.ask(Boom).await, Err(SendError::Failed));
            until("it is gone", || sessions.is_empty()).await;
        }

        assert_eq!(living.tree().snapshot().len(), 4, "the root, the nursery, two partitions");
        end(living).await;
    });
}

#[test]
fn child_restarted_under_same_name_survives_removal_of_old() {
    simulate(async {
        let script = Script::default();
        let (living, sessions) = one(dynamic_supervisor("sessions", 1)).await;
        for _ in 0..100 {
            let old = sessions.start("anna", make(&script)).await.unwrap();
            sessions.stop("anna").await.unwrap();
            let new = sessions.start("anna", make(&script)).await.unwrap();
            drop(old);
            assert_eq!(sessions.get("anna"), Some(new.clone()));
            assert_eq!(new.ask(Count).await, Ok(1));
            assert_eq!(entry(&living.tree(), new.path()).state, ActorState::Running);
            sessions.stop("anna").await.unwrap();
        }
        end(living).await;
    });
}

#[test]
fn failed_child_start_is_reported_to_caller() {
    simulate(async {
        let script = Script::default();
        let (living, sessions) = one(dynamic_supervisor("sessions", 1).temporary()).await;
        script.panic_at("factory");
        let failed = sessions.start("anna", make(&script)).await.err();
        let because = ExitReason::Panic("on purpose in factory".into());

        assert_eq!(failed, Some(StartChildError::Failed(because)));
        assert!(sessions.start("anna", make(&script)).await.is_ok(), "the name is free");
        end(living).await;
    });
}

#[test]
fn operator_restarts_and_stops_dynamic_child_by_path() {
    simulate(async {
        let script = Script::default();
        let (living, sessions) = one(dynamic_supervisor("sessions", 1)).await;
        let anna = sessions.start("anna", make(&script)).await.unwrap();
        let tree = living.tree();
        anna.ask(Count).await.unwrap();
        tree.restart(anna.path()).await.unwrap();
        assert_eq!(anna.ask(Count).await, Ok(1));
        tree.stop(anna.path()).await.unwrap();

        assert_eq!(sessions.get("anna"), None);
        tree.restart("/node/sessions").await.unwrap();
        assert!(sessions.start("anna", make(&script)).await.is_ok());
        end(living).await;
    });
}

#[test]
fn dynamic_children_stop_in_parallel_within_deadline() {
    simulate(async {
        let script = Script::default();
        let (living, sessions) =
            one(dynamic_supervisor("sessions", 3).shutdown(Duration::from_secs(1))).await;
        let names: Vec<_> = (0..300).map(|n| n.to_string()).collect();
        let started = join_all(names.iter().map(|name| sessions.start(name, make(&script)))).await;
        assert!(started.iter().all(Result::is_ok));
        for child in sessions.children() {
            child.ask(Refuse(1000)).await.unwrap();
        }
        let began = tokio::time::Instant::now();
        assert_eq!(end(living).await, ExitReason::Shutdown);

        assert_eq!(began.elapsed().as_secs(), 3, "a second for each partition, not for each child");
        assert!(sessions.is_empty());
    });
}
