//! User registration, lookup, and the limit on the number of users.

use base::ids::UserId;
use store::{
    AddUserOutcome, AuditFilter, NewUserRow, RegisterOutcome, Role, Store, UserChangeOutcome,
};

use crate::harness::{T0, any_hash, at, audit, create_user, device, new_user, on_both, refresh};

async fn registered_user_and_device_are_stored(store: Store) {
    let ann = new_user("Ann", "+4912345");
    let phone = device(ann.id);
    let done = store
        .register(
            ann.clone(),
            phone.clone(),
            refresh(1, at(60)),
            None,
            audit("user.registered"),
            T0,
        )
        .await
        .unwrap();

    let RegisterOutcome::Done(user, device) = done else { panic!("{done:?}") };
    assert_eq!((user.id, user.name.as_str(), user.role), (ann.id, "Ann", Role::User));
    assert_eq!((user.created_at, user.suspended_at), (T0, None));
    assert_eq!((device.id, device.user_id, device.last_seen_at), (phone.id, ann.id, T0));
    assert_eq!(store.user(ann.id).await.unwrap(), Some(user.clone()));
    let found = store.user_by_phone("+4912345").await.unwrap();
    assert_eq!(found, Some((user, ann.password_hash)));
    assert_eq!(store.user(UserId::new()).await.unwrap(), None);
    assert_eq!(store.user_by_phone("+1").await.unwrap(), None);
    assert_eq!(store.count_users().await.unwrap(), 1);
    assert_eq!(
        store.audit_page(AuditFilter::default(), None, 10).await.unwrap()[0].action,
        "user.registered"
    );
}

async fn phone_number_is_unique(store: Store) {
    store.add_user(new_user("Ann", "+1"), audit("user.added"), T0).await.unwrap();
    let bob = new_user("Bob", "+1");
    let phone = device(bob.id);
    let registered =
        store.register(bob.clone(), phone, refresh(1, at(9)), None, audit("x"), T0).await.unwrap();
    let added = store.add_user(bob, audit("x"), T0).await.unwrap();

    assert_eq!((registered, added), (RegisterOutcome::PhoneTaken, AddUserOutcome::PhoneTaken));
    assert_eq!(store.count_users().await.unwrap(), 1);
    assert_eq!(store.audit_page(AuditFilter::default(), None, 10).await.unwrap().len(), 1);
}

async fn concurrent_registrations_never_exceed_user_cap(store: Store) {
    let attempts = (0..500).map(|n| {
        let store = store.clone();
        tokio::task::spawn(async move {
            let new = new_user("Somebody", &format!("+{n}"));
            let (phone, token) = (device(new.id), any_hash());
            let token = store::NewRefresh { hash: token, expires_at: at(60), ip: None };
            store.register(new, phone, token, Some(137), audit("user.registered"), T0).await
        })
    });
    let mut done = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap().unwrap() {
            RegisterOutcome::Done(..) => done += 1,
            other => assert_eq!(other, RegisterOutcome::UserLimitReached),
        }
    }

    assert_eq!(done, 137);
    assert_eq!(store.count_users().await.unwrap(), 137);
    assert_eq!(store.users(None, 1000).await.unwrap().len(), 137);
}

async fn users_are_listed_in_pages(store: Store) {
    for n in 0..5 {
        create_user(&store, &format!("P{n}")).await;
    }
    let first = store.users(None, 3).await.unwrap();
    let rest = store.users(Some(first[2].id), 3).await.unwrap();

    let names: Vec<_> = first.iter().chain(&rest).map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["P0", "P1", "P2", "P3", "P4"]);
}

async fn user_role_and_name_can_be_changed(store: Store) {
    let ann = create_user(&store, "Ann").await;
    assert!(!store.has_admin().await.unwrap());
    let promoted =
        store.set_user_role(ann.id, Role::Admin, audit("user.role_changed"), at(1)).await;
    assert_eq!(promoted.unwrap(), UserChangeOutcome::Done(vec![]));
    assert!(store.has_admin().await.unwrap());
    let nobody = store.set_user_role(UserId::new(), Role::Admin, audit("x"), at(1)).await.unwrap();
    assert_eq!(nobody, UserChangeOutcome::UserNotFound);
    let renamed = store.rename_user(ann.id, "Anna", at(2)).await.unwrap().unwrap();
    assert_eq!((renamed.name.as_str(), renamed.role), ("Anna", Role::Admin));
    assert_eq!(store.rename_user(UserId::new(), "Nobody", at(2)).await.unwrap(), None);

    let actions: Vec<_> = store
        .audit_page(AuditFilter::default(), None, 9)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    assert_eq!(actions, ["user.role_changed", "user.added"]);
}

async fn operator_added_by_hand_has_no_device(store: Store) {
    let new = NewUserRow { role: Role::Operator, ..new_user("Olga", "+7") };
    let AddUserOutcome::Done(user) = store.add_user(new, audit("user.added"), T0).await.unwrap()
    else {
        panic!("the phone number is free");
    };

    assert_eq!(user.role, Role::Operator);
    assert!(store.devices(user.id).await.unwrap().is_empty());
    assert!(!store.has_admin().await.unwrap());
}

on_both!(
    registered_user_and_device_are_stored,
    phone_number_is_unique,
    concurrent_registrations_never_exceed_user_cap,
    users_are_listed_in_pages,
    user_role_and_name_can_be_changed,
    operator_added_by_hand_has_no_device,
);

#[test]
fn role_is_lowercase_in_text_and_json() {
    for (role, word) in [(Role::User, "user"), (Role::Admin, "admin"), (Role::Operator, "operator")]
    {
        assert_eq!((role.to_string().as_str(), word.parse()), (word, Ok(role)));
        assert_eq!(serde_json::to_value(role).unwrap(), word);
    }
    assert_eq!("root".parse::<Role>().unwrap_err().to_string(), "not a role");
}
