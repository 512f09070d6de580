//! Last-seen times: the newest one stays, and crossing writes do not deadlock.

use base::clock::Timestamp;
use base::ids::UserId;
use store::{Availability, Store};

use crate::harness::{at, create_users, on_both};

async fn last_seen(store: &Store, user: UserId) -> Option<Timestamp> {
    let statuses = store.statuses(vec![user]).await.unwrap();
    statuses.first().and_then(|status| status.last_seen_at)
}

async fn last_seen_only_moves_forward(store: Store) {
    let [ann, bob] = create_users(&store).await;
    store.set_status(ann, Availability::Away, "at lunch".into()).await.unwrap();
    assert_eq!(last_seen(&store, ann).await, None);
    store.update_last_seen(vec![(ann, at(9)), (bob, at(9)), (UserId::new(), at(9))]).await.unwrap();
    store.update_last_seen(vec![(bob, at(12)), (ann, at(3)), (ann, at(5))]).await.unwrap();

    assert_eq!(
        (last_seen(&store, ann).await, last_seen(&store, bob).await),
        (Some(at(9)), Some(at(12)))
    );
    let statuses = store.statuses(vec![ann]).await.unwrap();
    assert_eq!((statuses[0].state, statuses[0].text.as_str()), (Availability::Away, "at lunch"));
}

async fn concurrent_last_seen_updates_do_not_deadlock(store: Store) {
    let all: [UserId; 20] = create_users(&store).await;
    let notes: Vec<_> = (0..8)
        .map(|node| {
            let mut gone: Vec<_> = all.iter().map(|user| (*user, at(node))).collect();
            if node % 2 == 0 {
                gone.reverse();
            }
            let store = store.clone();
            tokio::spawn(async move { store.update_last_seen(gone).await })
        })
        .collect();
    for note in notes {
        note.await.unwrap().unwrap();
    }

    for user in all {
        assert_eq!(last_seen(&store, user).await, Some(at(7)));
    }
}

on_both!(last_seen_only_moves_forward, concurrent_last_seen_updates_do_not_deadlock,);
