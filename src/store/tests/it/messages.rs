//! Messages are numbered without gaps, stored once, and tracked by receipts.

use std::collections::HashMap;

use base::ids::{ConversationId, MessageId};
use store::{
    AppendBatchOutcome, AppendOutcome, InvitationRule, Kind, MessageRange, MessageRow,
    NewMessageRow, OpenDirect, ReceiptKind, ReceiptOutcome, Store,
};

use crate::harness::{T0, at, create_users, group, new_conversation, on_both, send, text_message};

fn stored(append: AppendOutcome) -> MessageRow {
    match append {
        AppendOutcome::Stored(message) => message,
        other => panic!("{other:?}"),
    }
}

async fn appended_message_is_stored_unchanged(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let new = text_message(ann, "a");
    let sent = stored(send(&store, id, new.clone()).await);
    let reply = NewMessageRow { reply_to: Some(sent.id), ..text_message(bob, "b") };
    let reply = stored(send(&store, id, reply).await);

    assert_eq!((sent.id, sent.seq, sent.sender_id), (new.id, 1, ann));
    assert_eq!((sent.body.as_str(), sent.sent_at, sent.reply_to), (new.body.as_str(), at(1), None));
    assert_eq!((reply.seq, reply.reply_to), (2, Some(sent.id)));
    let seen = store.messages(id, bob, MessageRange::Latest, 9, T0).await.unwrap();
    let seen = seen.unwrap().into_iter().map(|shown| shown.message).collect::<Vec<_>>();
    assert_eq!(seen, [sent, reply]);
    assert_eq!(store.outbox_len().await.unwrap(), 2);
}

async fn sent_at_never_decreases_by_clock_differences(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let mut times = Vec::new();
    for (n, second) in [100, 98, 101, 10, 11].into_iter().enumerate() {
        let new = text_message(ann, &n.to_string());
        let sent = store.append_messages(id, vec![new], at(second)).await.unwrap();
        times.push(stored(sent.results.into_iter().next().unwrap()).sent_at);
    }

    // A clock that was wrong by more than seconds has no effect on later messages.
    assert_eq!(times, [at(100), at(100), at(101), at(10), at(11)]);
}

