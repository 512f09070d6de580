//! Contact requests, contacts and blocks.

use base::ids::UserId;
use store::{ContactRequestOutcome as R, ContactState as S, Store};

use crate::harness::{T0, at, create_users, on_both};

async fn ask(store: &Store, from: UserId, to: UserId) -> R {
    store.request_contact(from, to, T0).await.unwrap()
}

async fn states(store: &Store, me: UserId) -> Vec<S> {
    store.contacts(me, None, 100).await.unwrap().iter().map(|contact| contact.state).collect()
}

async fn accepted_request_makes_both_contacts(store: Store) {
    let [ann, bob] = create_users(&store).await;
    assert_eq!(ask(&store, ann, bob).await, R::Requested);
    assert_eq!(ask(&store, ann, bob).await, R::AlreadyRequested);
    assert_eq!(
        (states(&store, ann).await, states(&store, bob).await),
        (vec![S::PendingOut], vec![S::PendingIn])
    );
    assert!(!store.accept_contact(ann, bob, at(1)).await.unwrap());
    assert!(store.accept_contact(bob, ann, at(1)).await.unwrap());
    assert!(!store.accept_contact(bob, ann, at(2)).await.unwrap());

    let bob_row = store.contacts(bob, None, 10).await.unwrap().remove(0);
    assert_eq!(
        (bob_row.user_id, bob_row.name.as_str(), bob_row.state, bob_row.since),
        (ann, "Person 0", S::Accepted, at(1))
    );
    assert_eq!(states(&store, ann).await, [S::Accepted]);
    assert_eq!(ask(&store, bob, ann).await, R::AlreadyRequested);
    assert!(store.remove_contact(ann, bob).await.unwrap());
    assert!(!store.remove_contact(ann, bob).await.unwrap());
    assert!(states(&store, bob).await.is_empty());
}

async fn crossing_requests_make_contacts(store: Store) {
    for _ in 0..20 {
        let [ann, bob] = create_users(&store).await;
        let mut both: [R; 2] = tokio::join!(ask(&store, ann, bob), ask(&store, bob, ann)).into();
        both.sort_by_key(|outcome| *outcome == R::Accepted);

        assert_eq!(both, [R::Requested, R::Accepted]);
        assert_eq!(
            (states(&store, ann).await, states(&store, bob).await),
            (vec![S::Accepted], vec![S::Accepted])
        );
    }
}

async fn declined_contact_request_may_be_repeated(store: Store) {
    let [ann, bob] = create_users(&store).await;
    ask(&store, ann, bob).await;
    assert!(!store.decline_contact(ann, bob).await.unwrap());
    assert!(store.decline_contact(bob, ann).await.unwrap());
    assert!(!store.decline_contact(bob, ann).await.unwrap());

    assert!(states(&store, ann).await.is_empty());
    assert_eq!(ask(&store, ann, bob).await, R::Requested);
}

async fn block_removes_contact_and_shadows_new_requests(store: Store) {
    let [ann, bob] = create_users(&store).await;
    ask(&store, ann, bob).await;
    store.accept_contact(bob, ann, T0).await.unwrap();
    assert!(store.block_user(bob, ann, at(5)).await.unwrap());
    assert!(store.block_user(bob, ann, at(6)).await.unwrap());

    assert!(states(&store, ann).await.is_empty() && states(&store, bob).await.is_empty());
    assert_eq!(
        (ask(&store, ann, bob).await, ask(&store, bob, ann).await),
        (R::ShadowBlocked, R::RecipientBlocked)
    );
    assert_eq!(ask(&store, ann, bob).await, R::AlreadyRequested, "like a pending request");
    assert_eq!(
        (states(&store, ann).await, states(&store, bob).await),
        (vec![S::PendingOut], vec![])
    );
    assert!(store.remove_contact(ann, bob).await.unwrap(), "the request can be withdrawn");
    assert_eq!(ask(&store, ann, bob).await, R::ShadowBlocked);
    let blocked = store.blocked_users(bob).await.unwrap();
    assert_eq!((blocked.len(), blocked[0].user_id, blocked[0].since), (1, ann, at(5)));
    assert!(store.blocked_users(ann).await.unwrap().is_empty());
    assert!(store.unblock_user(bob, ann).await.unwrap());
    assert!(!store.unblock_user(bob, ann).await.unwrap());
    assert_eq!(ask(&store, ann, bob).await, R::Requested);
    assert_eq!(states(&store, bob).await, [S::PendingIn]);
}

async fn contact_operations_on_unknown_user_fail(store: Store) {
    let [ann] = create_users(&store).await;
    assert_eq!(ask(&store, ann, UserId::new()).await, R::UserNotFound);
    assert_eq!(ask(&store, ann, ann).await, R::UserNotFound);
    assert!(!store.block_user(ann, UserId::new(), T0).await.unwrap());
    assert!(!store.accept_contact(ann, UserId::new(), T0).await.unwrap());
}

async fn contacts_are_listed_in_pages(store: Store) {
    let [ann, others @ ..] = create_users::<6>(&store).await;
    for other in others {
        ask(&store, ann, other).await;
    }
    let first = store.contacts(ann, None, 3).await.unwrap();
    let rest = store.contacts(ann, Some(first[2].user_id), 3).await.unwrap();

    let seen: Vec<_> = first.iter().chain(&rest).map(|contact| contact.user_id).collect();
    assert_eq!(seen, others);
}

on_both!(
    accepted_request_makes_both_contacts,
    crossing_requests_make_contacts,
    declined_contact_request_may_be_repeated,
    block_removes_contact_and_shadows_new_requests,
    contact_operations_on_unknown_user_fail,
    contacts_are_listed_in_pages,
);
