//! Attachments: stored once per content, and deleted when no message carries them.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{AttachmentId, BlobId, UserId};
use store::{
    AddAttachmentOutcome, AppendOutcome, AttachmentRow, BlobClaimOutcome, BlobRow, MessageAction,
    MessageActionLimits, MessageActionOutcome, MessageActionRequest, NewAttachmentRow,
    NewMessageRow, Quota, Store,
};

use crate::harness::{T0, at, create_users, group, on_both, send, text_message};

const QUOTA: Quota = Quota { bytes: 1000, uploads: 2 };

fn bytes(content: u8) -> BlobRow {
    BlobRow { id: BlobId::new(), hash: vec![content; 32], size: 10 }
}

async fn claim(store: &Store, content: u8, now: Timestamp) -> BlobClaimOutcome {
    store.claim_blob(bytes(content), now).await.unwrap()
}

fn new(owner: UserId, blob: BlobId) -> NewAttachmentRow {
    NewAttachmentRow {
        id: AttachmentId::new(),
        owner,
        blob,
        thumbnail: None,
        name: "a.txt".into(),
        content_type: "text/plain".into(),
        size: 10,
        pixels: None,
        duration_ms: None,
        upload: None,
        expires_at: at(100),
    }
}

async fn store_file(store: &Store, owner: UserId, content: u8) -> AttachmentRow {
    let (BlobClaimOutcome::Stored(blob) | BlobClaimOutcome::UploadNeeded(blob)) =
        claim(store, content, T0).await;
    match store.add_attachment(new(owner, blob), QUOTA, T0).await.unwrap() {
        AddAttachmentOutcome::Added(made) => made,
        other => panic!("{other:?}"),
    }
}

fn with_files(sender: UserId, name: &str, files: &[AttachmentId]) -> NewMessageRow {
    NewMessageRow { attachments: files.to_vec(), ..text_message(sender, name) }
}

fn stored(append: AppendOutcome) -> store::MessageRow {
    match append {
        AppendOutcome::Stored(message) => message,
        other => panic!("{other:?}"),
    }
}

async fn blob_is_deleted_with_last_reference_and_id_not_reused(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let (group_id, other_group) = (group(&store, &[ann, bob]).await, group(&store, &[bob]).await);
    let file = store_file(&store, ann, 1).await;
    let twin = store_file(&store, bob, 1).await;
    assert_eq!(file.blob_id, twin.blob_id);
    let first = stored(send(&store, group_id, with_files(ann, "1", &[file.id])).await);
    let forwarded = stored(send(&store, other_group, with_files(bob, "2", &[file.id])).await);

    store.detach_attachments(vec![first.id], at(2)).await.unwrap();
    assert!(
        store.attachment(file.id, bob, at(2)).await.unwrap().is_some(),
        "another message carries it"
    );
    store.detach_attachments(vec![forwarded.id], at(2)).await.unwrap();
    assert_eq!(store.attachment(file.id, ann, at(2)).await.unwrap(), None);
    assert_eq!(
        store.blobs_to_delete(9, at(2)).await.unwrap(),
        [],
        "the other attachment uses the blob"
    );
    assert_eq!(store.expire_attachments(9, at(99)).await.unwrap(), 0);
    assert_eq!(store.expire_attachments(9, at(100)).await.unwrap(), 1);
    let to_delete = store.blobs_to_delete(9, at(100)).await.unwrap();
    assert_eq!(to_delete.iter().map(|blob| blob.id).collect::<Vec<_>>(), [file.blob_id]);

    // The same content gets a new id; a blob marked for deletion can never be referred to again.
    let BlobClaimOutcome::UploadNeeded(fresh) = claim(&store, 1, at(101)).await else {
        panic!("the blob was deleted")
    };
    assert_ne!(fresh, file.blob_id);
    let late = store.add_attachment(new(ann, file.blob_id), QUOTA, at(101)).await.unwrap();
    assert_eq!(late, AddAttachmentOutcome::ClaimsLost(vec![file.blob_id]));
    assert_eq!(store.delete_blobs(vec![file.blob_id, fresh]).await.unwrap(), 1);
}

