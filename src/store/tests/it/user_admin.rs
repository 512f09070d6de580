//! Administrators find and change people, and there is always one left.

use base::ids::{JobId, UserId};
use store::{NewJob, PeopleFilter, Role, Store, UserChangeOutcome};

use crate::harness::{T0, at, audit, device, on_both, person, refresh, somebody};

async fn admin(store: &Store, name: &str) -> UserId {
    let id = somebody(store, name).await.id;
    store.set_role(id, Role::Admin, audit("role"), T0).await.unwrap();
    id
}

async fn users_are_filtered_by_name_phone_role_and_suspension(store: Store) {
    for (name, phone) in
        [("Ann", "+491"), ("anna", "+4912"), ("Bob", "+4913"), ("A%", "+442"), ("A_c", "+443")]
    {
        store.add_user(person(name, phone), audit("added"), T0).await.unwrap();
    }
    let find = async |filter: PeopleFilter| {
        let found = store.people(filter, 10).await.unwrap();
        found.into_iter().map(|person| person.name).collect::<Vec<_>>()
    };
    let name = |name: &str| PeopleFilter { name: Some(name.into()), ..PeopleFilter::default() };
    let phone = |phone: &str| PeopleFilter { phone: Some(phone.into()), ..PeopleFilter::default() };

    assert_eq!(find(name("AN")).await, ["Ann", "anna"]);
    assert_eq!(find(name("a%")).await, ["A%"], "what they type is no pattern");
    assert_eq!(find(name("a_")).await, ["A_c"]);
    assert_eq!(find(phone("+491")).await, ["Ann", "anna", "Bob"]);
    let all = store.people(PeopleFilter::default(), 10).await.unwrap();
    store.suspend(all[0].id, audit("out"), at(1)).await.unwrap();
    let out = PeopleFilter { suspended: Some(true), ..PeopleFilter::default() };
    assert_eq!(find(out).await, ["Ann"]);
    let after = PeopleFilter { after: Some(all[2].id), suspended: Some(false), ..name("a") };
    assert_eq!(find(after).await, ["A%", "A_c"]);
    let admins = PeopleFilter { role: Some(Role::Admin), ..PeopleFilter::default() };
    assert!(find(admins).await.is_empty());
}

async fn last_administrator_cannot_be_removed(store: Store) {
    let (ann, bob) = (admin(&store, "Ann").await, admin(&store, "Bob").await);
    // Each puts the other out, in different ways, all at once.
    let rest = || NewJob {
        id: JobId::new(),
        kind: "rest".into(),
        user_id: None,
        payload: serde_json::json!({}),
    };
    let (one, two) = tokio::join!(
        store.set_role(ann, Role::User, audit("role"), at(1)),
        store.suspend(bob, audit("out"), at(1)),
    );
    let outcomes = [one.unwrap(), two.unwrap()];
    let refused = outcomes.iter().filter(|end| **end == UserChangeOutcome::LastAdmin).count();
    assert_eq!(refused, 1, "{outcomes:?}");

    for who in [ann, bob] {
        let person = store.person(who).await.unwrap().unwrap();
        if person.role != Role::Admin || person.suspended_at.is_some() {
            continue;
        }
        let last = UserChangeOutcome::LastAdmin;
        let deleted = store.delete_user(who, rest(), audit("gone"), at(2)).await.unwrap();
        assert_eq!(deleted, last);
        assert_eq!(store.suspend(who, audit("out"), at(2)).await.unwrap(), last);
        let role = store.set_role(who, Role::Operator, audit("role"), at(2)).await.unwrap();
        assert_eq!(role, last);
        let same = store.set_role(who, Role::Admin, audit("role"), at(2)).await.unwrap();
        assert!(matches!(same, UserChangeOutcome::Done(_)), "nothing changes");
    }
}

async fn unsuspended_user_regains_devices(store: Store) {
    let ann = somebody(&store, "Ann").await.id;
    let phone = device(ann);
    store.open_device(phone.clone(), refresh(1, at(99)), audit("in"), T0).await.unwrap();

    let out = store.suspend(ann, audit("out"), at(1)).await.unwrap();
    assert_eq!(out, UserChangeOutcome::Done(vec![phone.id]));
    assert_eq!(store.identity(phone.id).await.unwrap(), None);
    store.unsuspend(ann, audit("in"), at(2)).await.unwrap();
    assert!(store.identity(phone.id).await.unwrap().is_some());
    let ended = store.sign_out_everywhere(ann, audit("end"), at(3)).await.unwrap();
    assert_eq!(ended, UserChangeOutcome::Done(vec![phone.id]));
    assert_eq!(store.identity(phone.id).await.unwrap(), None);
    let nobody = store.suspend(UserId::new(), audit("out"), at(1)).await.unwrap();
    assert_eq!(nobody, UserChangeOutcome::NoSuchUser);
}

on_both!(
    users_are_filtered_by_name_phone_role_and_suspension,
    last_administrator_cannot_be_removed,
    unsuspended_user_regains_devices,
);
