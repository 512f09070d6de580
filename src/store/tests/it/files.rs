//! Files: kept once for the same content, and until nothing carries them.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{AttachmentId, BlobId, UserId};
use store::{
    AddAttachmentOutcome, AppendOutcome, AttachmentRow, BlobClaimOutcome, BlobRow, MessageAction,
    MessageActionLimits, MessageActionOutcome, MessageActionRequest, NewAttachmentRow,
    NewMessageRow, Quota, Store,
};

use crate::harness::{T0, at, group, on_both, people, say, words};

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

async fn keep(store: &Store, owner: UserId, content: u8) -> AttachmentRow {
    let (BlobClaimOutcome::Here(blob) | BlobClaimOutcome::Coming(blob)) =
        claim(store, content, T0).await;
    match store.add_attachment(new(owner, blob), QUOTA, T0).await.unwrap() {
        AddAttachmentOutcome::Added(made) => made,
        other => panic!("{other:?}"),
    }
}

fn with(sender: UserId, name: &str, files: &[AttachmentId]) -> NewMessageRow {
    NewMessageRow { attachments: files.to_vec(), ..words(sender, name) }
}

fn stored(append: AppendOutcome) -> store::MessageRow {
    match append {
        AppendOutcome::Stored(message) => message,
        other => panic!("{other:?}"),
    }
}

async fn blob_is_deleted_with_last_reference_and_id_not_reused(store: Store) {
    let [ann, bob] = people(&store).await;
    let (here, also) = (group(&store, &[ann, bob]).await, group(&store, &[bob]).await);
    let file = keep(&store, ann, 1).await;
    let twin = keep(&store, bob, 1).await;
    assert_eq!(file.blob_id, twin.blob_id);
    let first = stored(say(&store, here, with(ann, "1", &[file.id])).await);
    let onward = stored(say(&store, also, with(bob, "2", &[file.id])).await);

    store.release_attachments(vec![first.id], at(2)).await.unwrap();
    assert!(
        store.attachment(file.id, bob, at(2)).await.unwrap().is_some(),
        "another message has it"
    );
    store.release_attachments(vec![onward.id], at(2)).await.unwrap();
    assert_eq!(store.attachment(file.id, ann, at(2)).await.unwrap(), None);
    assert_eq!(store.doomed_blobs(9, at(2)).await.unwrap(), [], "the twin has the bytes");
    assert_eq!(store.expire_attachments(9, at(99)).await.unwrap(), 0);
    assert_eq!(store.expire_attachments(9, at(100)).await.unwrap(), 1);
    let doomed = store.doomed_blobs(9, at(100)).await.unwrap();
    assert_eq!(doomed.iter().map(|blob| blob.id).collect::<Vec<_>>(), [file.blob_id]);

    // The same content again has another name; what was doomed cannot be referred to.
    let BlobClaimOutcome::Coming(fresh) = claim(&store, 1, at(101)).await else {
        panic!("it went")
    };
    assert_ne!(fresh, file.blob_id);
    let late = store.add_attachment(new(ann, file.blob_id), QUOTA, at(101)).await.unwrap();
    assert_eq!(late, AddAttachmentOutcome::BlobGone(vec![file.blob_id]));
    assert_eq!(store.forget_blobs(vec![file.blob_id, fresh]).await.unwrap(), 1);
}

async fn unsettled_blob_claim_expires(store: Store) {
    let BlobClaimOutcome::Coming(one) = claim(&store, 1, T0).await else { panic!("it is new") };
    let again = claim(&store, 1, at(1800)).await;
    assert_eq!(
        again,
        BlobClaimOutcome::Coming(one),
        "whoever brings the same puts the same object"
    );

    assert_eq!(store.doomed_blobs(9, at(5399)).await.unwrap(), []);
    assert_eq!(store.doomed_blobs(9, at(5401)).await.unwrap().len(), 1);
}

async fn lost_thumbnail_blob_settles_no_claim(store: Store) {
    let [ann] = people(&store).await;
    let BlobClaimOutcome::Coming(large) = claim(&store, 1, at(10)).await else {
        panic!("it is new")
    };
    let BlobClaimOutcome::Coming(small) = claim(&store, 2, T0).await else { panic!("it is new") };
    store.abandon_claims(T0).await.unwrap();
    let new = NewAttachmentRow { thumbnail: Some(small), ..new(ann, large) };
    let late = store.add_attachment(new, QUOTA, at(11)).await.unwrap();

    assert_eq!(late, AddAttachmentOutcome::BlobGone(vec![small]));
    let again = claim(&store, 1, at(12)).await;
    assert_eq!(again, BlobClaimOutcome::Coming(large), "whoever brings the same puts it");
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

    let BlobClaimOutcome::Coming(_) = claim(&store, 1, T0).await else { panic!("nobody has it") };
}