async fn unsettled_blob_claim_expires(store: Store) {
    let BlobClaimOutcome::UploadNeeded(one) = claim(&store, 1, T0).await else {
        panic!("must be new")
    };
    let again = claim(&store, 1, at(1800)).await;
    assert_eq!(again, BlobClaimOutcome::UploadNeeded(one), "concurrent uploads share the object");

    assert_eq!(store.blobs_to_delete(9, at(5399)).await.unwrap(), []);
    assert_eq!(store.blobs_to_delete(9, at(5401)).await.unwrap().len(), 1);
}

async fn lost_thumbnail_blob_settles_no_claim(store: Store) {
    let [ann] = create_users(&store).await;
    let BlobClaimOutcome::UploadNeeded(large) = claim(&store, 1, at(10)).await else {
        panic!("must be new")
    };
    let BlobClaimOutcome::UploadNeeded(small) = claim(&store, 2, T0).await else {
        panic!("must be new")
    };
    store.abandon_claims(T0).await.unwrap();
    let new = NewAttachmentRow { thumbnail: Some(small), ..new(ann, large) };
    let late = store.add_attachment(new, QUOTA, at(11)).await.unwrap();

    assert_eq!(late, AddAttachmentOutcome::ClaimsLost(vec![small]));
    let again = claim(&store, 1, at(12)).await;
    assert_eq!(again, BlobClaimOutcome::UploadNeeded(large), "concurrent uploads share the object");
}

async fn concurrent_blob_claim_and_abandon_do_not_conflict(store: Store) {
    let claims = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                claim(&store, 1, T0).await;
                store.abandon_claims(T0).await.unwrap();
            }
        })
    });
    for claims in claims.collect::<Vec<_>>() {
        claims.await.unwrap();
    }

    let BlobClaimOutcome::UploadNeeded(_) = claim(&store, 1, T0).await else {
        panic!("must be new")
    };
}

async fn expired_message_hides_its_attachment(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let group_id = group(&store, &[ann, bob]).await;
    let file = store_file(&store, ann, 1).await;
    let quick = NewMessageRow { expires_in: Some(5), ..with_files(ann, "1", &[file.id]) };
    assert_eq!(stored(send(&store, group_id, quick).await).expires_at, Some(at(6)));
    assert!(store.attachment(file.id, bob, at(5)).await.unwrap().is_some());

    assert_eq!(store.attachment(file.id, bob, at(6)).await.unwrap(), None);
    assert!(store.attachment(file.id, ann, at(6)).await.unwrap().is_some(), "its owner may see it");
    let forwarded = store
        .append_messages(group_id, vec![with_files(bob, "1", &[file.id])], at(6))
        .await
        .unwrap();
    assert_eq!(forwarded.results, [AppendOutcome::AttachmentNotFound]);
}

async fn forward_racing_deletion_copies_all_attachments_or_fails(store: Store) {
    const LIMITS: MessageActionLimits = MessageActionLimits {
        edit_window: Duration::ZERO,
        delete_window: Duration::from_secs(100),
        max_emoji: 1,
        max_emoji_per_user: 1,
        max_pins: 1,
        max_edits: 1,
    };
    let [ann, bob] = create_users(&store).await;
    let (group_id, other_group) = (group(&store, &[ann, bob]).await, group(&store, &[bob]).await);
    for round in 0..30 {
        let files = [store_file(&store, ann, 1).await.id, store_file(&store, ann, 2).await.id];
        let sent =
            stored(send(&store, group_id, with_files(ann, &round.to_string(), &files)).await);
        let deletion =
            MessageActionRequest { by: ann, message: sent.id, action: MessageAction::Delete };
        let forwarded = text_message(bob, &round.to_string());
        let forwarded = NewMessageRow { forward_of: Some(sent.id), ..forwarded };
        let both = (store.clone(), store.clone());
        let gone = tokio::spawn(async move {
            both.0.apply_message_action(group_id, deletion, LIMITS, at(2)).await.unwrap()
        });
        let passed = tokio::spawn(async move {
            both.1.append_messages(other_group, vec![forwarded], at(2)).await.unwrap()
        });

        assert!(matches!(gone.await.unwrap(), MessageActionOutcome::Done { .. }));
        let passed = passed.await.unwrap();
        match &passed.results[0] {
            AppendOutcome::Stored(message) => assert_eq!(passed.attachments[&message.id].len(), 2),
            other => assert_eq!(other, &AppendOutcome::ForwardNotFound),
        }
    }
}

