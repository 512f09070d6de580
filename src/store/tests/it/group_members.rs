//! Changes of groups: title, members and roles.

use base::ids::{ConversationId, UserId};
use serde_json::json;
use store::{
    AppendOutcome, ConversationChangeOutcome, ConversationWithMembers, GroupSettingsPatch,
    InvitationRule, Kind, MemberRole as M, MessageRange, OpenDirect, Store,
};

use crate::harness::{T0, at, create_users, group, new_conversation, on_both, send, text_message};

fn done(change: ConversationChangeOutcome) -> ConversationWithMembers {
    match change {
        ConversationChangeOutcome::Done(view, _) => view,
        other => panic!("{other:?}"),
    }
}

async fn role(
    store: &Store,
    id: ConversationId,
    by: UserId,
    user: UserId,
    role: M,
) -> ConversationChangeOutcome {
    store.set_member_role(id, by, user, role, at(1)).await.unwrap()
}

async fn remove(
    store: &Store,
    id: ConversationId,
    by: UserId,
    user: UserId,
) -> ConversationChangeOutcome {
    store.remove_member(id, by, user, at(2)).await.unwrap()
}

async fn add(
    store: &Store,
    id: ConversationId,
    by: UserId,
    user: UserId,
) -> ConversationChangeOutcome {
    store.add_member(id, by, user, InvitationRule::Anyone, at(3)).await.unwrap()
}

fn roles(view: &ConversationWithMembers) -> Vec<(UserId, M)> {
    view.members.iter().map(|member| (member.user_id, member.role)).collect()
}

async fn group_rename_requires_admin_role(store: Store) {
    let [ann, bob, eve, dan] = create_users(&store).await;
    let id = group(&store, &[ann, bob, eve]).await;
    done(role(&store, id, ann, bob, M::Admin).await);
    let rename = |by, title: &str| {
        let new = GroupSettingsPatch { title: Some(title.into()), ..GroupSettingsPatch::default() };
        store.update_conversation(id, by, new, at(4))
    };

    assert_eq!(rename(eve, "x").await.unwrap(), ConversationChangeOutcome::NotAllowed);
    assert_eq!(rename(dan, "x").await.unwrap(), ConversationChangeOutcome::NotFound);
    let view = done(rename(bob, "Family").await.unwrap()).conversation;
    assert_eq!((view.title.as_deref(), view.roster, view.updated_at), (Some("Family"), 2, at(4)));
    let said = store.messages(id, eve, MessageRange::Latest, 1, T0).await.unwrap().unwrap();
    let renamed = json!({ "what": "renamed", "title": "Family" });
    assert_eq!(said[0].message.system, Some(renamed), "the system message names the change");
    assert_eq!(said[0].message.sender_id, bob);
}

async fn membership_changes_require_sufficient_role(store: Store) {
    let [ann, bob, eve, dan] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    assert_eq!(add(&store, id, bob, eve).await, ConversationChangeOutcome::NotAllowed);
    assert_eq!(add(&store, id, eve, eve).await, ConversationChangeOutcome::NotFound);
    assert_eq!(add(&store, id, ann, UserId::new()).await, ConversationChangeOutcome::UserNotFound);
    let near =
        store.add_member(id, ann, eve, InvitationRule::ContactsOrSharedGroup, T0).await.unwrap();
    assert_eq!(near, ConversationChangeOutcome::NotReachable);
    assert_eq!(done(add(&store, id, ann, eve).await).conversation.roster, 2);
    assert_eq!(done(add(&store, id, ann, eve).await).conversation.roster, 2);
    done(role(&store, id, ann, bob, M::Admin).await);
    done(add(&store, id, bob, dan).await);

    assert_eq!(remove(&store, id, eve, dan).await, ConversationChangeOutcome::NotAllowed);
    assert_eq!(remove(&store, id, bob, ann).await, ConversationChangeOutcome::NotAllowed);
    let view = done(remove(&store, id, bob, dan).await);
    assert_eq!(roles(&view), [(ann, M::Owner), (bob, M::Admin), (eve, M::Member)]);
    assert_eq!(remove(&store, id, ann, dan).await, ConversationChangeOutcome::NotFound);
    assert_eq!(remove(&store, id, dan, bob).await, ConversationChangeOutcome::NotFound);
    let audience = store.recipient_set(id).await.unwrap();
    assert_eq!((audience.roster, audience.members), (5, vec![ann, bob, eve]));
}