async fn expired_message_hides_its_attachment(store: Store) {
    let [ann, bob] = people(&store).await;
    let here = group(&store, &[ann, bob]).await;
    let file = keep(&store, ann, 1).await;
    let quick = NewMessageRow { expires_in: Some(5), ..with(ann, "1", &[file.id]) };
    assert_eq!(stored(say(&store, here, quick).await).expires_at, Some(at(6)));
    assert!(store.attachment(file.id, bob, at(5)).await.unwrap().is_some());

    assert_eq!(store.attachment(file.id, bob, at(6)).await.unwrap(), None);
    assert!(store.attachment(file.id, ann, at(6)).await.unwrap().is_some(), "it is her own");
    let onward = store.append(here, vec![with(bob, "1", &[file.id])], at(6)).await.unwrap();
    assert_eq!(onward.results, [AppendOutcome::NoSuchAttachment]);
}

async fn forward_racing_deletion_copies_all_attachments_or_fails(store: Store) {
    const LIMITS: MessageActionLimits = MessageActionLimits {
        edit: Duration::ZERO,
        delete: Duration::from_secs(100),
        emoji: 1,
        emoji_each: 1,
        pins: 1,
        edits: 1,
    };
    let [ann, bob] = people(&store).await;
    let (here, there) = (group(&store, &[ann, bob]).await, group(&store, &[bob]).await);
    for round in 0..30 {
        let files = [keep(&store, ann, 1).await.id, keep(&store, ann, 2).await.id];
        let said = stored(say(&store, here, with(ann, &round.to_string(), &files)).await);
        let deletion =
            MessageActionRequest { by: ann, message: said.id, deed: MessageAction::Delete };
        let onward = words(bob, &round.to_string());
        let onward = NewMessageRow { forward_of: Some(said.id), ..onward };
        let both = (store.clone(), store.clone());
        let gone =
            tokio::spawn(async move { both.0.alter(here, deletion, LIMITS, at(2)).await.unwrap() });
        let passed =
            tokio::spawn(async move { both.1.append(there, vec![onward], at(2)).await.unwrap() });

        assert!(matches!(gone.await.unwrap(), MessageActionOutcome::Done { .. }));
        let passed = passed.await.unwrap();
        match &passed.results[0] {
            AppendOutcome::Stored(message) => assert_eq!(passed.attachments[&message.id].len(), 2),
            other => assert_eq!(other, &AppendOutcome::NoSuchForward),
        }
    }
}

async fn sender_may_only_attach_visible_files(store: Store) {
    let [ann, bob, eve] = people(&store).await;
    let here = group(&store, &[ann, bob]).await;
    let eves = group(&store, &[eve, bob]).await;
    let file = keep(&store, ann, 1).await;

    assert_eq!(
        say(&store, eves, with(bob, "0", &[file.id])).await,
        AppendOutcome::NoSuchAttachment
    );
    stored(say(&store, here, with(ann, "1", &[file.id])).await);
    assert_eq!(
        say(&store, eves, with(eve, "1", &[file.id])).await,
        AppendOutcome::NoSuchAttachment
    );
    stored(say(&store, eves, with(bob, "1", &[file.id])).await);
    assert!(store.attachment(file.id, eve, at(2)).await.unwrap().is_some());
    store.remove_member(eves, eve, eve, at(2)).await.unwrap();
    assert_eq!(store.attachment(file.id, eve, at(2)).await.unwrap(), None);
    let said =
        store.messages(eves, bob, store::MessageRange::After(0), 9, at(9)).await.unwrap().unwrap();
    assert_eq!(
        said.iter().map(|shown| shown.message.seq).collect::<Vec<_>>(),
        [1, 2, 3], // she left, and he became the owner
        "no number is lost"
    );
}

async fn concurrent_blob_attach_and_release_lose_no_blob(store: Store) {
    let [ann] = people(&store).await;
    let here = group(&store, &[ann]).await;
    let tasks = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..10 {
                let blob = loop {
                    let (BlobClaimOutcome::Here(blob) | BlobClaimOutcome::Coming(blob)) =
                        claim(&store, 1, T0).await;
                    let new = new(ann, blob);
                    match store.add_attachment(new, QUOTA, T0).await.unwrap() {
                        AddAttachmentOutcome::Added(made) => break made,
                        AddAttachmentOutcome::BlobGone(_) => {}
                        other => panic!("{other:?}"),
                    }
                };
                let name = format!("{n}-{round}");
                let said = stored(say(&store, here, with(ann, &name, &[blob.id])).await);
                let doomed = store.doomed_blobs(9, T0).await.unwrap();
                assert!(doomed.iter().all(|doomed| doomed.id != blob.blob_id), "it is carried");
                store.release_attachments(vec![said.id], T0).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }

    assert_eq!(store.kept_bytes(ann).await.unwrap(), 0);
    let BlobClaimOutcome::Coming(_) = claim(&store, 1, T0).await else { panic!("nobody has it") };
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
