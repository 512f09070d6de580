//! How many calls there may be, and by whom.

use super::*;

fn board() -> CallIndex {
    let bus = crate::cluster::InProcessBus::default().connect(NodeId::new());
    CallIndex::new(PeerNodes::new(Arc::new(bus)))
}

fn name(name: &str) -> Key {
    Key::Name(name.to_owned())
}

#[test]
fn dropped_call_reservation_frees_name_and_slot() {
    let (board, ann) = (board(), UserId::new());
    let most = CallLimits { all: 1, per_person: 1 };
    let reserve = |key| board.reserve(CallId::new(), key, Some(ann), None, most);
    let first = reserve(name("standup"));
    assert!(first.is_ok());
    assert!(matches!(reserve(name("standup")), Err(Ok(_))));
    assert!(matches!(reserve(name("other")), Err(Err(CallError::NodeCapacityReached))));
    drop(first);

    assert!(reserve(name("standup")).is_ok());
}

#[tokio::test]
async fn waiter_on_dropped_reservation_gets_moved_error() {
    let board = board();
    let most = CallLimits { all: 1, per_person: 1 };
    let place = board.reserve(CallId::new(), name("standup"), None, None, most);
    let found = board.by_key(&name("standup")).expect("it is about to begin");
    drop(place);

    assert!(matches!(found.room().await, Err(CallError::Migrating)));
}

#[test]
fn per_user_call_limit_is_enforced() {
    let (board, ann, bob) = (board(), UserId::new(), UserId::new());
    let most = CallLimits { all: 10, per_person: 2 };
    let reserve = |key, by| board.reserve(CallId::new(), key, Some(by), None, most);
    let (first, second) = (reserve(name("a"), ann), reserve(name("b"), ann));
    assert!(first.is_ok() && second.is_ok());
    assert!(matches!(reserve(name("c"), ann), Err(Err(CallError::UserLimitReached))));
    let others = reserve(name("c"), bob);
    assert!(others.is_ok(), "others may");
    assert!(matches!(reserve(name("c"), ann), Err(Ok(_))), "and she finds theirs");
    drop(first);

    assert!(reserve(name("d"), ann).is_ok(), "one of hers is over");
}

#[test]
fn closed_call_registry_rejects_new_calls() {
    let (board, ann) = (board(), UserId::new());
    let most = CallLimits { all: 10, per_person: 2 };
    board.close();

    let late = board.reserve(CallId::new(), name("late"), Some(ann), None, most);
    assert!(matches!(late, Err(Err(CallError::Unavailable))));
}
