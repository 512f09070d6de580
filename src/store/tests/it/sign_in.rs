//! Devices sign in, stay signed in, and are signed out.

use std::time::Duration;

use base::ids::DeviceId;
use store::{AuditFilter, DeviceRow, FirstAdminOutcome, RefreshOutcome, Role, Store, UserRow};

use crate::harness::{T0, at, audit, create_user, device, hash, new_user, on_both, refresh};

const GRACE: Duration = Duration::from_secs(10);

/// Ann's phone, signed in with refresh token 1.
async fn ann(store: &Store) -> (UserRow, DeviceRow) {
    let ann = create_user(store, "Ann").await;
    let phone = device(ann.id);
    let opened =
        store.create_device(phone, refresh(1, at(3600)), audit("auth.signed_in"), T0).await;
    (ann, opened.unwrap())
}

async fn rotate(store: &Store, old: u8, new: u8, seconds: u64) -> RefreshOutcome {
    let next = refresh(new, at(3600));
    store.rotate_refresh(hash(old), next, GRACE, at(seconds)).await.unwrap()
}

async fn refresh_token_rotates_repeatedly(store: Store) {
    let (ann, phone) = ann(&store).await;
    for n in 1..5 {
        let rotated = rotate(&store, n, n + 1, u64::from(n)).await;

        let seen = DeviceRow { last_seen_at: at(u64::from(n)), ..phone.clone() };
        assert_eq!(rotated, RefreshOutcome::Rotated(ann.clone(), seen));
    }
}

async fn duplicate_refresh_within_window_gets_same_result(store: Store) {
    let (_, phone) = ann(&store).await;
    let both = tokio::join!(rotate(&store, 1, 2, 1), rotate(&store, 1, 2, 1));

    let rotated =
        |r: &RefreshOutcome| matches!(r, RefreshOutcome::Rotated(_, d) if d.id == phone.id);
    let repeated =
        |r: &RefreshOutcome| matches!(r, RefreshOutcome::Repeated(_, d) if d.id == phone.id);
    assert!(
        rotated(&both.0) && repeated(&both.1) || rotated(&both.1) && repeated(&both.0),
        "{both:?}"
    );
    assert!(repeated(&rotate(&store, 1, 2, 11).await));
    assert!(rotated(&rotate(&store, 2, 3, 12).await));
}

async fn concurrent_refreshes_rotate_token_once(store: Store) {
    ann(&store).await;
    let shows: Vec<_> = (0..50)
        .map(|_| {
            let store = store.clone();
            tokio::task::spawn(async move { rotate(&store, 1, 2, 1).await })
        })
        .collect();
    let (mut rotated, mut repeated) = (0, 0);
    for shown in shows {
        match shown.await.unwrap() {
            RefreshOutcome::Rotated(..) => rotated += 1,
            RefreshOutcome::Repeated(..) => repeated += 1,
            other => panic!("{other:?}"),
        }
    }

    assert_eq!((rotated, repeated), (1, 49));
}

async fn refresh_token_reuse_revokes_device(store: Store) {
    for (other_successor, seconds, successor_used) in [(2, 12, false), (9, 2, false), (2, 2, true)]
    {
        let ann = create_user(&store, "Ann").await;
        let phone = device(ann.id);
        store.create_device(phone.clone(), refresh(1, at(3600)), audit("x"), T0).await.unwrap();
        rotate(&store, 1, 2, 1).await;
        if successor_used {
            rotate(&store, 2, 3, 1).await;
        }
        let reused = rotate(&store, 1, other_successor, seconds).await;

        assert_eq!(reused, RefreshOutcome::Reused { user_id: ann.id, device_id: phone.id });
        assert_eq!(rotate(&store, 2, 3, 3).await, RefreshOutcome::Unknown);
        assert_eq!(store.device_identity(phone.id).await.unwrap(), None);
        let entry = store.audit_page(AuditFilter::default(), None, 1).await.unwrap().remove(0);
        assert_eq!((entry.action.as_str(), entry.actor), ("auth.refresh_reused", Some(ann.id)));
        assert_eq!(entry.subject, phone.id.to_string());
        // The next round uses the same tokens.
        store.purge(at(999_999), Duration::ZERO, None).await.unwrap();
    }
}

