//! Opening the store, the audit log, and housekeeping.

use std::time::Duration;

use base::error::{CodedError, ErrorKind};
use base::ids::AuditId;
use store::{AuditFilter, PurgeCounts, Store, StoreConfig, StoreError};

use crate::harness::{
    Scratch, T0, at, audit, create_user, create_users, device, group, hash, on_both, refresh, send,
    text_message,
};

async fn open_store_responds_to_ping(store: Store) {
    store.ping().await.unwrap();
    assert_eq!(store.queued(), 0);
    assert!(["sqlite", "postgres"].contains(&store.backend()));
}

async fn audit_log_is_paged_newest_first(store: Store) {
    let ann = create_user(&store, "Ann").await;
    for n in 0..5 {
        let entry = store::NewAudit { actor: Some(ann.id), ..audit(&format!("deed.{n}")) };
        store.record_audit(entry, at(n)).await.unwrap();
    }
    let first = store.audit_page(AuditFilter::default(), None, 2).await.unwrap();
    let rest = store.audit_page(AuditFilter::default(), Some(first[1].id), 3).await.unwrap();

    let actions: Vec<_> = first.iter().chain(&rest).map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["deed.4", "deed.3", "deed.2", "deed.1", "deed.0"]);
    let newest = &first[0];
    assert_eq!(
        (newest.actor, newest.at, newest.subject.as_str()),
        (Some(ann.id), at(4), "somebody")
    );
    assert_eq!(newest.detail, audit("x").detail);
    assert_eq!(newest.ip.as_deref(), Some("192.0.2.1"));
    assert!(
        store
            .audit_page(AuditFilter::default(), Some(AuditId::from_uuid(uuid::Uuid::nil())), 9)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn purge_removes_only_expired_rows(store: Store) {
    let [ann, bob] = create_users(&store).await;
    for (n, expires) in [(1, 100), (2, 200)] {
        let opened =
            store.create_device(device(ann), refresh(n, at(expires)), audit("x"), T0).await;
        opened.unwrap();
    }
    store.create_setup_link(hash(9), at(100), T0).await.unwrap();
    let id = group(&store, &[ann, bob]).await;
    send(&store, id, text_message(ann, "at 1 s")).await;
    let hour = Duration::from_secs(3600);
    assert_eq!(store.purge(at(99), hour, None).await.unwrap().unwrap(), PurgeCounts::default());
    let purged = store.purge(at(100), Duration::from_secs(99), None).await.unwrap().unwrap();
    assert_eq!(purged, PurgeCounts { refresh_tokens: 1, setup_links: 1, ..PurgeCounts::default() });
    let purged = store.purge(at(101), Duration::from_secs(99), None).await.unwrap().unwrap();

    assert_eq!(purged, PurgeCounts { outbox: 1, ..PurgeCounts::default() });
    assert_eq!(store.outbox_len().await.unwrap(), 0);
}

on_both!(
    open_store_responds_to_ping,
    audit_log_is_paged_newest_first,
    purge_removes_only_expired_rows,
);

#[tokio::test]
async fn opening_store_applies_pending_migrations() {
    let scratch = Scratch::new();
    let before = Store::pending_migrations(scratch.config()).await.unwrap();
    let store = Store::open(scratch.config()).await.unwrap();
    drop(store);

    assert_eq!(
        before,
        [
            "0001_accounts",
            "0002_contacts",
            "0003_chat",
            "0004_calls",
            "0005_cluster",
            "0006_account_care",
            "0007_attachments",
            "0008_talk",
            "0009_durations",
            "0010_unheard_calls"
        ]
    );
    assert!(Store::pending_migrations(scratch.config()).await.unwrap().is_empty());
    Store::open(scratch.config()).await.unwrap().ping().await.unwrap();
}

#[tokio::test]
async fn stored_data_survives_restart() {
    let scratch = Scratch::new();
    let store = Store::open(scratch.config()).await.unwrap();
    let ann = create_user(&store, "Ann").await;
    drop(store);

    let store = Store::open(scratch.config()).await.unwrap();
    assert_eq!(store.user(ann.id).await.unwrap(), Some(ann));
}

#[tokio::test]
async fn invalid_or_unreachable_database_url_is_rejected() {
    for url in ["", "mysql://x", "sqlite:", "sqlite::memory:", "/tmp/x.db"] {
        let error = Store::open(StoreConfig::new(url)).await.err().unwrap();
        assert!(matches!(error, StoreError::Internal(_)), "{url}: {error}");
    }
    let error = Store::open(StoreConfig::new("postgres://x@127.0.0.1:1/x")).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    let error = Store::open(StoreConfig::new("sqlite:/nowhere/at/all.db")).await.err().unwrap();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
}

#[test]
fn store_errors_have_code_kind_and_retry_after() {
    let failures = [
        (StoreError::Overloaded, "store/overloaded", ErrorKind::Unavailable, Some(1)),
        (StoreError::Deadline, "store/timeout", ErrorKind::Unavailable, Some(1)),
        (StoreError::Unavailable("x".into()), "store/unavailable", ErrorKind::Unavailable, Some(1)),
        (StoreError::Internal("x".into()), "store/internal", ErrorKind::Internal, None),
    ];
    for (error, code, kind, retry) in failures {
        assert_eq!((error.code(), error.kind(), error.retry_after()), (code, kind, retry));
    }
}
