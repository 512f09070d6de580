//! Message actions: revisions, limits, visibility and deletion.

use std::time::Duration;

use base::ids::{ConversationId, MessageId, UserId};
use store::{
    AppendOutcome, GroupSettingsPatch, MessageAction, MessageActionLimits, MessageActionOutcome,
    MessageActionRequest, MessageRange, MessageRow, MessageWithDetails, NewMessageRow,
    RevisedMessage, SearchParams, Store,
};

use crate::harness::{T0, at, create_users, group, on_both, send, text_message};

const LIMITS: MessageActionLimits = MessageActionLimits {
    edit_window: Duration::from_secs(100),
    delete_window: Duration::from_secs(200),
    max_emoji: 3,
    max_emoji_per_user: 2,
    max_pins: 2,
    max_edits: 3,
};

pub(crate) async fn send_stored(
    store: &Store,
    id: ConversationId,
    new: NewMessageRow,
) -> MessageRow {
    match send(store, id, new).await {
        AppendOutcome::Stored(message) => message,
        other => panic!("{other:?}"),
    }
}

/// Applies an action to a message, `seconds` after T0.
pub(crate) async fn act(
    store: &Store,
    message: &MessageRow,
    by: UserId,
    action: MessageAction,
    seconds: u64,
) -> MessageActionOutcome {
    let id = message.conversation_id;
    store
        .apply_message_action(
            id,
            MessageActionRequest { by, message: message.id, action },
            LIMITS,
            at(seconds),
        )
        .await
        .unwrap()
}

pub(crate) fn done(outcome: MessageActionOutcome) -> (i64, MessageWithDetails) {
    match outcome {
        MessageActionOutcome::Done { revision, current: shown, .. } => (revision, shown),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn edit(body: &str) -> MessageAction {
    MessageAction::Edit { body: body.into(), mentions: None }
}

pub(crate) async fn changes(
    store: &Store,
    id: ConversationId,
    user: UserId,
    after: i64,
) -> Vec<RevisedMessage> {
    store.message_changes(id, user, after, 100, at(50)).await.unwrap().unwrap()
}

async fn edited_message_keeps_edit_history(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let message = send_stored(&store, id, text_message(ann, "1")).await;

    let (first, _) = done(act(&store, &message, ann, edit("two"), 5).await);
    let (second, shown) = done(act(&store, &message, ann, edit("three"), 6).await);
    assert_eq!((first, second, shown.message.revision), (1, 2, 2));
    assert_eq!((shown.message.body.as_str(), shown.message.edited_at), ("three", Some(at(6))));
    assert!(matches!(
        act(&store, &message, ann, edit("three"), 7).await,
        MessageActionOutcome::Unchanged(_)
    ));
    assert_eq!(act(&store, &message, bob, edit("x"), 7).await, MessageActionOutcome::NotAllowed);
    assert_eq!(act(&store, &message, eve, edit("x"), 7).await, MessageActionOutcome::NotAMember);
    assert_eq!(act(&store, &message, ann, edit("x"), 102).await, MessageActionOutcome::TooLate);
    done(act(&store, &message, ann, edit("four"), 8).await);
    assert_eq!(
        act(&store, &message, ann, edit("five"), 8).await,
        MessageActionOutcome::EditLimitReached
    );

    let edits = store.message_edits(id, bob, message.id, at(9)).await.unwrap().unwrap();
    let bodies: Vec<_> = edits.iter().map(|edit| edit.body.as_str()).collect();
    assert_eq!(bodies, [message.body.as_str(), "two", "three"]);
    assert_eq!(store.message_edits(id, eve, message.id, at(9)).await.unwrap(), None);
    assert_eq!(store.message_edits(id, bob, MessageId::new(), at(9)).await.unwrap(), None);
    let missed = changes(&store, id, bob, 0).await;
    assert_eq!(missed.len(), 1, "only the newest change of each message");
    assert_eq!(missed[0].revision(), 3);
    assert_eq!(changes(&store, id, bob, 3).await, []);
    assert_eq!(store.message_changes(id, eve, 0, 9, at(9)).await.unwrap(), None);
}

async fn reactions_are_idempotent_and_limited(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob, eve]).await;
    let message = send_stored(&store, id, text_message(ann, "1")).await;
    let react = |emoji: &str| MessageAction::React(emoji.into());

    done(act(&store, &message, ann, react("a"), 2).await);
    done(act(&store, &message, bob, react("a"), 3).await);
    assert!(matches!(
        act(&store, &message, bob, react("a"), 3).await,
        MessageActionOutcome::Unchanged(_)
    ));
    done(act(&store, &message, bob, react("b"), 4).await);
    assert_eq!(
        act(&store, &message, bob, react("c"), 4).await,
        MessageActionOutcome::ReactionLimitReached
    );
    done(act(&store, &message, eve, react("c"), 5).await);
    assert_eq!(
        act(&store, &message, eve, react("d"), 5).await,
        MessageActionOutcome::EmojiLimitReached
    );
    done(act(&store, &message, bob, MessageAction::Unreact("a".into()), 6).await);
    let unreact = act(&store, &message, bob, MessageAction::Unreact("a".into()), 6).await;
    assert!(matches!(unreact, MessageActionOutcome::Unchanged(_)));

    let seen = store.messages(id, eve, MessageRange::Latest, 1, at(9)).await.unwrap().unwrap();
    let expected = [(ann, "a".to_owned()), (bob, "b".to_owned()), (eve, "c".to_owned())];
    assert_eq!(seen[0].reactions, expected);
}

