//! Invites: use limit, expiry and revocation.

use base::ids::{InviteId, UserId};
use store::{Circle, GroupSettingsPatch, JoinOutcome, NewInviteRow, Store};

use crate::harness::{T0, any_hash, at, create_users, group, on_both};

fn invite(uses: Option<i64>) -> NewInviteRow {
    NewInviteRow { id: InviteId::new(), hash: any_hash(), expires_at: at(100), uses }
}

async fn join(store: &Store, hash: [u8; 32], who: UserId, seconds: u64) -> JoinOutcome {
    store.join_by_invite(hash, who, 5, at(seconds)).await.unwrap()
}

async fn invite_use_limit_is_enforced(store: Store) {
    let [ann, bob, eve, dan] = create_users(&store).await;
    let id = group(&store, &[ann]).await;
    let new = invite(Some(2));
    let hash = new.hash;
    store.create_invite(id, ann, new, T0).await.unwrap().unwrap().unwrap();

    assert!(matches!(join(&store, hash, bob, 1).await, JoinOutcome::Joined(..)));
    assert!(matches!(join(&store, hash, bob, 1).await, JoinOutcome::AlreadyMember(_)));
    let both = tokio::join!(join(&store, hash, eve, 1), join(&store, hash, dan, 1));
    let joined = [both.0, both.1].iter().filter(|j| matches!(j, JoinOutcome::Joined(..))).count();
    assert_eq!(joined, 1, "one use was left for two users");
    assert_eq!(join(&store, any_hash(), dan, 1).await, JoinOutcome::NotFound);
    let listed = store.invites(id, ann, at(1)).await.unwrap().unwrap().unwrap();
    assert_eq!((listed[0].uses, listed[0].uses_left), (2, Some(0)));
}

async fn invite_fails_when_expired_revoked_blocked_or_orphaned(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann]).await;
    let (over, back, kept) = (invite(None), invite(None), invite(None));
    let hashes = [over.hash, back.hash, kept.hash];
    let mut ids = Vec::new();
    for new in [over, back, kept] {
        ids.push(store.create_invite(id, ann, new, T0).await.unwrap().unwrap().unwrap().id);
    }
    assert_eq!(join(&store, hashes[0], bob, 100).await, JoinOutcome::NotFound);
    assert_eq!(store.revoke_invite(id, ann, ids[1]).await.unwrap(), Some(Some(true)));
    assert_eq!(store.revoke_invite(id, ann, ids[1]).await.unwrap(), Some(Some(false)));
    assert_eq!(join(&store, hashes[1], bob, 1).await, JoinOutcome::NotFound);
    store.block_user(ann, eve, T0).await.unwrap();
    assert_eq!(join(&store, hashes[2], eve, 1).await, JoinOutcome::NotFound);
    assert!(matches!(join(&store, hashes[2], bob, 1).await, JoinOutcome::Joined(..)));
    let [dan] = create_users(&store).await;
    store.remove_member(id, ann, ann, T0).await.unwrap();
    assert_eq!(join(&store, hashes[2], dan, 1).await, JoinOutcome::NotFound, "its creator left");
}

async fn used_up_invite_frees_quota_and_is_purged(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann]).await;
    let make = async |new| store.create_invite(id, ann, new, T0).await.unwrap().unwrap();
    let once = invite(Some(1));
    let hash = once.hash;
    make(once).await.unwrap();
    for _ in 1..100 {
        make(invite(None)).await.unwrap();
    }
    assert_eq!(make(invite(None)).await, None, "the limit is reached");
    assert!(matches!(join(&store, hash, bob, 1).await, JoinOutcome::Joined(..)));

    assert!(make(invite(None)).await.is_some());
    let hour = std::time::Duration::from_secs(3600);
    assert_eq!(store.purge(at(99), hour, None).await.unwrap().unwrap().invites, 0);
    assert_eq!(store.purge(at(100), hour, None).await.unwrap().unwrap().invites, 101);
}

async fn invite_creation_requires_permission(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    assert_eq!(store.create_invite(id, eve, invite(None), T0).await.unwrap(), None);
    assert_eq!(store.create_invite(id, bob, invite(None), T0).await.unwrap(), Some(None));
    assert_eq!(store.invites(id, bob, T0).await.unwrap(), Some(None));
    let all =
        GroupSettingsPatch { who_adds: Some(Circle::Members), ..GroupSettingsPatch::default() };
    store.update_conversation(id, ann, all, T0).await.unwrap();
    let made = store.create_invite(id, bob, invite(None), T0).await.unwrap();
    assert!(made.unwrap().is_some());
}

on_both!(
    invite_use_limit_is_enforced,
    invite_fails_when_expired_revoked_blocked_or_orphaned,
    used_up_invite_frees_quota_and_is_purged,
    invite_creation_requires_permission,
);