async fn ownership_passes_to_successor_when_owner_leaves(store: Store) {
    let [ann, bob, eve, dan] = create_users(&store).await;
    let id = group(&store, &[ann, bob, eve, dan]).await;
    done(role(&store, id, ann, eve, M::Admin).await);
    let view = done(remove(&store, id, ann, ann).await);
    assert_eq!(roles(&view), [(bob, M::Member), (eve, M::Owner), (dan, M::Member)]);
    let view = done(remove(&store, id, eve, eve).await);
    assert_eq!(roles(&view), [(bob, M::Owner), (dan, M::Member)]);
    done(remove(&store, id, dan, dan).await);
    assert!(done(remove(&store, id, bob, bob).await).members.is_empty());

    assert_eq!(store.conversation(id, ann).await.unwrap(), None);
}

async fn only_owner_changes_roles_and_can_transfer_ownership(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    assert_eq!(role(&store, id, bob, ann, M::Member).await, ConversationChangeOutcome::NotAllowed);
    assert_eq!(role(&store, id, ann, ann, M::Member).await, ConversationChangeOutcome::NotAllowed);
    assert_eq!(role(&store, id, ann, eve, M::Admin).await, ConversationChangeOutcome::NotFound);
    assert_eq!(role(&store, id, eve, ann, M::Admin).await, ConversationChangeOutcome::NotFound);
    assert_eq!(done(role(&store, id, ann, bob, M::Member).await).conversation.roster, 1);
    let view = done(role(&store, id, ann, bob, M::Owner).await);

    assert_eq!(roles(&view), [(ann, M::Admin), (bob, M::Owner)]);
    assert_eq!(role(&store, id, ann, bob, M::Member).await, ConversationChangeOutcome::NotAllowed);
}

async fn direct_conversation_membership_and_title_are_immutable(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let opened = store
        .open_direct(new_conversation(Kind::Direct, ann), bob, InvitationRule::Anyone, T0)
        .await;
    let OpenDirect::Created(view) = opened.unwrap() else { panic!("must be created") };
    let id = view.conversation.id;

    assert_eq!(remove(&store, id, ann, ann).await, ConversationChangeOutcome::NotAllowed);
    assert_eq!(add(&store, id, ann, eve).await, ConversationChangeOutcome::NotAllowed);
    assert_eq!(role(&store, id, ann, bob, M::Admin).await, ConversationChangeOutcome::NotAllowed);
    let new = GroupSettingsPatch { title: Some("x".into()), ..GroupSettingsPatch::default() };
    let renamed = store.update_conversation(id, ann, new, T0).await.unwrap();
    assert_eq!(renamed, ConversationChangeOutcome::NotAllowed);
    assert_eq!(store.conversation(id, ann).await.unwrap(), Some(view));
}

async fn rejoined_member_sees_only_later_messages(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    send(&store, id, text_message(ann, "1")).await;
    done(remove(&store, id, bob, bob).await);
    assert_eq!(send(&store, id, text_message(bob, "x")).await, AppendOutcome::NotAMember);
    assert_eq!(store.messages(id, bob, MessageRange::Latest, 9, T0).await.unwrap(), None);
    send(&store, id, text_message(ann, "2")).await;
    let view = done(add(&store, id, ann, bob).await);
    send(&store, id, text_message(ann, "3")).await;

    let bobs = view.members.iter().find(|member| member.user_id == bob).unwrap();
    assert_eq!((bobs.joined_seq, bobs.delivered_seq, bobs.read_seq), (3, 3, 3));
    for range in [MessageRange::Latest, MessageRange::After(0), MessageRange::Before(100)] {
        let seen = store.messages(id, bob, range, 9, T0).await.unwrap().unwrap();
        assert_eq!(seen.iter().map(|message| message.message.seq).collect::<Vec<_>>(), [4, 5]);
    }
}

on_both!(
    group_rename_requires_admin_role,
    membership_changes_require_sufficient_role,
    ownership_passes_to_successor_when_owner_leaves,
    only_owner_changes_roles_and_can_transfer_ownership,
    direct_conversation_membership_and_title_are_immutable,
    rejoined_member_sees_only_later_messages,
);
