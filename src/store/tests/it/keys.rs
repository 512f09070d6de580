//! One signing key is active; earlier ones still verify for a while.

use std::time::Duration;

use base::ids::KeyId;
use base::secret::Secret;
use store::{NewKey, Store};

use crate::harness::{T0, at, on_both};

fn pair(n: u8) -> NewKey {
    NewKey { id: KeyId::new(), private: Secret::new(vec![n, 0, 255]), public: vec![n] }
}

async fn concurrent_nodes_agree_on_one_signing_key(store: Store) {
    let starts: Vec<_> = (0..20)
        .map(|n| {
            let store = store.clone();
            tokio::task::spawn(
                async move { store.ensure_signing_key(pair(n), T0).await.unwrap().id },
            )
        })
        .collect();
    let mut ids = Vec::new();
    for start in starts {
        ids.push(start.await.unwrap());
    }

    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(store.signing_keys().await.unwrap().len(), 1);
}

async fn rotated_key_is_retired_and_purged_after_a_month(store: Store) {
    let old = store.ensure_signing_key(pair(1), T0).await.unwrap();
    let new = store.rotate_signing_key(pair(2), at(10)).await.unwrap();
    let keys = store.signing_keys().await.unwrap();
    assert_eq!(store.ensure_signing_key(pair(3), at(11)).await.unwrap().id, new.id);

    assert_eq!([keys[0].id, keys[1].id], [new.id, old.id]);
    assert_eq!((keys[0].retired_at, keys[1].retired_at), (None, Some(at(10))));
    assert_eq!(
        (keys[1].private.expose().as_slice(), keys[1].public.as_slice()),
        (&[1, 0, 255][..], &[1][..])
    );

    let day = 24 * 3600;
    let purged = |days: u64| store.purge(at(days * day), Duration::ZERO, None);
    assert_eq!(purged(30).await.unwrap().unwrap().keys, 0);
    assert_eq!(purged(31).await.unwrap().unwrap().keys, 1);
    assert_eq!(purged(999).await.unwrap().unwrap().keys, 0);
    assert_eq!(store.signing_keys().await.unwrap()[0].id, new.id);
}

on_both!(
    concurrent_nodes_agree_on_one_signing_key,
    rotated_key_is_retired_and_purged_after_a_month,
);
