//! What each member sees of changed messages and of the settings of a conversation.

use base::ids::UserId;
use store::{
    AppendOutcome, Circle, ConversationChangeOutcome, Encryption, GroupSettingsPatch, History,
    InvitationRule, Kind, MemberSettingsPatch, MessageAction, MessageActionOutcome, MessageRange,
    NewConversationRow, NewMessageRow, OpenDirect, SearchParams, Store,
};

use crate::changes::{act, changes, done, edit, send_stored};
use crate::harness::{T0, at, create_users, group, new_conversation, on_both, send, text_message};

async fn shadow_blocked_edit_has_no_effect_but_appears_done(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let opened = store
        .open_direct(new_conversation(Kind::Direct, ann), bob, InvitationRule::Anyone, T0)
        .await;
    let OpenDirect::Created(view) = opened.unwrap() else { panic!("must be created") };
    let id = view.conversation.id;
    let old = send_stored(&store, id, text_message(ann, "1")).await;
    store.block_user(bob, ann, T0).await.unwrap();
    let withheld = send_stored(&store, id, text_message(ann, "2")).await;

    let MessageActionOutcome::Done { current: shown, hidden_from: unseen, revision, .. } =
        act(&store, &old, ann, edit("hello?"), 2).await
    else {
        panic!("must look done");
    };
    assert_eq!((shown.message.body.as_str(), shown.message.revision), ("hello?", 1));
    assert_eq!((unseen, revision), (vec![ann.min(bob), ann.max(bob)], 1), "nobody is notified");
    let (_, shown) = done(act(&store, &old, ann, MessageAction::React("b".into()), 2).await);
    assert_eq!(shown.reactions, [(ann, "b".to_owned())]);
    assert_eq!(shown.message.body, old.body, "the message is unchanged");
    assert_eq!(
        act(&store, &old, ann, edit("x"), 102).await,
        MessageActionOutcome::TooLate,
        "unchanged"
    );
    let visible = store.message(id, ann, old.id, at(2)).await.unwrap().unwrap();
    assert_eq!((visible.message, visible.reactions), (old.clone(), vec![]));
    assert_eq!(
        act(&store, &old, bob, MessageAction::React("a".into()), 2).await,
        MessageActionOutcome::Blocked
    );
    done(act(&store, &withheld, ann, edit("hello??"), 2).await);
    assert_eq!(changes(&store, id, bob, 0).await, []);
    let found = store
        .search_messages(
            SearchParams {
                viewer: bob,
                words: vec!["hello".into()],
                conversation: None,
                before: None,
            },
            9,
            T0,
        )
        .await
        .unwrap();
    assert_eq!(found.messages, []);
    done(act(&store, &old, ann, MessageAction::Delete, 3).await);
    assert_eq!(changes(&store, id, bob, 0).await.len(), 1, "deleting is always allowed");
}

async fn block_is_not_revealed_by_conversation_state(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let open = |by, other| {
        store.open_direct(new_conversation(Kind::Direct, by), other, InvitationRule::Anyone, T0)
    };
    let OpenDirect::Created(view) = open(ann, bob).await.unwrap() else {
        panic!("must be created")
    };
    let id = view.conversation.id;
    let lasts = |by, seconds| {
        let new =
            GroupSettingsPatch { expires_in: Some(Some(seconds)), ..GroupSettingsPatch::default() };
        store.update_conversation(id, by, new, at(2))
    };
    store.block_user(bob, ann, T0).await.unwrap();

    assert_eq!(open(ann, bob).await.unwrap(), OpenDirect::Existing(view.clone()));
    let ConversationChangeOutcome::ShadowBlocked(shown) = lasts(ann, 5).await.unwrap() else {
        panic!("must look done")
    };
    assert_eq!((shown.conversation.expires_in, shown.conversation.last_seq), (Some(5), 0));
    assert_eq!(
        lasts(bob, 5).await.unwrap(),
        ConversationChangeOutcome::NotReachable,
        "the blocker is told"
    );
    assert_eq!(store.conversation(id, ann).await.unwrap(), Some(view));
    for (user, stranger) in [(ann, UserId::new()), (bob, UserId::new())] {
        assert_eq!(store.recipients(id, user).await.unwrap(), Some(vec![]));
        assert_eq!(store.recipients(id, stranger).await.unwrap(), None);
    }
    store.unblock_user(bob, ann).await.unwrap();
    assert_eq!(store.recipients(id, ann).await.unwrap(), Some(vec![bob]));
    assert!(matches!(lasts(ann, 5).await.unwrap(), ConversationChangeOutcome::Done(..)));
}

