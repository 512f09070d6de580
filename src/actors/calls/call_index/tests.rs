//! Limits on the number of calls, per node and per user.

use super::*;

fn call_index() -> CallIndex<u32> {
    let bus = crate::cluster::InProcessBus::default().connect(NodeId::new());
    CallIndex::new(PeerNodes::new(Arc::new(bus)))
}

fn name(name: &str) -> Key {
    Key::Name(name.to_owned())
}

#[test]
fn dropped_call_reservation_frees_name_and_slot() {
    let (call_index, ann) = (call_index(), UserId::new());
    let limits = CallLimits { all: 1, per_person: 1 };
    let reserve = |key| call_index.reserve(CallId::new(), key, Some(ann), None, limits);
    let first = reserve(name("standup"));
    assert!(first.is_ok());
    assert!(matches!(reserve(name("standup")), Err(Ok(_))));
    assert!(matches!(reserve(name("other")), Err(Err(CallError::NodeCapacityReached))));
    drop(first);

    assert!(reserve(name("standup")).is_ok());
}

#[tokio::test]
async fn waiter_on_dropped_reservation_gets_moved_error() {
    let call_index = call_index();
    let limits = CallLimits { all: 1, per_person: 1 };
    let reservation = call_index.reserve(CallId::new(), name("standup"), None, None, limits);
    let located = call_index.by_key(&name("standup")).expect("the call is reserved");
    drop(reservation);

    assert!(matches!(located.room().await, Err(CallError::Migrating)));
}

#[test]
fn per_user_call_limit_is_enforced() {
    let (call_index, ann, bob) = (call_index(), UserId::new(), UserId::new());
    let limits = CallLimits { all: 10, per_person: 2 };
    let reserve = |key, by| call_index.reserve(CallId::new(), key, Some(by), None, limits);
    let (first, second) = (reserve(name("a"), ann), reserve(name("b"), ann));
    assert!(first.is_ok() && second.is_ok());
    assert!(matches!(reserve(name("c"), ann), Err(Err(CallError::UserLimitReached))));
    let others = reserve(name("c"), bob);
    assert!(others.is_ok(), "another user is below the limit");
    assert!(matches!(reserve(name("c"), ann), Err(Ok(_))), "the existing call is found");
    drop(first);

    assert!(reserve(name("d"), ann).is_ok(), "one of her calls was dropped");
}

#[test]
fn closed_call_registry_rejects_new_calls() {
    let (call_index, ann) = (call_index(), UserId::new());
    let limits = CallLimits { all: 10, per_person: 2 };
    call_index.close();

    let late = call_index.reserve(CallId::new(), name("late"), Some(ann), None, limits);
    assert!(matches!(late, Err(Err(CallError::Unavailable))));
}
