//! Conversations are created, read and listed.

use base::ids::{ConversationId, UserId};
use store::{
    ConversationPosition, Encryption, InvitationRule, Kind, MemberRole, NewConversationRow,
    OpenDirect, OpenGroup, Store,
};

use crate::harness::{T0, at, create_users, group, new_conversation, on_both, send, text_message};

const NEAR: InvitationRule = InvitationRule::ContactsOrSharedGroup;

async fn make_contacts(store: &Store, a: UserId, b: UserId) {
    store.request_contact(a, b, T0).await.unwrap();
    store.accept_contact(b, a, T0).await.unwrap();
}

async fn direct(store: &Store, by: UserId, other: UserId, reach: InvitationRule) -> OpenDirect {
    store.open_direct(new_conversation(Kind::Direct, by), other, reach, T0).await.unwrap()
}

async fn direct_conversation_is_unique_per_pair(store: Store) {
    let [ann, bob] = create_users(&store).await;
    make_contacts(&store, ann, bob).await;
    let new =
        NewConversationRow { encryption: Encryption::Mls, ..new_conversation(Kind::Group, ann) };
    let opened = store.open_direct(new.clone(), bob, NEAR, at(1)).await.unwrap();

    let OpenDirect::Created(view) = opened else { panic!("{opened:?}") };
    let c = &view.conversation;
    assert_eq!((c.id, c.kind, c.encryption), (new.id, Kind::Direct, Encryption::Mls));
    assert_eq!((c.last_seq, c.roster, c.created_by, c.created_at), (0, 1, ann, at(1)));
    let members: Vec<_> = view.members.iter().map(|m| (m.user_id, m.role, m.joined_seq)).collect();
    assert_eq!(members, [(ann, MemberRole::Member, 0), (bob, MemberRole::Member, 0)]);
    assert_eq!(direct(&store, bob, ann, NEAR).await, OpenDirect::Existing(view.clone()));
    assert_eq!(store.conversation(c.id, bob).await.unwrap(), Some(view));
}

async fn concurrent_opens_create_one_direct_conversation(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let opens: Vec<_> = (0..50)
        .map(|n| {
            let (store, pair) = (store.clone(), if n % 2 == 0 { (ann, bob) } else { (bob, ann) });
            tokio::task::spawn(async move {
                direct(&store, pair.0, pair.1, InvitationRule::Anyone).await
            })
        })
        .collect();
    let (mut created, mut ids) = (0, Vec::new());
    for open in opens {
        match open.await.unwrap() {
            OpenDirect::Created(view) => {
                created += 1;
                ids.push(view.conversation.id);
            }
            OpenDirect::Existing(view) => ids.push(view.conversation.id),
            other => panic!("{other:?}"),
        }
    }

    ids.dedup();
    assert_eq!((created, ids.len()), (1, 1));
}