async fn unknown_or_expired_refresh_token_is_rejected(store: Store) {
    ann(&store).await;
    assert_eq!(rotate(&store, 7, 8, 1).await, RefreshOutcome::Unknown);
    assert_eq!(rotate(&store, 1, 2, 3600).await, RefreshOutcome::Unknown);
}

async fn user_lists_and_revokes_own_devices(store: Store) {
    let (ann, phone) = ann(&store).await;
    let bob = create_user(&store, "Bob").await;
    let tablet = device(ann.id);
    store.create_device(tablet.clone(), refresh(2, at(60)), audit("x"), at(1)).await.unwrap();
    store.update_device_last_seen(phone.id, at(5)).await.unwrap();
    store.update_device_last_seen(phone.id, at(4)).await.unwrap();

    let seen: Vec<_> =
        store.devices(ann.id).await.unwrap().iter().map(|d| (d.id, d.last_seen_at)).collect();
    assert_eq!(seen, [(phone.id, at(5)), (tablet.id, at(1))]);
    let identity = store.device_identity(tablet.id).await.unwrap().unwrap();
    assert_eq!((identity.user.id, identity.device.id), (ann.id, tablet.id));

    let out = |user, id| store.revoke_device(user, id, audit("auth.signed_out"), at(6));
    assert!(!out(bob.id, phone.id).await.unwrap());
    assert!(!out(ann.id, DeviceId::new()).await.unwrap());
    assert!(out(ann.id, phone.id).await.unwrap());
    assert!(!out(ann.id, phone.id).await.unwrap());
    assert_eq!(store.device_identity(phone.id).await.unwrap(), None);
    assert_eq!(rotate(&store, 1, 3, 7).await, RefreshOutcome::Unknown);
    let left: Vec<_> = store.devices(ann.id).await.unwrap().iter().map(|d| d.id).collect();
    assert_eq!(left, [tablet.id]);
}

async fn concurrent_setup_link_use_creates_one_admin(store: Store) {
    store.create_setup_link(hash(1), at(60), T0).await.unwrap();
    store.create_setup_link(hash(2), at(60), T0).await.unwrap();
    let taken = create_user(&store, "Taken").await.phone;
    let come = |link: u8, phone: String, seconds: u64, token: u8| {
        let store = store.clone();
        async move {
            let new = new_user("Admin", &phone);
            let (phone, token) = (device(new.id), refresh(token, at(3600)));
            let entry = audit("user.first_admin");
            store.register_first_admin(hash(link), new, phone, token, entry, at(seconds)).await
        }
    };
    assert_eq!(come(1, "+1".into(), 1, 1).await, Ok(FirstAdminOutcome::LinkNotFound));
    assert_eq!(come(2, "+1".into(), 60, 1).await, Ok(FirstAdminOutcome::LinkNotFound));
    assert_eq!(come(2, taken, 1, 1).await, Ok(FirstAdminOutcome::PhoneTaken));
    let tries: Vec<_> =
        (0..20).map(|n| tokio::task::spawn(come(2, format!("+1{n}"), 2, 100 + n))).collect();
    let mut admins = Vec::new();
    for attempt in tries {
        match attempt.await.unwrap().unwrap() {
            FirstAdminOutcome::Done(user, device) => admins.push((user, device)),
            other => assert_eq!(other, FirstAdminOutcome::LinkNotFound),
        }
    }

    assert_eq!(admins.len(), 1);
    assert_eq!(admins[0].0.role, Role::Admin);
    assert!(store.device_identity(admins[0].1.id).await.unwrap().is_some());
    assert_eq!(store.count_users().await.unwrap(), 2);
}

on_both!(
    refresh_token_rotates_repeatedly,
    duplicate_refresh_within_window_gets_same_result,
    concurrent_refreshes_rotate_token_once,
    refresh_token_reuse_revokes_device,
    unknown_or_expired_refresh_token_is_rejected,
    user_lists_and_revokes_own_devices,
    concurrent_setup_link_use_creates_one_admin,
);
