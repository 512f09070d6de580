//! A code opens one door once, whoever knocks at the same time.

use base::ids::UserId;
use store::{NewDeviceRow, SealedColumn, SecondFactorProof, SignIn, SignInOutcome, Store};

use crate::harness::{T0, any_hash, at, audit, device, hash, on_both, refresh, somebody};

const PASSWORD: &str = "$argon2id$…"; // of everybody in these stories

async fn with_factor(store: &Store) -> UserId {
    let ann = somebody(store, "Ann").await.id;
    assert!(store.put_second_factor(ann, vec![1], T0).await.unwrap());
    let codes = vec![hash(1), hash(2)];
    let confirmed = store.confirm_second_factor(ann, vec![1], 100, codes, audit("on"), T0).await;
    assert!(confirmed.unwrap());
    ann
}

async fn signs_in(store: &Store, user: UserId, factor: Option<SecondFactorProof>) -> SignInOutcome {
    let refresh = store::NewRefresh { hash: any_hash(), ..refresh(0, at(99)) };
    let device: NewDeviceRow = device(user);
    let new = SignIn { device, refresh, password_hash: PASSWORD.into(), factor };
    store.sign_in(new, audit("in"), at(1)).await.unwrap()
}

async fn concurrent_use_of_one_code_signs_in_once(store: Store) {
    let ann = with_factor(&store).await;
    for factor in [SecondFactorProof::Step(101), SecondFactorProof::Recovery(hash(1))] {
        let knocks: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::task::spawn(async move { signs_in(&store, ann, Some(factor)).await })
            })
            .collect();
        let mut inside = 0;
        for knock in knocks {
            match knock.await.unwrap() {
                SignInOutcome::Done(_) => inside += 1,
                SignInOutcome::FactorRefused => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(inside, 1, "{factor:?}");
    }

    assert_eq!(store.devices(ann).await.unwrap().len(), 2);
    assert_eq!(store.second_factor(ann).await.unwrap().unwrap().recovery_codes, 1);
    assert_eq!(
        signs_in(&store, ann, Some(SecondFactorProof::Step(100))).await,
        SignInOutcome::FactorRefused
    );
    assert_eq!(signs_in(&store, ann, None).await, SignInOutcome::FactorMissing);
    assert!(matches!(
        signs_in(&store, ann, Some(SecondFactorProof::Step(102))).await,
        SignInOutcome::Done(_)
    ));
}

async fn second_factor_must_be_dropped_before_replacement(store: Store) {
    let ann = with_factor(&store).await;
    assert!(!store.put_second_factor(ann, vec![2], at(1)).await.unwrap());
    let spent = store.drop_second_factor(ann, SecondFactorProof::Step(100), audit("off"), at(1));
    assert!(!spent.await.unwrap());
    let dropped = store.drop_second_factor(ann, SecondFactorProof::Step(101), audit("off"), at(1));
    assert!(dropped.await.unwrap());

    assert_eq!(store.second_factor(ann).await.unwrap(), None);
    assert!(matches!(signs_in(&store, ann, None).await, SignInOutcome::Done(_)));
    assert!(!store.spend_factor(ann, SecondFactorProof::Recovery(hash(1))).await.unwrap());
}

async fn stale_password_hash_cannot_sign_in_or_change_password(store: Store) {
    let ann = somebody(&store, "Ann").await.id;
    let SignInOutcome::Done(phone) = signs_in(&store, ann, None).await else { panic!("she may") };
    let SignInOutcome::Done(tablet) = signs_in(&store, ann, None).await else { panic!("she may") };
    let (old, new) = (PASSWORD.to_owned(), "new".to_owned());
    let change = |old, new| store.change_password(ann, old, new, phone.id, audit("pw"), at(2));
    let ended = change(old.clone(), new.clone()).await.unwrap();

    assert_eq!(ended, Some(vec![tablet.id]));
    assert_eq!(change(old, new).await.unwrap(), None);
    assert_eq!(signs_in(&store, ann, None).await, SignInOutcome::Refused);
    assert!(store.identity(phone.id).await.unwrap().is_some());
    assert!(store.identity(tablet.id).await.unwrap().is_none());
}

async fn only_newest_reset_link_works_once(store: Store) {
    let ann = with_factor(&store).await;
    for n in [1, 2] {
        let put = store.put_reset_link(ann, hash(n), n == 2, at(10), audit("link"), T0);
        assert!(put.await.unwrap());
    }
    assert_eq!(store.reset_link(hash(1), T0).await.unwrap(), None);
    assert_eq!(store.reset_link(hash(2), at(9)).await.unwrap(), Some(ann));
    assert_eq!(store.reset_link(hash(2), at(10)).await.unwrap(), None);
    let reset = async || {
        let reset = store.reset_password(hash(2), "new".into(), audit("reset"), at(9)).await;
        reset.unwrap()
    };
    let (one, other) = tokio::join!(reset(), reset());

    assert_eq!(u8::from(one.is_some()) + u8::from(other.is_some()), 1);
    assert_eq!(store.password_of(ann).await.unwrap().as_deref(), Some("new"));
    assert_eq!(store.second_factor(ann).await.unwrap(), None, "it was lost, so it goes too");
}

async fn reseal_is_compare_and_swap(store: Store) {
    let ann = with_factor(&store).await;
    let column = SealedColumn::SecondFactor;
    let rows = store.sealed_values(column, None, 10).await.unwrap();
    let (row, old) = (rows[0].row, rows[0].value.clone());

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
