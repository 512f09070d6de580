//! The directory: the same stories for a node that is alone and for nodes that share a database.

use std::sync::Arc;

use base::clock::Clock;
use base::ids::NodeId;
use securevox::cluster::{
    ClaimOutcome, DirectoryError, LocalDirectory, NodeLeases, Ownership, OwnershipDirectory,
};
use store::{NodeLock, NodeState, Store};
use tempfile::TempDir;

use crate::support::{self, Backend};

/// Where nodes are.
enum Place {
    Alone,
    Shared { store: Store, url: String, _files: TempDir },
}

struct Member {
    id: NodeId,
    directory: Arc<dyn OwnershipDirectory>,
    leases: Option<NodeLeases>,
    lock: Option<Arc<NodeLock>>,
}

impl Place {
    #[expect(clippy::unused_async, reason = "as for the others")]
    async fn alone() -> Option<Self> {
        Some(Self::Alone)
    }

    async fn on(url: String, files: TempDir) -> Self {
        let store = Store::open(store::StoreConfig::new(url.clone())).await.unwrap();
        Self::Shared { store, url, _files: files }
    }

    async fn sqlite() -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", files.path().join("db").display());
        Some(Self::on(url, files).await)
    }

    async fn postgres() -> Option<Self> {
        let Backend::Postgres(url) = support::postgres::fresh().await? else { return None };
        Some(Self::on(url, tempfile::tempdir().unwrap()).await)
    }

    /// One that nobody has heard of yet.
    fn stranger(&self) -> Member {
        let id = NodeId::new();
        match self {
            Self::Alone => {
                let directory = Arc::new(LocalDirectory::new(id));
                Member { id, directory, leases: None, lock: None }
            }
            Self::Shared { store, url, .. } => {
                let lock = Arc::new(NodeLock::take(url, id).unwrap());
                let (name, held) = (id.to_string(), Arc::clone(&lock));
                let of = Arc::new(store.clone());
                let leases = NodeLeases::new(
                    of,
                    Clock::wall(),
                    Arc::new(move || held.is_held()),
                    id,
                    name,
                    String::new(),
                );
                let directory = Arc::new(leases.clone());
                Member { id, directory, leases: Some(leases), lock: Some(lock) }
            }
        }
    }

    /// One that lives.
    async fn node(&self) -> Member {
        let member = self.stranger();
        if let (Some(leases), Some(lock)) = (&member.leases, &member.lock) {
            while !lock.is_held() {
                tokio::task::yield_now().await;
            }
            leases.join().await.unwrap();
        }
        member
    }
}

macro_rules! on {
    ($place:ident: $($story:ident),+ $(,)?) => {
        mod $place {
            $(#[actix_web::test]
            async fn $story() {
                if let Some(place) = super::Place::$place().await {
                    super::$story(place).await;
                }
            })+
        }
    };
}

on!(alone: claimed_key_is_found_until_released, unknown_key_and_node_yield_nothing);

macro_rules! on_shared {
    ($($place:ident),+) => {
        $(on!($place:
            claimed_key_is_found_until_released,
            unknown_key_and_node_yield_nothing,
            lease_of_live_node_cannot_be_claimed_by_others,
            hand_off_increments_epoch_and_voids_old_fencing_token,
            leases_of_departed_node_can_be_taken_over,
            node_outside_cluster_cannot_hold_leases,
        );)+
    };
}

on_shared!(sqlite, postgres);

async fn claimed_key_is_found_until_released(place: Place) {
    let ann = place.node().await;
    let directory = &ann.directory;
    assert!(directory.lease_is_valid());
    let ClaimOutcome::Owned { epoch, previous_value: None } =
        directory.claim("k", "v").await.unwrap()
    else {
        panic!("nobody had it")
    };
    let mine = Ownership { owner: ann.id, epoch, value: "v".to_owned() };
    assert!(directory.owns(&mine));
    assert_eq!(directory.claim("k", "other").await.unwrap(), ClaimOutcome::Held(mine.clone()));
    assert_eq!(directory.owner_of("k").await.unwrap(), Some(mine.clone()));
    assert_eq!(directory.find_by_value("v").await.unwrap(), Some(("k".to_owned(), mine)));
    assert_eq!(directory.find_by_value("other").await.unwrap(), None);

    assert!(!directory.set_value("k", epoch + 1, "wrong").await.unwrap());
    assert!(directory.set_value("k", epoch, "w").await.unwrap());
    assert_eq!(directory.owner_of("k").await.unwrap().unwrap().value, "w");
    assert_eq!(directory.find_by_value("w").await.unwrap().unwrap().0, "k");
    directory.release("k", epoch + 1).await.unwrap();
    assert!(directory.owner_of("k").await.unwrap().is_some());

    directory.release("k", epoch).await.unwrap();
    assert_eq!(directory.owner_of("k").await.unwrap(), None);
    assert!(!directory.set_value("k", epoch, "late").await.unwrap());
    let again = directory.claim("k", "x").await.unwrap();
    assert!(matches!(again, ClaimOutcome::Owned { previous_value: None, .. }), "{again:?}");
}

