//! A node's leases and fenced writes stay exclusive, whatever happens between nodes.

use std::time::Duration;

use base::ids::{CallId, NodeId};
use serde_json::json;
use store::{
    CallMedia, CallWriteOutcome, FencingTokenRow, LeaseClaimOutcome, NewCall, NodeHeartbeat,
    NodeState, Store,
};

use crate::harness::{T0, at, create_users, on_both};

const TTL: Duration = Duration::from_secs(10);

fn node_heartbeat(id: NodeId) -> NodeHeartbeat {
    NodeHeartbeat {
        id,
        name: "node".into(),
        url: String::new(),
        state: NodeState::Up,
        holds_lock: true,
    }
}

async fn node(store: &Store, ttl: Duration) -> NodeId {
    let id = NodeId::new();
    store.join_cluster(node_heartbeat(id), ttl).await.unwrap();
    id
}

fn token(key: &str, owner: NodeId, epoch: i64) -> FencingTokenRow {
    FencingTokenRow { key: key.into(), owner, epoch }
}

async fn claim(store: &Store, me: NodeId) -> LeaseClaimOutcome {
    store.claim_lease("room".into(), "a call".into(), me).await.unwrap()
}

async fn lease_has_one_owner_until_take_over(store: Store) {
    let (ann, bob) = (node(&store, TTL).await, node(&store, TTL).await);
    let LeaseClaimOutcome::Created(first) = claim(&store, ann).await else {
        panic!("the lease was free")
    };
    assert_eq!((first.owner, first.epoch), (ann, 1));
    assert!(matches!(claim(&store, bob).await, LeaseClaimOutcome::Held(held) if held.owner == ann));
    store.leave_cluster(ann).await.unwrap();
    assert!(
        !store.heartbeat(node_heartbeat(ann), TTL).await.unwrap().is_alive,
        "a dead node cannot renew"
    );

    let LeaseClaimOutcome::TakenOver(second) = claim(&store, bob).await else {
        panic!("the owner is dead")
    };
    assert_eq!((second.owner, second.epoch, second.value.as_str()), (bob, 2, "a call"));
    assert_eq!(claim(&store, ann).await, LeaseClaimOutcome::NotAlive);
    store.join_cluster(node_heartbeat(ann), TTL).await.unwrap();
    assert!(
        store.heartbeat(node_heartbeat(ann), TTL).await.unwrap().is_alive,
        "it can after joining again"
    );
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
        new += usize::from(matches!(claim.await.unwrap(), LeaseClaimOutcome::Created(_)));
    }

    assert_eq!(new, 1);
}

async fn write_with_stale_epoch_is_fenced(store: Store) {
    let [by, callee, _] = create_users(&store).await;
    let (ann, bob) = (node(&store, TTL).await, node(&store, TTL).await);
    claim(&store, ann).await;
    let old = token("room", ann, 1);
    let id = CallId::new();
    let new = NewCall {
        id,
        conversation_id: None,
        session: None,
        created_by: by,
        media: CallMedia::Audio,
        node: ann,
        callees: vec![callee],
        shadow_blocked: Vec::new(),
        rings_until: at(45),
    };
    let created = store.create_call(new, Some(old.clone()), T0).await.unwrap();
    assert_eq!(created, CallWriteOutcome::Done);
    let state = json!({ "mode": "sfu" });
    store.save_call_state(id, state.clone(), Some(old.clone())).await.unwrap();
    let epoch = store.transfer_lease(old.clone(), bob).await.unwrap();
    assert_eq!(epoch, Some(2));

    let late = store.save_call_state(id, json!({}), Some(old.clone())).await.unwrap();
    assert_eq!(late, CallWriteOutcome::Fenced);
    assert_eq!(
        store.answer_call(id, Some(old.clone()), at(1)).await.unwrap(),
        CallWriteOutcome::Fenced
    );
    assert_eq!(store.transfer_lease(old.clone(), ann).await.unwrap(), None);
    assert!(!store.release_lease(old).await.unwrap());
    assert_eq!(store.call_state(id).await.unwrap(), Some(state));
}

async fn node_without_heartbeat_loses_its_leases(store: Store) {
    let short = Duration::from_millis(300);
    let ann = node(&store, short).await;
    claim(&store, ann).await;
    assert!(store.orphaned_leases("ro".into()).await.unwrap().is_empty());
    let dead = async {
        while store.live_nodes().await.unwrap().iter().any(|node| node.id == ann) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), dead).await.unwrap();

    assert!(!store.heartbeat(node_heartbeat(ann), TTL).await.unwrap().is_alive);
    let bob = node(&store, TTL).await;
    assert_eq!(store.orphaned_leases("ro".into()).await.unwrap().len(), 1);
    assert!(
        matches!(claim(&store, bob).await, LeaseClaimOutcome::TakenOver(lease) if lease.epoch == 2)
    );
}

async fn node_declared_dead_rejoins_without_valid_fencing_tokens(store: Store) {
    let ann = node(&store, TTL).await;
    claim(&store, ann).await;
    store.leave_cluster(ann).await.unwrap();
    assert!(!store.heartbeat(node_heartbeat(ann), TTL).await.unwrap().is_alive);

    store.join_cluster(node_heartbeat(ann), TTL).await.unwrap();

    assert!(store.heartbeat(node_heartbeat(ann), TTL).await.unwrap().is_alive);
    assert!(!store.set_lease_value(token("room", ann, 1), String::new()).await.unwrap());
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
    //! PostgreSQL only: a node can be declared dead before its heartbeat expires.

    use store::NodeLock;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn node_is_declared_dead_only_after_lock_is_released() {
        crate::harness::on_postgres_at(|store, url| async move {
            let ann = node(&store, TTL).await;
            let lock = NodeLock::take(&url, ann).unwrap();
            wait_until(|| async { lock.is_held() }).await;
            store.heartbeat(node_heartbeat(ann), TTL).await.unwrap();
            assert!(!store.declare_dead(ann).await.unwrap(), "its process is running");
            drop(lock);

            wait_until(|| async {
                store.heartbeat(node_heartbeat(ann), TTL).await.unwrap(); // its last heartbeat is recent
                store.declare_dead(ann).await.unwrap()
            })
            .await;
            assert!(!store.heartbeat(node_heartbeat(ann), TTL).await.unwrap().is_alive);
        })
        .await;
    }

    async fn wait_until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
    }
}