async fn plaintext_forward_to_encrypted_conversation_is_rejected(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let source = group(&store, &[ann, bob]).await;
    let origin = send_stored(&store, source, text_message(ann, "1")).await;
    let new =
        NewConversationRow { encryption: Encryption::Mls, ..new_conversation(Kind::Group, ann) };
    let target = new.id;
    store.open_group(new, vec![bob], InvitationRule::Anyone, T0).await.unwrap();

    let forward = NewMessageRow {
        body: String::new(),
        forward_of: Some(origin.id),
        ..text_message(ann, "2")
    };
    assert_eq!(send(&store, target, forward).await, AppendOutcome::ForwardNotFound);
    assert_eq!(
        store.messages(target, ann, MessageRange::Latest, 9, T0).await.unwrap(),
        Some(vec![])
    );
}

async fn group_settings_control_posting_and_history_visibility(store: Store) {
    let [ann, bob, eve, dan] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    send_stored(&store, id, text_message(ann, "1")).await;
    let set = |new| store.update_conversation(id, ann, new, T0);
    let all = GroupSettingsPatch { history: Some(History::All), ..GroupSettingsPatch::default() };
    set(all).await.unwrap();
    store.add_member(id, ann, eve, InvitationRule::Anyone, T0).await.unwrap();
    let none = GroupSettingsPatch {
        history: Some(History::SinceJoining),
        ..GroupSettingsPatch::default()
    };
    set(none).await.unwrap();
    store.add_member(id, ann, dan, InvitationRule::Anyone, T0).await.unwrap();
    let admins =
        GroupSettingsPatch { who_writes: Some(Circle::Admins), ..GroupSettingsPatch::default() };
    set(admins).await.unwrap();

    let first = |user| {
        let store = store.clone();
        async move {
            let seen =
                store.messages(id, user, MessageRange::After(0), 1, T0).await.unwrap().unwrap();
            seen[0].message.seq
        }
    };
    assert_eq!((first(eve).await, first(dan).await), (1, 5));
    let received = store.messages(id, eve, MessageRange::Since(0), 1, T0).await.unwrap().unwrap();
    assert_eq!(received[0].message.seq, 3, "devices receive messages since joining");
    assert_eq!(send(&store, id, text_message(bob, "x")).await, AppendOutcome::NotAllowed);
    send_stored(&store, id, text_message(ann, "y")).await;
}

async fn mute_and_archive_are_per_member(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let patch = MemberSettingsPatch { muted_until: Some(Some(at(9))), archived: Some(true) };
    let settings = store.update_member_settings(id, bob, patch, at(1)).await.unwrap().unwrap();
    assert_eq!((settings.muted_until, settings.archived_at), (Some(at(9)), Some(at(1))));
    let again = MemberSettingsPatch { muted_until: None, archived: Some(true) };
    assert_eq!(store.update_member_settings(id, bob, again, at(5)).await.unwrap(), Some(settings));

    assert_eq!(store.update_member_settings(id, eve, patch, T0).await.unwrap(), None);
    let anns = store.user_conversations(ann, None, 9, T0).await.unwrap();
    assert_eq!((anns[0].settings.muted_until, anns[0].settings.archived_at), (None, None));
    assert_eq!(store.user_conversations(bob, None, 9, T0).await.unwrap()[0].settings, settings);
}

on_both!(
    shadow_blocked_edit_has_no_effect_but_appears_done,
    block_is_not_revealed_by_conversation_state,
    plaintext_forward_to_encrypted_conversation_is_rejected,
    group_settings_control_posting_and_history_visibility,
    mute_and_archive_are_per_member,
);