async fn deleted_message_leaves_only_its_seq(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob, eve]).await;
    let mut new = text_message(bob, "1");
    new.mentions = vec![ann];
    let message = send_stored(&store, id, new).await;
    done(act(&store, &message, bob, edit("zweite Fassung"), 2).await);
    done(act(&store, &message, eve, MessageAction::React("a".into()), 2).await);
    done(act(&store, &message, ann, MessageAction::Pin, 2).await);

    assert_eq!(
        act(&store, &message, eve, MessageAction::Delete, 3).await,
        MessageActionOutcome::NotAllowed
    );
    assert_eq!(
        act(&store, &message, bob, MessageAction::Delete, 300).await,
        MessageActionOutcome::TooLate
    );
    let (revision, shown) = done(act(&store, &message, ann, MessageAction::Delete, 300).await);
    let left = &shown.message;
    assert_eq!((left.seq, left.body.as_str(), left.revision), (1, "", revision));
    assert_eq!((left.deleted_at, &left.mentions, left.pinned_at), (Some(at(300)), &None, None));
    assert_eq!(shown.reactions, []);
    assert!(matches!(
        act(&store, &message, ann, MessageAction::Delete, 301).await,
        MessageActionOutcome::Unchanged(_)
    ));
    assert_eq!(act(&store, &message, bob, edit("x"), 4).await, MessageActionOutcome::NotFound);
    assert_eq!(
        act(&store, &message, bob, MessageAction::React("a".into()), 4).await,
        MessageActionOutcome::NotFound
    );
    assert_eq!(store.message_edits(id, bob, message.id, at(301)).await.unwrap(), None);
    let found = store
        .search_messages(
            SearchParams {
                viewer: bob,
                words: vec!["zweite".into()],
                conversation: None,
                before: None,
            },
            9,
            at(301),
        )
        .await
        .unwrap();
    assert_eq!(found.messages, []);
    assert_eq!(store.pinned_messages(id, bob, at(301)).await.unwrap(), Some(vec![]));
    let again = send(&store, id, text_message(bob, "1")).await;
    assert!(matches!(again, AppendOutcome::Duplicate(message) if message.body.is_empty()));
}

async fn message_deleted_for_me_stays_visible_to_others(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let message = send_stored(&store, id, text_message(ann, "1")).await;
    send_stored(&store, id, text_message(ann, "2")).await;

    let (revision, _) = done(act(&store, &message, bob, MessageAction::Hide, 2).await);
    done(act(&store, &message, ann, edit("later"), 3).await);

    let seen = |user| {
        let store = store.clone();
        async move {
            let seen =
                store.messages(id, user, MessageRange::After(0), 9, at(9)).await.unwrap().unwrap();
            seen.iter().map(|shown| shown.message.seq).collect::<Vec<_>>()
        }
    };
    assert_eq!((seen(ann).await, seen(bob).await), (vec![1, 2], vec![2]));
    let hidden = RevisedMessage::Hidden { message: message.id, seq: 1, revision };
    assert_eq!(changes(&store, id, bob, 0).await, [hidden]);
    assert!(matches!(changes(&store, id, ann, 0).await[..], [RevisedMessage::Message(_)]));
    assert_eq!(
        act(&store, &message, bob, MessageAction::React("a".into()), 4).await,
        MessageActionOutcome::NotFound
    );
    let bobs = store.user_conversations(bob, None, 9, at(9)).await.unwrap();
    assert_eq!(bobs[0].unread, 1);
}

