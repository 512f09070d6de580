//! Calls with failing dependencies: rooms that do not start, a cache that is unreachable.

use std::sync::Arc;
use std::time::Duration;

use base::clock::Clock;
use base::ids::{DeviceId, SessionId, UserId};
use base::random::RandomSource;
use store::{NewAudit, NewUserRow, Role, Store};

use super::CallService;
use crate::actors::delivery::EventRouter;
use crate::actors::media;
use crate::actors::peer_nodes::PeerNodes;
use crate::actors::supervision::dynamic_supervisor;
use crate::cluster::cache::BoxFuture;
use crate::cluster::{Cache, CacheError, InProcessBus, LocalDirectory, RateLimit, RateLimitError};
use crate::config;
use crate::domain::accounts::TokenSigner;
use crate::domain::calls::{CallDomain, CallDomainDeps, CallError, TurnCredentials};
use crate::domain::identity::Principal;
use crate::domain::vault::{Vault, new_key};
use crate::protocol::calls::{CallEndReason, JoinCall};
use crate::protocol::client::CallClientEvent;

/// A cache that cannot be reached.
struct UnreachableCache;

impl Cache for UnreachableCache {
    fn take<'a>(&'a self, _: RateLimit, _: &'a str) -> BoxFuture<'a, Result<(), RateLimitError>> {
        Box::pin(async { Err(CacheError.into()) })
    }

    fn put<'a>(
        &'a self,
        _: &'a str,
        _: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>> {
        Box::pin(async { Err(CacheError) })
    }

    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>> {
        Box::pin(async { Err(CacheError) })
    }

    fn remove<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), CacheError>> {
        Box::pin(async { Err(CacheError) })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), CacheError>> {
        Box::pin(async { Err(CacheError) })
    }
}

async fn add_user(store: &Store, clock: &Clock) -> Principal {
    let new = NewUserRow {
        id: UserId::new(),
        phone: "+4915110000001".to_owned(),
        name: "Ann".to_owned(),
        role: Role::User,
        password_hash: String::new(),
    };
    let audit = NewAudit {
        actor: None,
        action: "user.added".to_owned(),
        subject: "Ann".to_owned(),
        detail: serde_json::Value::Null,
        ip: None,
    };
    let principal = Principal {
        user: new.id,
        device: DeviceId::new(),
        name: new.name.clone(),
        phone: new.phone.clone(),
        role: Role::User,
        call_grant: None,
    };
    store.add_user(new, audit, clock.now()).await.unwrap();
    principal
}

async fn store_in(dir: &tempfile::TempDir) -> Store {
    let file = dir.path().join("store.db");
    Store::open(store::StoreConfig::new(format!("sqlite:{}", file.display()))).await.unwrap()
}

/// A call service whose supervision tree was never launched: no room starts.
async fn service_without_rooms(store: &Store, clock: &Clock) -> CallService {
    let config = config::load("", []).unwrap();
    let vault = Vault::new(&[new_key(1, &RandomSource::system())], RandomSource::system()).unwrap();
    let keys =
        TokenSigner::open(store.clone(), vault, clock.clone(), "http://localhost").await.unwrap();
    let domain = CallDomain::new(CallDomainDeps {
        store: store.clone(),
        clock: clock.clone(),
        keys,
        ice: TurnCredentials::new(clock.clone(), &RandomSource::system(), config.turn, Vec::new()),
        config: config.calls,
        reach: config.chat.direct_conversations_from,
        node: base::ids::NodeId::new(),
        cache: Arc::new(UnreachableCache),
        rings_per_minute: 1,
    });
    let media = media::MediaServiceConfig {
        certificate: Arc::new(::media::DtlsCertificate::generate().unwrap()),
        room: ::media::RoomConfig::default(),
        addresses: Vec::new().into(),
    };
    let node = base::ids::NodeId::new();
    let peer_nodes = PeerNodes::new(Arc::new(InProcessBus::default().connect(node)));
    CallService::new(super::CallServiceDeps {
        rooms: dynamic_supervisor("rooms", 1).handle(),
        event_router: EventRouter::new(peer_nodes.clone()),
        peer_nodes,
        directory: Arc::new(LocalDirectory::new(node)),
        domain,
        media,
    })
}

#[tokio::test]
async fn call_with_failed_room_start_is_closed_as_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, clock) = (store_in(&dir).await, Clock::wall());
    let (principal, calls) =
        (add_user(&store, &clock).await, service_without_rooms(&store, &clock).await);
    let join = || {
        CallClientEvent::JoinCall(JoinCall {
            session: Some("room".to_owned()),
            ..JoinCall::default()
        })
    };
    for _ in 0..2 {
        let reply = calls.handle_request(&principal, SessionId::new(), join()).await;
        assert!(matches!(reply, Err(CallError::Unavailable)), "the name is free again: {reply:?}");
    }

    assert!(calls.ids().is_empty());
    assert_eq!(store.open_calls().await.unwrap(), []);
    let history = calls.domain.history(&principal, None, 10).await.unwrap().items;
    let reasons: Vec<_> = history.iter().map(|call| call.reason).collect();
    assert_eq!(reasons, [Some(CallEndReason::Failed); 2]);
}

#[tokio::test]
async fn sessions_of_draining_node_are_not_reported_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, clock) = (store_in(&dir).await, Clock::wall());
    let (principal, calls) =
        (add_user(&store, &clock).await, service_without_rooms(&store, &clock).await);
    let session = SessionId::new();
    let is_gone = || calls.missing_sessions(vec![(principal.user, session)]);

    assert_eq!(is_gone(), [session], "no such session");
    calls.event_router.start_draining(0);
    assert_eq!(is_gone(), [], "its device rejoins through another node");
}

#[tokio::test]
async fn ringing_is_not_rate_limited_without_cache() {
    let dir = tempfile::tempdir().unwrap();
    let (store, clock) = (store_in(&dir).await, Clock::wall());
    let calls = service_without_rooms(&store, &clock).await;
    for _ in 0..3 {
        calls.domain.take_ring_attempt(UserId::new(), "somebody").await.unwrap();
    }
}
