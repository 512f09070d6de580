//! Full-text search in five languages, with the same results on both databases, limited to visible
//! messages.

use base::ids::{ConversationId, UserId};
use store::{
    AppendOutcome, MessageAction, MessageActionLimits, MessageActionRequest, NewMessageRow,
    SearchParams, Store, tokenizer,
};

use crate::harness::{T0, at, create_users, group, on_both, send, text_message as text};

async fn send_text(store: &Store, id: ConversationId, user: UserId, name: &str, body: &str) {
    let new = NewMessageRow { body: body.into(), ..text(user, name) };
    assert!(matches!(send(store, id, new).await, AppendOutcome::Stored(_)));
}

/// The texts that a user finds, newest first.
async fn search_texts(store: &Store, user: UserId, query: &str) -> Vec<String> {
    let found = store
        .search_messages(
            SearchParams {
                viewer: user,
                words: tokenizer::query_words(query),
                conversation: None,
                before: None,
            },
            99,
            at(5),
        )
        .await
        .unwrap();
    found.messages.into_iter().map(|shown| shown.message.body).collect()
}

async fn search_matches_text_in_several_languages(store: Store) {
    let [ann] = create_users(&store).await;
    let id = group(&store, &[ann]).await;
    let all = [
        "Die Straße war groß und schön",
        "Un café crème, s'il vous plaît — déjà vu à Paris",
        "Привет, ёжик! Как дела?",
        "明日は東京へ行きます",
        "The quick brown fox doesn't jump over foo_bar at 10.30",
        "Καλημέρα σας, ὁ λόγος",
        "👍 …",
    ];
    for (n, body) in all.iter().enumerate() {
        send_text(&store, id, ann, &n.to_string(), body).await;
    }
    for (query, n) in [
        ("STRASSE", 0),
        ("straße groß", 0),
        ("schon", 0),
        ("cafe creme", 1),
        ("DÉJÀ", 1),
        ("ежик", 2),
        ("дел", 2),
        ("東京", 3),
        ("京", 3),
        ("quick fox", 4),
        ("fox qui", 4),
        ("fox qu", 4),
        ("à", 1),
        ("doesn't", 4),
        ("10.30", 4),
        ("λογοσ", 5),
        ("ΛΌΓΟΣ", 5),
    ] {
        assert_eq!(search_texts(&store, ann, query).await, [all[n]], "{query}");
    }
    for query in ["strassen", "brow fox", "qui fox", "fox q", "大阪", "'; --", "* OR", "NEAR(a b)"]
    {
        assert_eq!(search_texts(&store, ann, query).await, [""; 0], "{query}");
    }
}

async fn search_returns_only_visible_messages(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let (both, own) = (group(&store, &[ann, bob]).await, group(&store, &[ann]).await);
    send_text(&store, both, ann, "1", "canary together").await;
    send_text(&store, own, ann, "2", "canary alone").await;

    assert_eq!(search_texts(&store, ann, "canary").await, ["canary alone", "canary together"]);
    assert_eq!(search_texts(&store, bob, "canary").await, ["canary together"]);
    assert_eq!(search_texts(&store, eve, "canary").await, [""; 0]);
    let place = format!("\u{e000}{}", own.uuid().simple());
    assert_eq!(search_texts(&store, bob, &place).await, [""; 0]);
    store.remove_member(both, ann, bob, T0).await.unwrap();
    assert_eq!(search_texts(&store, bob, "canary").await, [""; 0]);
    store.add_member(both, ann, bob, store::InvitationRule::Anyone, T0).await.unwrap();
    assert_eq!(search_texts(&store, bob, "canary").await, [""; 0], "sent before they rejoined");
    let there = store
        .search_messages(
            SearchParams {
                viewer: ann,
                words: vec!["canary".into()],
                conversation: Some(both),
                before: None,
            },
            9,
            T0,
        )
        .await
        .unwrap();
    assert_eq!((there.messages.len(), there.next_before), (1, None));
}

async fn search_index_follows_edits(store: Store) {
    let [ann] = create_users(&store).await;
    let id = group(&store, &[ann]).await;
    send_text(&store, id, ann, "1", "before").await;
    let message =
        store.messages(id, ann, store::MessageRange::Latest, 1, T0).await.unwrap().unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let limits = MessageActionLimits {
        edit_window: hour,
        delete_window: hour,
        max_emoji: 9,
        max_emoji_per_user: 9,
        max_pins: 9,
        max_edits: 9,
    };
    for (body, word) in [("after", "after"), ("👍", ""), ("third", "third")] {
        let deed = MessageAction::Edit { body: body.into(), mentions: None };
        store
            .apply_message_action(
                id,
                MessageActionRequest { by: ann, message: message[0].message.id, action: deed },
                limits,
                at(2),
            )
            .await
            .unwrap();
        assert_eq!(search_texts(&store, ann, "before").await, [""; 0]);
        if !word.is_empty() {
            assert_eq!(search_texts(&store, ann, word).await, [body]);
        }
    }
}

async fn search_results_are_paged(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let (id, elsewhere) = (group(&store, &[ann]).await, group(&store, &[bob]).await);
    let batch = |user, n: usize| -> Vec<NewMessageRow> {
        let new = |k: usize| NewMessageRow { body: "common".into(), ..text(user, &k.to_string()) };
        (n..n + 400).map(new).collect()
    };
    for n in 0..3 {
        store.append_messages(id, batch(ann, 400 * n), at(1)).await.unwrap();
        store.append_messages(elsewhere, batch(bob, 400 * n), at(1)).await.unwrap();
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store
            .search_messages(
                SearchParams { viewer: ann, words: vec!["com".into()], conversation: None, before },
                70,
                at(2),
            )
            .await
            .unwrap();
        seen.extend(page.messages.iter().map(|shown| shown.message.seq));
        assert!(page.messages.len() == 70 || page.next_before.is_none());
        before = page.next_before;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=1200).rev().collect::<Vec<_>>());
}

async fn search_page_scan_is_bounded(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let id = group(&store, &[ann]).await;
    for n in 0..11 {
        let new = |k: usize| NewMessageRow {
            body: if n + k == 0 { "common first".into() } else { "common".into() },
            ..text(ann, &(1000 * n + k).to_string())
        };
        store.append_messages(id, (0..1000).map(new).collect(), at(1)).await.unwrap();
    }
    store.add_member(id, ann, bob, store::InvitationRule::Anyone, at(2)).await.unwrap();
    let own = group(&store, &[bob]).await;
    let look = |before| {
        let words = vec!["common".into()];
        store.search_messages(
            SearchParams { viewer: bob, words, conversation: None, before },
            9,
            at(3),
        )
    };
    let none = look(None).await.unwrap();
    assert_eq!(none.messages, [], "all were sent before he joined");

    let rest = look(none.next_before).await.unwrap();
    assert!(none.next_before.is_some(), "eleven thousand are too many for one page");
    assert_eq!((rest.messages, rest.next_before), (vec![], None), "the rest is not");
    send_text(&store, own, bob, "1", "common too").await;
    let found = look(None).await.unwrap();
    assert_eq!(found.messages.len(), 1, "a short page keeps its hits");
    assert!(found.next_before.is_some());
}

on_both!(
    search_matches_text_in_several_languages,
    search_returns_only_visible_messages,
    search_index_follows_edits,
    search_results_are_paged,
    search_page_scan_is_bounded,
);