async fn expired_message_is_hidden_at_once_and_erased_on_sweep(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let new = GroupSettingsPatch { expires_in: Some(Some(20)), ..GroupSettingsPatch::default() };
    store.update_conversation(id, ann, new, T0).await.unwrap();
    let mut quick = text_message(ann, "quick");
    quick.expires_in = Some(5);
    let quick = send_stored(&store, id, quick).await; // sent one second after T0
    let slow = send_stored(&store, id, text_message(ann, "slow")).await;
    done(act(&store, &quick, ann, edit("canary"), 2).await);
    done(act(&store, &quick, bob, MessageAction::React("a".into()), 2).await);
    assert_eq!((quick.expires_at, slow.expires_at), (Some(at(6)), Some(at(21))));

    let at_six = store.messages(id, bob, MessageRange::After(1), 9, at(6)).await.unwrap().unwrap();
    assert_eq!((at_six[0].message.body.as_str(), at_six[0].reactions.len()), ("", 0));
    assert_eq!(at_six[0].message.deleted_at, Some(at(6)));
    let found = store
        .search_messages(
            SearchParams {
                viewer: bob,
                words: vec!["canary".into()],
                conversation: None,
                before: None,
            },
            9,
            at(6),
        )
        .await
        .unwrap();
    assert_eq!(found.messages, []);
    assert_eq!(store.message_edits(id, bob, quick.id, at(6)).await.unwrap(), None);
    assert_eq!(store.user_conversations(bob, None, 9, at(6)).await.unwrap()[0].unread, 1);
    assert_eq!(store.expire_messages(9, at(5)).await.unwrap(), []);
    let expired = store.expire_messages(9, at(6)).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].0.id, quick.id);
    assert_eq!(store.expire_messages(9, at(6)).await.unwrap(), []);
    let missed = changes(&store, id, bob, 2).await;
    assert!(matches!(&missed[..], [RevisedMessage::Message(s)] if s.message.deleted_at.is_some()));
    let left = store.messages(id, bob, MessageRange::After(1), 9, T0).await.unwrap().unwrap();
    assert_eq!(left[0].message.body, "", "removed, not only hidden");
    assert_eq!(left.len(), 2, "sequence numbers have no gaps");
}

async fn forward_names_author_but_not_source_conversation(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let source = group(&store, &[ann, bob]).await;
    let target = group(&store, &[bob, eve]).await;
    let origin = send_stored(&store, source, text_message(ann, "1")).await;
    let forward = |user, of, name: &str| NewMessageRow {
        body: String::new(),
        forward_of: Some(of),
        ..text_message(user, name)
    };
    let forwarded = send_stored(&store, target, forward(bob, origin.id, "2")).await;
    let again = send_stored(&store, target, forward(eve, forwarded.id, "3")).await;

    assert_eq!((&forwarded.body, forwarded.forwarded_from), (&origin.body, Some(ann)));
    assert_eq!((&again.body, again.forwarded_from), (&origin.body, Some(ann)));
    let rejected = send(&store, target, forward(eve, origin.id, "4")).await;
    assert_eq!(rejected, AppendOutcome::ForwardNotFound, "eve cannot see the original");
    assert_eq!(act(&store, &forwarded, bob, edit("x"), 2).await, MessageActionOutcome::NotAllowed);
    done(act(&store, &origin, ann, MessageAction::Delete, 2).await);
    assert_eq!(
        send(&store, target, forward(bob, origin.id, "5")).await,
        AppendOutcome::ForwardNotFound
    );
}

async fn mentions_must_be_members_and_are_counted(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let to = |user, name: &str| NewMessageRow { mentions: vec![user], ..text_message(ann, name) };
    send_stored(&store, id, to(bob, "1")).await;
    send_stored(&store, id, to(ann, "2")).await;
    send_stored(&store, id, text_message(ann, "3")).await;

    assert_eq!(send(&store, id, to(eve, "4")).await, AppendOutcome::MentionNotFound);
    let bobs = store.user_conversations(bob, None, 9, T0).await.unwrap();
    assert_eq!((bobs[0].unread, bobs[0].unread_mentions), (3, 1));
    let anns = store.user_conversations(ann, None, 9, T0).await.unwrap();
    assert_eq!((anns[0].unread, anns[0].unread_mentions), (0, 0));
}

async fn pins_are_limited_and_set_by_admins(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let mut all = Vec::new();
    for n in 0..3 {
        all.push(send_stored(&store, id, text_message(bob, &n.to_string())).await);
    }
    assert_eq!(
        act(&store, &all[0], bob, MessageAction::Pin, 2).await,
        MessageActionOutcome::NotAllowed
    );
    done(act(&store, &all[0], ann, MessageAction::Pin, 2).await);
    done(act(&store, &all[1], ann, MessageAction::Pin, 2).await);
    assert_eq!(
        act(&store, &all[2], ann, MessageAction::Pin, 2).await,
        MessageActionOutcome::PinLimitReached
    );
    done(act(&store, &all[0], ann, MessageAction::Unpin, 2).await);
    done(act(&store, &all[2], ann, MessageAction::Pin, 2).await);

    let pins = store.pinned_messages(id, bob, at(3)).await.unwrap().unwrap();
    let seqs: Vec<_> = pins.iter().map(|shown| shown.message.seq).collect();
    assert_eq!(seqs, [3, 2]);
}

on_both!(
    edited_message_keeps_edit_history,
    reactions_are_idempotent_and_limited,
    deleted_message_leaves_only_its_seq,
    message_deleted_for_me_stays_visible_to_others,
    expired_message_is_hidden_at_once_and_erased_on_sweep,
    forward_names_author_but_not_source_conversation,
    mentions_must_be_members_and_are_counted,
    pins_are_limited_and_set_by_admins,
);