async fn sender_may_only_attach_visible_files(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let group_id = group(&store, &[ann, bob]).await;
    let eves = group(&store, &[eve, bob]).await;
    let file = store_file(&store, ann, 1).await;

    assert_eq!(
        send(&store, eves, with_files(bob, "0", &[file.id])).await,
        AppendOutcome::AttachmentNotFound
    );
    stored(send(&store, group_id, with_files(ann, "1", &[file.id])).await);
    assert_eq!(
        send(&store, eves, with_files(eve, "1", &[file.id])).await,
        AppendOutcome::AttachmentNotFound
    );
    stored(send(&store, eves, with_files(bob, "1", &[file.id])).await);
    assert!(store.attachment(file.id, eve, at(2)).await.unwrap().is_some());
    store.remove_member(eves, eve, eve, at(2)).await.unwrap();
    assert_eq!(store.attachment(file.id, eve, at(2)).await.unwrap(), None);
    let sent =
        store.messages(eves, bob, store::MessageRange::After(0), 9, at(9)).await.unwrap().unwrap();
    assert_eq!(
        sent.iter().map(|shown| shown.message.seq).collect::<Vec<_>>(),
        [1, 2, 3], // she left, and bob became the owner
        "no sequence number is lost"
    );
}

async fn concurrent_blob_attach_and_release_lose_no_blob(store: Store) {
    let [ann] = create_users(&store).await;
    let group_id = group(&store, &[ann]).await;
    let tasks = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..10 {
                let blob = loop {
                    let (BlobClaimOutcome::Stored(blob) | BlobClaimOutcome::UploadNeeded(blob)) =
                        claim(&store, 1, T0).await;
                    let new = new(ann, blob);
                    match store.add_attachment(new, QUOTA, T0).await.unwrap() {
                        AddAttachmentOutcome::Added(made) => break made,
                        AddAttachmentOutcome::ClaimsLost(_) => {}
                        other => panic!("{other:?}"),
                    }
                };
                let name = format!("{n}-{round}");
                let sent = stored(send(&store, group_id, with_files(ann, &name, &[blob.id])).await);
                let to_delete = store.blobs_to_delete(9, T0).await.unwrap();
                assert!(
                    to_delete.iter().all(|to_delete| to_delete.id != blob.blob_id),
                    "the blob is in use"
                );
                store.detach_attachments(vec![sent.id], T0).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }

    assert_eq!(store.used_bytes(ann).await.unwrap(), 0);
    let BlobClaimOutcome::UploadNeeded(_) = claim(&store, 1, T0).await else {
        panic!("must be new")
    };
}

on_both!(
    blob_is_deleted_with_last_reference_and_id_not_reused,
    unsettled_blob_claim_expires,
    lost_thumbnail_blob_settles_no_claim,
    concurrent_blob_claim_and_abandon_do_not_conflict,
    expired_message_hides_its_attachment,
    forward_racing_deletion_copies_all_attachments_or_fails,
    sender_may_only_attach_visible_files,
    concurrent_blob_attach_and_release_lose_no_blob,
);
