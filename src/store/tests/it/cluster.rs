//! What one node owns no other writes, whatever happens between them.

use std::time::Duration;

use base::ids::{CallId, NodeId};
use serde_json::json;
use store::{
    CallMedia, CallWriteOutcome, FencingTokenRow, LeaseClaimOutcome, NewCall, NodeHeartbeat,
    NodeState, Store,
};

use crate::harness::{T0, at, on_both, people};

const TTL: Duration = Duration::from_secs(10);

fn beat(id: NodeId) -> NodeHeartbeat {
    NodeHeartbeat {
        id,
        name: "node".into(),
        url: String::new(),
        state: NodeState::Up,
        locked: true,
    }
}

async fn node(store: &Store, ttl: Duration) -> NodeId {
    let id = NodeId::new();
    store.join_cluster(beat(id), ttl).await.unwrap();
    id
}

fn fence(key: &str, owner: NodeId, epoch: i64) -> FencingTokenRow {
    FencingTokenRow { key: key.into(), owner, epoch }
}

async fn claim(store: &Store, me: NodeId) -> LeaseClaimOutcome {
    store.claim("room".into(), "a call".into(), me).await.unwrap()
}

async fn lease_has_one_owner_until_take_over(store: Store) {
    let (ann, bob) = (node(&store, TTL).await, node(&store, TTL).await);
    let LeaseClaimOutcome::New(first) = claim(&store, ann).await else { panic!("it was free") };
    assert_eq!((first.owner, first.epoch), (ann, 1));
    assert!(matches!(claim(&store, bob).await, LeaseClaimOutcome::Held(held) if held.owner == ann));
    store.leave_cluster(ann).await.unwrap();
    assert!(!store.beat(beat(ann), TTL).await.unwrap().alive, "the dead do not come back");

    let LeaseClaimOutcome::Taken(second) = claim(&store, bob).await else {
        panic!("its owner is dead")
    };
    assert_eq!((second.owner, second.epoch, second.value.as_str()), (bob, 2, "a call"));
    assert_eq!(claim(&store, ann).await, LeaseClaimOutcome::NotAlive);
    store.join_cluster(beat(ann), TTL).await.unwrap();
    assert!(store.beat(beat(ann), TTL).await.unwrap().alive, "unless they join anew");
    assert!(matches!(claim(&store, ann).await, LeaseClaimOutcome::Held(held) if held.owner == bob));
}

async fn concurrent_lease_claims_have_one_owner(store: Store) {
    let mut claims = Vec::new();
    for _ in 0..8 {
        let (store, me) = (store.clone(), node(&store, TTL).await);
        claims.push(tokio::spawn(async move { claim(&store, me).await }));
    }
    let mut new = 0;
    for claim in claims {
        new += usize::from(matches!(claim.await.unwrap(), LeaseClaimOutcome::New(_)));
    }

    assert_eq!(new, 1);
}

async fn write_with_stale_epoch_is_fenced(store: Store) {
    let [by, callee, _] = people(&store).await;
    let (ann, bob) = (node(&store, TTL).await, node(&store, TTL).await);
    claim(&store, ann).await;
    let old = fence("room", ann, 1);
    let id = CallId::new();
    let new = NewCall {
        id,
        conversation_id: None,
        session: None,
        created_by: by,
        media: CallMedia::Audio,
        node: ann,
        callees: vec![callee],
        unheard: Vec::new(),
        rings_until: at(45),
    };
    let begun = store.begin_call(new, Some(old.clone()), T0).await.unwrap();
    assert_eq!(begun, CallWriteOutcome::Done);
    let state = json!({ "mode": "sfu" });
    store.keep_call(id, state.clone(), Some(old.clone())).await.unwrap();
    let epoch = store.hand_over(old.clone(), bob).await.unwrap();
    assert_eq!(epoch, Some(2));

    let late = store.keep_call(id, json!({}), Some(old.clone())).await.unwrap();
    assert_eq!(late, CallWriteOutcome::Fenced);
    assert_eq!(
        store.answer_call(id, Some(old.clone()), at(1)).await.unwrap(),
        CallWriteOutcome::Fenced
    );
    assert_eq!(store.hand_over(old.clone(), ann).await.unwrap(), None);
    assert!(!store.release(old).await.unwrap());
    assert_eq!(store.kept_call(id).await.unwrap(), Some(state));
}

async fn node_without_heartbeat_loses_its_leases(store: Store) {
    let short = Duration::from_millis(300);
    let ann = node(&store, short).await;
    claim(&store, ann).await;
    assert!(store.orphans("ro".into()).await.unwrap().is_empty());
    let dead = async {
        while store.nodes().await.unwrap().iter().any(|node| node.id == ann) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), dead).await.unwrap();

    assert!(!store.beat(beat(ann), TTL).await.unwrap().alive);
    let bob = node(&store, TTL).await;
    assert_eq!(store.orphans("ro".into()).await.unwrap().len(), 1);
    assert!(
        matches!(claim(&store, bob).await, LeaseClaimOutcome::Taken(lease) if lease.epoch == 2)
    );
}

async fn node_declared_dead_rejoins_without_valid_fencing_tokens(store: Store) {
    let ann = node(&store, TTL).await;
    claim(&store, ann).await;
    store.leave_cluster(ann).await.unwrap();
    assert!(!store.beat(beat(ann), TTL).await.unwrap().alive);

    store.join_cluster(beat(ann), TTL).await.unwrap();

    assert!(store.beat(beat(ann), TTL).await.unwrap().alive);
    assert!(!store.note_lease(fence("room", ann, 1), String::new()).await.unwrap());
    assert!(matches!(claim(&store, ann).await, LeaseClaimOutcome::Held(held) if held.epoch == 2));
}

on_both! {
    node_declared_dead_rejoins_without_valid_fencing_tokens,
    lease_has_one_owner_until_take_over,
    concurrent_lease_claims_have_one_owner,
    write_with_stale_epoch_is_fenced,
    node_without_heartbeat_loses_its_leases,
}

mod death {
    //! Only on PostgreSQL: a death can be certified before the node's word is over.

    use store::NodeLock;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn node_is_declared_dead_only_after_lock_is_released() {
        crate::harness::on_postgres_at(|store, url| async move {
            let ann = node(&store, TTL).await;
            let lock = NodeLock::take(&url, ann).unwrap();
            until(|| async { lock.is_held() }).await;
            store.beat(beat(ann), TTL).await.unwrap();
            assert!(!store.certify_death(ann).await.unwrap(), "its process lives");
            drop(lock);

            until(|| async {
                store.beat(beat(ann), TTL).await.unwrap(); // its last word is fresh
                store.certify_death(ann).await.unwrap()
            })
            .await;
            assert!(!store.beat(beat(ann), TTL).await.unwrap().alive);
        })
        .await;
    }

    async fn until<F: Future<Output = bool>>(mut is: impl FnMut() -> F) {
        let wait = async {
            while !is().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    }
}
