//! API tokens of machines.

use base::ids::ApiTokenId;
use store::{NewApiToken, Store};

use crate::harness::{T0, at, audit, create_user, hash, on_both};

async fn api_token_works_until_expiry_or_revocation(store: Store) {
    let ann = create_user(&store, "Ann").await;
    let new = |n: u8, expires_at| NewApiToken {
        id: ApiTokenId::new(),
        name: format!("ci {n}"),
        hash: hash(n),
        scopes: vec!["builds:write".into(), "builds:read".into()],
        created_by: Some(ann.id),
        expires_at,
    };
    let short = store.create_token(new(1, Some(at(60))), audit("x"), T0).await.unwrap();
    let long = store.create_token(new(2, None), audit("x"), T0).await.unwrap();
    assert_eq!(short.scopes, ["builds:write", "builds:read"]);
    assert_eq!((short.created_by, short.last_used_at), (Some(ann.id), None));

    assert_eq!(store.token_by_hash(hash(1), at(59)).await.unwrap().map(|t| t.id), Some(short.id));
    assert_eq!(store.token_by_hash(hash(1), at(60)).await.unwrap(), None);
    assert_eq!(store.token_by_hash(hash(3), at(1)).await.unwrap(), None);
    assert!(store.revoke_token(long.id, audit("x"), at(2)).await.unwrap());
    assert!(!store.revoke_token(long.id, audit("x"), at(3)).await.unwrap());
    assert!(!store.revoke_token(ApiTokenId::new(), audit("x"), at(3)).await.unwrap());
    assert_eq!(store.token_by_hash(hash(2), at(4)).await.unwrap(), None);

    let first = store.tokens(None, 1).await.unwrap();
    let rest = store.tokens(Some(first[0].id), 10).await.unwrap();
    assert_eq!((first[0].id, rest[0].id, rest.len()), (short.id, long.id, 1));
    assert_eq!(rest[0].revoked_at, Some(at(2)));
}

async fn api_token_last_use_has_minute_resolution(store: Store) {
    let new = NewApiToken {
        id: ApiTokenId::new(),
        name: "ci".into(),
        hash: hash(1),
        scopes: vec![],
        created_by: None,
        expires_at: None,
    };
    store.create_token(new, audit("x"), T0).await.unwrap();
    let mut used = Vec::new();
    for seconds in [10, 40, 69, 70, 100] {
        store.token_by_hash(hash(1), at(seconds)).await.unwrap().unwrap();
        used.push(store.tokens(None, 1).await.unwrap()[0].last_used_at.unwrap());
    }

    assert_eq!(used, [at(10), at(10), at(10), at(70), at(70)]);
}

on_both!(api_token_works_until_expiry_or_revocation, api_token_last_use_has_minute_resolution,);