async fn concurrent_appends_get_gap_free_seqs(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let sends: Vec<_> = (0..200)
        .map(|n| {
            let store = store.clone();
            // Every fifth is a batch, every tenth repeats the client id of another.
            let name = if n % 10 == 9 { n - 1 } else { n };
            let mut new =
                vec![text_message(if name % 2 == 0 { ann } else { bob }, &name.to_string())];
            new.extend(
                (0..n % 5).filter(|_| n % 5 == 4).map(|k| text_message(ann, &format!("{n}/{k}"))),
            );
            tokio::task::spawn(async move {
                store.append_messages(id, new, at(1)).await.unwrap().results
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for sent in sends {
        numbers.extend(sent.await.unwrap().into_iter().filter_map(|append| match append {
            AppendOutcome::Stored(message) => Some(message.seq),
            AppendOutcome::Duplicate(_) => None,
            other => panic!("{other:?}"),
        }));
    }
    numbers.sort_unstable();

    assert_eq!(numbers, (1..=180 + 160).collect::<Vec<_>>());
    let seen = store.messages(id, ann, MessageRange::After(0), 1000, T0).await.unwrap().unwrap();
    assert_eq!(seen.iter().map(|shown| shown.message.seq).collect::<Vec<_>>(), numbers);
    assert_eq!(store.outbox_len().await.unwrap(), 340);
}

async fn append_is_idempotent_by_client_id(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let first = stored(send(&store, id, text_message(ann, "a")).await);
    let batch = vec![
        text_message(ann, "a"),
        text_message(ann, "b"),
        text_message(bob, "a"),
        text_message(ann, "b"),
    ];
    let appended = store.append_messages(id, batch, at(9)).await.unwrap();

    assert_eq!(appended.roster, 1);
    let [again, b, bobs, b_again] = <[AppendOutcome; 4]>::try_from(appended.results).unwrap();
    assert_eq!(again, AppendOutcome::Duplicate(first));
    let b = stored(b);
    assert_eq!((b.seq, stored(bobs).seq), (2, 3));
    assert_eq!(b_again, AppendOutcome::Duplicate(b));
    assert_eq!(store.outbox_len().await.unwrap(), 3);
    let fourth = stored(send(&store, id, text_message(ann, "c")).await);
    assert_eq!(fourth.seq, 4);
}

async fn batch_append_validates_each_message_separately(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let other_group = group(&store, &[ann, bob]).await;
    let foreign = stored(send(&store, other_group, text_message(ann, "x")).await).id;
    let first = text_message(ann, "1");
    let reply = |to, name| NewMessageRow { reply_to: Some(to), ..text_message(bob, name) };
    let batch = vec![
        first.clone(),
        text_message(eve, "2"),
        reply(first.id, "3"),
        reply(foreign, "4"),
        reply(MessageId::new(), "5"),
        text_message(bob, "6"),
    ];
    let AppendBatchOutcome { results, .. } = store.append_messages(id, batch, T0).await.unwrap();

    let seqs: Vec<_> = results
        .into_iter()
        .map(|append| match append {
            AppendOutcome::Stored(message) => Ok(message.seq),
            other => Err(Box::new(other)),
        })
        .collect();
    let no_reply = || Err(Box::new(AppendOutcome::ReplyTargetNotFound));
    assert_eq!(
        seqs,
        [Ok(1), Err(Box::new(AppendOutcome::NotAMember)), Ok(2), no_reply(), no_reply(), Ok(3)]
    );
    let unknown = store
        .append_messages(ConversationId::new(), vec![text_message(ann, "1")], T0)
        .await
        .unwrap();
    assert_eq!(
        unknown,
        AppendBatchOutcome {
            roster: 0,
            results: vec![AppendOutcome::NotAMember],
            attachments: HashMap::new()
        }
    );
    let nothing = store.append_messages(id, vec![], T0).await.unwrap();
    assert_eq!(
        nothing,
        AppendBatchOutcome { roster: 1, results: vec![], attachments: HashMap::new() }
    );
}

async fn shadow_blocked_message_is_hidden_and_block_not_revealed(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let opened = store
        .open_direct(new_conversation(Kind::Direct, ann), bob, InvitationRule::Anyone, T0)
        .await;
    let OpenDirect::Created(view) = opened.unwrap() else { panic!("must be created") };
    let id = view.conversation.id;
    let sent = stored(send(&store, id, text_message(ann, "1")).await);
    store.block_user(bob, ann, T0).await.unwrap();

    let withheld = stored(send(&store, id, text_message(ann, "2")).await);
    assert_eq!(withheld.withheld_from, Some(bob), "the blocked sender does not learn of it");
    assert_eq!(send(&store, id, text_message(bob, "2")).await, AppendOutcome::Blocked);
    assert_eq!(send(&store, id, text_message(ann, "1")).await, AppendOutcome::Duplicate(sent));
    store.unblock_user(bob, ann).await.unwrap();
    assert_eq!(stored(send(&store, id, text_message(ann, "3")).await).seq, 3);
    let seen = |user| {
        let store = store.clone();
        async move {
            let seen =
                store.messages(id, user, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
            seen.iter().map(|shown| shown.message.seq).collect::<Vec<_>>()
        }
    };
    assert_eq!((seen(ann).await, seen(bob).await), (vec![1, 2, 3], vec![1, 3]));
    let bobs = store.user_conversations(bob, None, 9, T0).await.unwrap();
    assert_eq!(bobs[0].unread, 2);
}

async fn messages_are_read_in_pages(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let batch: Vec<_> = (0..2500).map(|n| text_message(ann, &n.to_string())).collect();
    store.append_messages(id, batch, T0).await.unwrap();
    let page = |range, limit| {
        let store = store.clone();
        async move {
            let seen = store.messages(id, bob, range, limit, T0).await.unwrap().unwrap();
            seen.iter().map(|shown| shown.message.seq).collect::<Vec<_>>()
        }
    };

    assert_eq!(page(MessageRange::Latest, 3).await, [2498, 2499, 2500]);
    assert_eq!(page(MessageRange::Before(4), 2).await, [2, 3]);
    assert_eq!(page(MessageRange::After(2498), 9).await, [2499, 2500]);
    assert_eq!(page(MessageRange::After(0), 9999).await, (1..=2500).collect::<Vec<_>>());
    assert_eq!(store.messages(id, eve, MessageRange::Latest, 9, T0).await.unwrap(), None);
}

async fn receipts_only_move_forward(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let id = group(&store, &[ann, bob]).await;
    for n in 0..5 {
        send(&store, id, text_message(ann, &n.to_string())).await;
    }
    let mark = |user, receipt, seq| {
        let store = store.clone();
        async move { store.advance_receipt(id, user, receipt, seq, at(1)).await.unwrap() }
    };
    let moved = |delivered_seq, read_seq| ReceiptOutcome::Moved { delivered_seq, read_seq };

    assert_eq!(mark(bob, ReceiptKind::Delivered, 3).await, moved(3, 0));
    assert_eq!(mark(bob, ReceiptKind::Read, 2).await, moved(3, 2));
    assert_eq!(mark(bob, ReceiptKind::Delivered, 1).await, ReceiptOutcome::Unchanged);
    assert_eq!(mark(bob, ReceiptKind::Read, 99).await, moved(5, 5));
    assert_eq!(mark(bob, ReceiptKind::Read, 99).await, ReceiptOutcome::Unchanged);
    assert_eq!(mark(ann, ReceiptKind::Read, 5).await, ReceiptOutcome::Unchanged);
    assert_eq!(mark(eve, ReceiptKind::Read, 1).await, ReceiptOutcome::NotAMember);
    let unknown =
        store.advance_receipt(ConversationId::new(), ann, ReceiptKind::Read, 1, T0).await.unwrap();
    assert_eq!(unknown, ReceiptOutcome::NotAMember);
}

on_both!(
    sent_at_never_decreases_by_clock_differences,
    appended_message_is_stored_unchanged,
    concurrent_appends_get_gap_free_seqs,
    append_is_idempotent_by_client_id,
    batch_append_validates_each_message_separately,
    shadow_blocked_message_is_hidden_and_block_not_revealed,
    messages_are_read_in_pages,
    receipts_only_move_forward,
);
