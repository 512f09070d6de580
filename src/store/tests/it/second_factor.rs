//! A second-factor code works once, even for concurrent sign-ins.

use base::ids::UserId;
use store::{NewDeviceRow, SealedColumn, SecondFactorProof, SignIn, SignInOutcome, Store};

use crate::harness::{T0, any_hash, at, audit, create_user, device, hash, on_both, refresh};

const PASSWORD: &str = "$argon2id$…"; // password hash of all users in these tests

async fn with_factor(store: &Store) -> UserId {
    let ann = create_user(store, "Ann").await.id;
    assert!(store.begin_second_factor(ann, vec![1], T0).await.unwrap());
    let codes = vec![hash(1), hash(2)];
    let confirmed = store.confirm_second_factor(ann, vec![1], 100, codes, audit("on"), T0).await;
    assert!(confirmed.unwrap());
    ann
}

async fn sign_in(store: &Store, user: UserId, factor: Option<SecondFactorProof>) -> SignInOutcome {
    let refresh = store::NewRefresh { hash: any_hash(), ..refresh(0, at(99)) };
    let device: NewDeviceRow = device(user);
    let new = SignIn { device, refresh, password_hash: PASSWORD.into(), second_factor: factor };
    store.sign_in(new, audit("in"), at(1)).await.unwrap()
}

async fn concurrent_use_of_one_code_signs_in_once(store: Store) {
    let ann = with_factor(&store).await;
    for factor in [SecondFactorProof::TotpStep(101), SecondFactorProof::RecoveryCode(hash(1))] {
        let knocks: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::task::spawn(async move { sign_in(&store, ann, Some(factor)).await })
            })
            .collect();
        let mut inside = 0;
        for knock in knocks {
            match knock.await.unwrap() {
                SignInOutcome::Done(_) => inside += 1,
                SignInOutcome::SecondFactorRejected => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(inside, 1, "{factor:?}");
    }

    assert_eq!(store.devices(ann).await.unwrap().len(), 2);
    assert_eq!(store.second_factor(ann).await.unwrap().unwrap().recovery_codes, 1);
    assert_eq!(
        sign_in(&store, ann, Some(SecondFactorProof::TotpStep(100))).await,
        SignInOutcome::SecondFactorRejected
    );
    assert_eq!(sign_in(&store, ann, None).await, SignInOutcome::SecondFactorRequired);
    assert!(matches!(
        sign_in(&store, ann, Some(SecondFactorProof::TotpStep(102))).await,
        SignInOutcome::Done(_)
    ));
}

async fn second_factor_must_be_dropped_before_replacement(store: Store) {
    let ann = with_factor(&store).await;
    assert!(!store.begin_second_factor(ann, vec![2], at(1)).await.unwrap());
    let spent =
        store.remove_second_factor(ann, SecondFactorProof::TotpStep(100), audit("off"), at(1));
    assert!(!spent.await.unwrap());
    let dropped =
        store.remove_second_factor(ann, SecondFactorProof::TotpStep(101), audit("off"), at(1));
    assert!(dropped.await.unwrap());

    assert_eq!(store.second_factor(ann).await.unwrap(), None);
    assert!(matches!(sign_in(&store, ann, None).await, SignInOutcome::Done(_)));
    assert!(
        !store.consume_second_factor(ann, SecondFactorProof::RecoveryCode(hash(1))).await.unwrap()
    );
}

async fn stale_password_hash_cannot_sign_in_or_change_password(store: Store) {
    let ann = create_user(&store, "Ann").await.id;
    let SignInOutcome::Done(phone) = sign_in(&store, ann, None).await else {
        panic!("must succeed")
    };
    let SignInOutcome::Done(tablet) = sign_in(&store, ann, None).await else {
        panic!("must succeed")
    };
    let (old, new) = (PASSWORD.to_owned(), "new".to_owned());
    let change = |old, new| store.change_password(ann, old, new, phone.id, audit("pw"), at(2));
    let ended = change(old.clone(), new.clone()).await.unwrap();

    assert_eq!(ended, Some(vec![tablet.id]));
    assert_eq!(change(old, new).await.unwrap(), None);
    assert_eq!(sign_in(&store, ann, None).await, SignInOutcome::Rejected);
    assert!(store.device_identity(phone.id).await.unwrap().is_some());
    assert!(store.device_identity(tablet.id).await.unwrap().is_none());
}

async fn only_newest_reset_link_works_once(store: Store) {
    let ann = with_factor(&store).await;
    for n in [1, 2] {
        let put = store.create_reset_link(ann, hash(n), n == 2, at(10), audit("link"), T0);
        assert!(put.await.unwrap());
    }
    assert_eq!(store.reset_link_user(hash(1), T0).await.unwrap(), None);
    assert_eq!(store.reset_link_user(hash(2), at(9)).await.unwrap(), Some(ann));
    assert_eq!(store.reset_link_user(hash(2), at(10)).await.unwrap(), None);
    let reset = async || {
        let reset = store.reset_password(hash(2), "new".into(), audit("reset"), at(9)).await;
        reset.unwrap()
    };
    let (one, other) = tokio::join!(reset(), reset());

    assert_eq!(u8::from(one.is_some()) + u8::from(other.is_some()), 1);
    assert_eq!(store.password_hash(ann).await.unwrap().as_deref(), Some("new"));
    assert_eq!(
        store.second_factor(ann).await.unwrap(),
        None,
        "the link also removes the second factor"
    );
}

async fn reseal_is_compare_and_swap(store: Store) {
    let ann = with_factor(&store).await;
    let column = SealedColumn::SecondFactor;
    let rows = store.sealed_values(column, None, 10).await.unwrap();
    let (row, old) = (rows[0].row_id, rows[0].value.clone());

    assert_eq!((row, old.as_slice()), (ann.uuid(), &[1][..]));
    assert!(store.reseal(column, row, old.clone(), vec![9]).await.unwrap());
    assert!(!store.reseal(column, row, old, vec![8]).await.unwrap());
    assert_eq!(store.second_factor(ann).await.unwrap().unwrap().secret, [9]);
    assert!(store.sealed_values(column, Some(row), 10).await.unwrap().is_empty());
}

on_both!(
    concurrent_use_of_one_code_signs_in_once,
    second_factor_must_be_dropped_before_replacement,
    stale_password_hash_cannot_sign_in_or_change_password,
    only_newest_reset_link_works_once,
    reseal_is_compare_and_swap,
);