async fn unknown_key_and_node_yield_nothing(place: Place) {
    let (ann, nobody) = (place.node().await, NodeId::new());
    let directory = &ann.directory;

    assert_eq!(directory.owner_of("k").await.unwrap(), None);
    assert_eq!(directory.find_by_value("v").await.unwrap(), None);
    assert_eq!(directory.take_over("k", nobody, 1).await.unwrap(), None);
    assert!(!directory.set_value("k", 1, "v").await.unwrap());
    directory.release("k", 1).await.unwrap();
    assert!(!directory.owns(&Ownership { owner: nobody, epoch: 1, value: String::new() }));
    assert!(directory.is_dead(nobody).await.unwrap());
    assert!(!directory.is_dead(ann.id).await.unwrap());
    let fence = directory.fencing_token("k", 7).map(|fence| (fence.key, fence.owner, fence.epoch));
    let expected = ann.leases.is_some().then(|| ("k".to_owned(), ann.id, 7));
    assert_eq!(fence, expected, "only where others write");
}

async fn lease_of_live_node_cannot_be_claimed_by_others(place: Place) {
    let (ann, bob) = (place.node().await, place.node().await);
    ann.directory.claim("k", "v").await.unwrap();

    let claimed = bob.directory.claim("k", "w").await.unwrap();

    let held = Ownership { owner: ann.id, epoch: 1, value: "v".to_owned() };
    assert!(!bob.directory.owns(&held) && ann.directory.owns(&held));
    assert_eq!(claimed, ClaimOutcome::Held(held));
    assert!(!bob.directory.set_value("k", 1, "w").await.unwrap());
    bob.directory.release("k", 1).await.unwrap();
    assert!(ann.directory.set_value("k", 1, "still").await.unwrap());
    assert!(!bob.directory.is_dead(ann.id).await.unwrap());
}

async fn hand_off_increments_epoch_and_voids_old_fencing_token(place: Place) {
    let (ann, bob) = (place.node().await, place.node().await);
    ann.directory.claim("k", "v").await.unwrap();
    assert_eq!(bob.directory.take_over("k", ann.id, 2).await.unwrap(), None);

    assert_eq!(bob.directory.take_over("k", ann.id, 1).await.unwrap(), Some(2));

    assert_eq!(bob.directory.take_over("k", ann.id, 1).await.unwrap(), None);
    assert!(!ann.directory.set_value("k", 1, "late").await.unwrap());
    ann.directory.release("k", 1).await.unwrap();
    let held = Ownership { owner: bob.id, epoch: 2, value: "v".to_owned() };
    assert_eq!(ann.directory.owner_of("k").await.unwrap(), Some(held));
}

async fn leases_of_departed_node_can_be_taken_over(place: Place) {
    let (ann, bob) = (place.node().await, place.node().await);
    ann.directory.claim("k", "v").await.unwrap();
    let leases = ann.leases.unwrap();
    assert!(bob.leases.as_ref().unwrap().orphaned_leases("k").await.unwrap().is_empty());

    leases.leave().await.unwrap();

    assert!(!leases.lease_is_valid());
    assert!(bob.directory.is_dead(ann.id).await.unwrap());
    let orphans = bob.leases.as_ref().unwrap().orphaned_leases("k").await.unwrap();
    assert_eq!(orphans.len(), 1);
    let taken = bob.directory.claim("k", "w").await.unwrap();
    assert_eq!(taken, ClaimOutcome::Owned { epoch: 2, previous_value: Some("v".to_owned()) });
    let nodes = bob.leases.as_ref().unwrap().live_nodes().await.unwrap();
    assert_eq!(nodes.into_iter().map(|node| node.id).collect::<Vec<_>>(), [bob.id]);
}

async fn node_outside_cluster_cannot_hold_leases(place: Place) {
    let ann = place.stranger();
    let claimed = ann.directory.claim("k", "v").await;
    assert!(matches!(claimed, Err(DirectoryError::NotAlive)), "{claimed:?}");
    assert!(!ann.directory.lease_is_valid());
    let leases = ann.leases.unwrap();
    assert!(!leases.heartbeat(NodeState::Up).await.unwrap().is_alive);
    assert!(!leases.lease_is_valid());

    assert!(leases.join().await.unwrap().is_alive);

    assert!(leases.lease_is_valid());
    let claimed = leases.claim("k", "v").await.unwrap();
    assert!(
        matches!(claimed, ClaimOutcome::Owned { epoch: 1, previous_value: None }),
        "{claimed:?}"
    );
}