async fn strangers_and_blocked_users_cannot_open_conversations(store: Store) {
    let [ann, bob, eve, dan, fay] = create_users(&store).await;
    assert_eq!(direct(&store, ann, bob, NEAR).await, OpenDirect::NotAllowed);
    assert_eq!(direct(&store, ann, ann, InvitationRule::Anyone).await, OpenDirect::NotAllowed);
    assert_eq!(direct(&store, ann, UserId::new(), NEAR).await, OpenDirect::UserNotFound);
    group(&store, &[dan, ann, eve]).await;
    assert!(matches!(direct(&store, ann, eve, NEAR).await, OpenDirect::Created(_)));
    store.block_user(eve, ann, T0).await.unwrap();
    store.block_user(fay, ann, T0).await.unwrap();
    for (by, other) in [(ann, eve), (eve, ann)] {
        let opened = direct(&store, by, other, NEAR).await;
        assert!(
            matches!(opened, OpenDirect::Existing(_)),
            "a block keeps an existing conversation"
        );
    }
    assert_eq!(direct(&store, ann, fay, NEAR).await, OpenDirect::NotAllowed, "like any stranger");
    assert_eq!(direct(&store, fay, ann, InvitationRule::Anyone).await, OpenDirect::NotAllowed);
    let opened = direct(&store, ann, fay, InvitationRule::Anyone).await;
    let OpenDirect::ShadowBlocked(view) = opened else { panic!("{opened:?}") };
    assert_eq!(view.members.len(), 2, "for its creator it looks normal");
    assert!(matches!(direct(&store, fay, ann, NEAR).await, OpenDirect::Existing(_)));

    let open = |others: Vec<UserId>, reach| {
        store.open_group(new_conversation(Kind::Group, ann), others, reach, T0)
    };
    assert_eq!(open(vec![dan, bob], NEAR).await.unwrap(), OpenGroup::NotAllowed);
    assert_eq!(open(vec![dan, eve], InvitationRule::Anyone).await.unwrap(), OpenGroup::NotAllowed);
    assert_eq!(open(vec![dan, UserId::new()], NEAR).await.unwrap(), OpenGroup::UserNotFound);
    make_contacts(&store, bob, ann).await;
    assert!(
        matches!(open(vec![dan, bob, dan, ann], NEAR).await.unwrap(), OpenGroup::Created(v) if v.members.len() == 3)
    );
    assert!(
        matches!(open(vec![], NEAR).await.unwrap(), OpenGroup::Created(v) if v.members.len() == 1)
    );
}

async fn conversation_is_visible_only_to_members(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;

    let view = store.conversation(id, bob).await.unwrap().unwrap();
    assert_eq!(view.conversation.title.as_deref(), Some("Friends"));
    assert_eq!(view.members[0].role, MemberRole::Owner);
    assert_eq!(store.conversation(id, eve).await.unwrap(), None);
    assert_eq!(store.conversation(ConversationId::new(), ann).await.unwrap(), None);
    let recipients = store.recipient_set(id).await.unwrap();
    assert_eq!(
        (recipients.roster, recipients.last_seq, recipients.members),
        (1, 0, vec![ann, bob])
    );
    assert_eq!(store.recipient_set(ConversationId::new()).await.unwrap().members, []);
}

async fn conversations_are_listed_newest_activity_first(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let mut ids = Vec::new();
    for other in [bob, eve] {
        match direct(&store, ann, other, InvitationRule::Anyone).await {
            OpenDirect::Created(view) => ids.push(view.conversation.id),
            other => panic!("{other:?}"),
        }
    }
    ids.push(group(&store, &[ann, bob]).await);
    group(&store, &[bob, eve]).await;
    send(&store, ids[2], text_message(bob, "1")).await;

    let first = store.user_conversations(ann, None, 2, T0).await.unwrap();
    let rest = store.user_conversations(ann, Some(first[1].conversation.id), 2, T0).await.unwrap();
    let listed: Vec<_> = first.iter().chain(&rest).collect();
    let seen: Vec<_> = listed.iter().map(|summary| summary.conversation.id).collect();
    assert_eq!(seen, [ids[2], ids[1], ids[0]]);
    let peers: Vec<_> = listed.iter().map(|summary| summary.peer.clone()).collect();
    assert_eq!(peers, [None, Some((eve, "Person 2".into())), Some((bob, "Person 1".into()))]);
    assert_eq!((listed[0].conversation.last_seq, listed[0].role), (1, MemberRole::Owner));
    assert_eq!((listed[0].delivered_seq, listed[0].read_seq, listed[0].joined_seq), (0, 0, 0));
    assert_eq!((listed[0].unread, listed[1].unread), (1, 0));
    let position = |n: usize, last_seq| ConversationPosition {
        conversation: ids[n],
        last_seq,
        revision: 0,
        joined_seq: 0,
    };
    assert_eq!(
        store.conversation_positions(ann).await.unwrap(),
        [position(0, 0), position(1, 0), position(2, 1)]
    );
}

on_both!(
    direct_conversation_is_unique_per_pair,
    concurrent_opens_create_one_direct_conversation,
    strangers_and_blocked_users_cannot_open_conversations,
    conversation_is_visible_only_to_members,
    conversations_are_listed_newest_activity_first,
);
