//! Administrators find and change users, and at least one admin always remains.

use base::ids::{JobId, UserId};
use store::{NewJob, Role, Store, UserChangeOutcome, UserFilter};

use crate::harness::{T0, at, audit, create_user, device, new_user, on_both, refresh};

async fn admin(store: &Store, name: &str) -> UserId {
    let id = create_user(store, name).await.id;
    store.set_user_role(id, Role::Admin, audit("role"), T0).await.unwrap();
    id
}

async fn users_are_filtered_by_name_phone_role_and_suspension(store: Store) {
    for (name, phone) in
        [("Ann", "+491"), ("anna", "+4912"), ("Bob", "+4913"), ("A%", "+442"), ("A_c", "+443")]
    {
        store.add_user(new_user(name, phone), audit("added"), T0).await.unwrap();
    }
    let find = async |filter: UserFilter| {
        let found = store.admin_users(filter, 10).await.unwrap();
        found.into_iter().map(|person| person.name).collect::<Vec<_>>()
    };
    let name = |name: &str| UserFilter { name: Some(name.into()), ..UserFilter::default() };
    let phone = |phone: &str| UserFilter { phone: Some(phone.into()), ..UserFilter::default() };

    assert_eq!(find(name("AN")).await, ["Ann", "anna"]);
    assert_eq!(find(name("a%")).await, ["A%"], "wildcards in the input are escaped");
    assert_eq!(find(name("a_")).await, ["A_c"]);
    assert_eq!(find(phone("+491")).await, ["Ann", "anna", "Bob"]);
    let all = store.admin_users(UserFilter::default(), 10).await.unwrap();
    store.suspend_user(all[0].id, audit("out"), at(1)).await.unwrap();
    let out = UserFilter { suspended: Some(true), ..UserFilter::default() };
    assert_eq!(find(out).await, ["Ann"]);
    let after = UserFilter { after: Some(all[2].id), suspended: Some(false), ..name("a") };
    assert_eq!(find(after).await, ["A%", "A_c"]);
    let admins = UserFilter { role: Some(Role::Admin), ..UserFilter::default() };
    assert!(find(admins).await.is_empty());
}

async fn last_administrator_cannot_be_removed(store: Store) {
    let (ann, bob) = (admin(&store, "Ann").await, admin(&store, "Bob").await);
    // Each demotes or suspends the other, in different ways, all at once.
    let rest = || NewJob {
        id: JobId::new(),
        kind: "rest".into(),
        user_id: None,
        payload: serde_json::json!({}),
    };
    let (one, two) = tokio::join!(
        store.set_user_role(ann, Role::User, audit("role"), at(1)),
        store.suspend_user(bob, audit("out"), at(1)),
    );
    let outcomes = [one.unwrap(), two.unwrap()];
    let refused = outcomes.iter().filter(|end| **end == UserChangeOutcome::LastAdmin).count();
    assert_eq!(refused, 1, "{outcomes:?}");

    for who in [ann, bob] {
        let person = store.admin_user(who).await.unwrap().unwrap();
        if person.role != Role::Admin || person.suspended_at.is_some() {
            continue;
        }
        let last = UserChangeOutcome::LastAdmin;
        let deleted = store.delete_user(who, rest(), audit("gone"), at(2)).await.unwrap();
        assert_eq!(deleted, last);
        assert_eq!(store.suspend_user(who, audit("out"), at(2)).await.unwrap(), last);
        let role = store.set_user_role(who, Role::Operator, audit("role"), at(2)).await.unwrap();
        assert_eq!(role, last);
        let same = store.set_user_role(who, Role::Admin, audit("role"), at(2)).await.unwrap();
        assert!(matches!(same, UserChangeOutcome::Done(_)), "repeating changes nothing");
    }
}

async fn unsuspended_user_regains_devices(store: Store) {
    let ann = create_user(&store, "Ann").await.id;
    let phone = device(ann);
    store.create_device(phone.clone(), refresh(1, at(99)), audit("in"), T0).await.unwrap();

    let out = store.suspend_user(ann, audit("out"), at(1)).await.unwrap();
    assert_eq!(out, UserChangeOutcome::Done(vec![phone.id]));
    assert_eq!(store.device_identity(phone.id).await.unwrap(), None);
    store.unsuspend_user(ann, audit("in"), at(2)).await.unwrap();
    assert!(store.device_identity(phone.id).await.unwrap().is_some());
    let ended = store.revoke_all_devices(ann, audit("end"), at(3)).await.unwrap();
    assert_eq!(ended, UserChangeOutcome::Done(vec![phone.id]));
    assert_eq!(store.device_identity(phone.id).await.unwrap(), None);
    let nobody = store.suspend_user(UserId::new(), audit("out"), at(1)).await.unwrap();
    assert_eq!(nobody, UserChangeOutcome::UserNotFound);
}

on_both!(
    users_are_filtered_by_name_phone_role_and_suspension,
    last_administrator_cannot_be_removed,
    unsuspended_user_regains_devices,
);
