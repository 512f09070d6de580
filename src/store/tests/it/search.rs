//! Words are found in five languages, the same on both databases, by those who may see them.

use base::ids::{ConversationId, UserId};
use store::{
    AppendOutcome, MessageAction, MessageActionLimits, MessageActionRequest, NewMessageRow,
    SearchParams, Store, tokenizer,
};

use crate::harness::{T0, at, group, on_both, people, say, words as text};

async fn says(store: &Store, id: ConversationId, who: UserId, name: &str, body: &str) {
    let new = NewMessageRow { body: body.into(), ..text(who, name) };
    assert!(matches!(say(store, id, new).await, AppendOutcome::Stored(_)));
}

/// What somebody finds, what was said last first.
async fn finds(store: &Store, who: UserId, query: &str) -> Vec<String> {
    let found = store
        .search(
            SearchParams {
                viewer: who,
                words: tokenizer::wanted(query),
                within: None,
                before: None,
            },
            99,
            at(5),
        )
        .await
        .unwrap();
    found.shown.into_iter().map(|shown| shown.message.body).collect()
}

async fn search_matches_text_in_several_languages(store: Store) {
    let [ann] = people(&store).await;
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
        says(&store, id, ann, &n.to_string(), body).await;
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
        assert_eq!(finds(&store, ann, query).await, [all[n]], "{query}");
    }
    for query in ["strassen", "brow fox", "qui fox", "fox q", "大阪", "'; --", "* OR", "NEAR(a b)"]
    {
        assert_eq!(finds(&store, ann, query).await, [""; 0], "{query}");
    }
}

async fn search_returns_only_visible_messages(store: Store) {
    let [ann, bob, eve] = people(&store).await;
    let (both, own) = (group(&store, &[ann, bob]).await, group(&store, &[ann]).await);
    says(&store, both, ann, "1", "canary together").await;
    says(&store, own, ann, "2", "canary alone").await;

    assert_eq!(finds(&store, ann, "canary").await, ["canary alone", "canary together"]);
    assert_eq!(finds(&store, bob, "canary").await, ["canary together"]);
    assert_eq!(finds(&store, eve, "canary").await, [""; 0]);
    let place = format!("\u{e000}{}", own.uuid().simple());
    assert_eq!(finds(&store, bob, &place).await, [""; 0]);
    store.remove_member(both, ann, bob, T0).await.unwrap();
    assert_eq!(finds(&store, bob, "canary").await, [""; 0]);
    store.add_member(both, ann, bob, store::InvitationRule::Anybody, T0).await.unwrap();
    assert_eq!(finds(&store, bob, "canary").await, [""; 0], "said before they came back");
    let there = store
        .search(
            SearchParams {
                viewer: ann,
                words: vec!["canary".into()],
                within: Some(both),
                before: None,
            },
            9,
            T0,
        )
        .await
        .unwrap();
    assert_eq!((there.shown.len(), there.next), (1, None));
}

async fn search_index_follows_edits(store: Store) {
    let [ann] = people(&store).await;
    let id = group(&store, &[ann]).await;
    says(&store, id, ann, "1", "before").await;
    let message =
        store.messages(id, ann, store::MessageRange::Latest, 1, T0).await.unwrap().unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let limits = MessageActionLimits {
        edit: hour,
        delete: hour,
        emoji: 9,
        emoji_each: 9,
        pins: 9,
        edits: 9,
    };
    for (body, word) in [("after", "after"), ("👍", ""), ("third", "third")] {
        let deed = MessageAction::Edit { body: body.into(), mentions: None };
        store
            .alter(
                id,
                MessageActionRequest { by: ann, message: message[0].message.id, deed },
                limits,
                at(2),
            )
            .await
            .unwrap();
        assert_eq!(finds(&store, ann, "before").await, [""; 0]);
        if !word.is_empty() {
            assert_eq!(finds(&store, ann, word).await, [body]);
        }
    }
}

async fn search_results_are_paged(store: Store) {
    let [ann, bob] = people(&store).await;
    let (id, elsewhere) = (group(&store, &[ann]).await, group(&store, &[bob]).await);
    let batch = |who, n: usize| -> Vec<NewMessageRow> {
        let new = |k: usize| NewMessageRow { body: "common".into(), ..text(who, &k.to_string()) };
        (n..n + 400).map(new).collect()
    };
    for n in 0..3 {
        store.append(id, batch(ann, 400 * n), at(1)).await.unwrap();
        store.append(elsewhere, batch(bob, 400 * n), at(1)).await.unwrap();
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store
            .search(
                SearchParams { viewer: ann, words: vec!["com".into()], within: None, before },
                70,
                at(2),
            )
            .await
            .unwrap();
        seen.extend(page.shown.iter().map(|shown| shown.message.seq));
        assert!(page.shown.len() == 70 || page.next.is_none());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, (1..=1200).rev().collect::<Vec<_>>());
}

async fn search_page_scan_is_bounded(store: Store) {
    let [ann, bob] = people(&store).await;
    let id = group(&store, &[ann]).await;
    for n in 0..11 {
        let new = |k: usize| NewMessageRow {
            body: if n + k == 0 { "common first".into() } else { "common".into() },
            ..text(ann, &(1000 * n + k).to_string())
        };
        store.append(id, (0..1000).map(new).collect(), at(1)).await.unwrap();
    }
    store.add_member(id, ann, bob, store::InvitationRule::Anybody, at(2)).await.unwrap();
    let own = group(&store, &[bob]).await;
    let look = |before| {
        let words = vec!["common".into()];
        store.search(SearchParams { viewer: bob, words, within: None, before }, 9, at(3))
    };
    let none = look(None).await.unwrap();
    assert_eq!(none.shown, [], "all was said before he came");

    let rest = look(none.next).await.unwrap();
    assert!(none.next.is_some(), "eleven thousand are too many at once");
    assert_eq!((rest.shown, rest.next), (vec![], None), "the rest is not");
    says(&store, own, bob, "1", "common too").await;
    let found = look(None).await.unwrap();
    assert_eq!(found.shown.len(), 1, "what is found is kept though the page is short");
    assert!(found.next.is_some());
}

on_both!(
    search_matches_text_in_several_languages,
    search_returns_only_visible_messages,
    search_index_follows_edits,
    search_results_are_paged,
    search_page_scan_is_bounded,
);
