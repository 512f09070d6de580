//! What becomes of messages is numbered, limited, seen by those who may, and gone when it is gone.

use std::time::Duration;

use base::ids::{ConversationId, MessageId, UserId};
use store::{
    AppendOutcome, Circle, ConversationChangeOutcome, Encryption, GroupSettingsPatch, History,
    InvitationRule, Kind, MemberSettingsPatch, MessageAction, MessageActionLimits,
    MessageActionOutcome, MessageActionRequest, MessageRange, MessageRow, MessageWithDetails,
    NewConversationRow, NewMessageRow, OpenDirect, RevisedMessage, SearchParams, Store,
};

use crate::harness::{T0, at, group, on_both, opening, people, say, words};

const LIMITS: MessageActionLimits = MessageActionLimits {
    edit: Duration::from_secs(100),
    delete: Duration::from_secs(200),
    emoji: 3,
    emoji_each: 2,
    pins: 2,
    edits: 3,
};

async fn said(store: &Store, id: ConversationId, new: NewMessageRow) -> MessageRow {
    match say(store, id, new).await {
        AppendOutcome::Stored(message) => message,
        other => panic!("{other:?}"),
    }
}

/// Somebody does something to a message, so many seconds after all began.
async fn does(
    store: &Store,
    message: &MessageRow,
    by: UserId,
    deed: MessageAction,
    seconds: u64,
) -> MessageActionOutcome {
    let id = message.conversation_id;
    store
        .alter(id, MessageActionRequest { by, message: message.id, deed }, LIMITS, at(seconds))
        .await
        .unwrap()
}

fn done(altered: MessageActionOutcome) -> (i64, MessageWithDetails) {
    match altered {
        MessageActionOutcome::Done { revision, shown, .. } => (revision, shown),
        other => panic!("{other:?}"),
    }
}

fn edit(body: &str) -> MessageAction {
    MessageAction::Edit { body: body.into(), mentions: None }
}

async fn changes(
    store: &Store,
    id: ConversationId,
    who: UserId,
    after: i64,
) -> Vec<RevisedMessage> {
    store.changes(id, who, after, 100, at(50)).await.unwrap().unwrap()
}

async fn edited_message_keeps_edit_history(store: Store) {
    let [ann, bob, eve] = people(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let message = said(&store, id, words(ann, "1")).await;

    let (first, _) = done(does(&store, &message, ann, edit("two"), 5).await);
    let (second, shown) = done(does(&store, &message, ann, edit("three"), 6).await);
    assert_eq!((first, second, shown.message.revision), (1, 2, 2));
    assert_eq!((shown.message.body.as_str(), shown.message.edited_at), ("three", Some(at(6))));
    assert!(matches!(
        does(&store, &message, ann, edit("three"), 7).await,
        MessageActionOutcome::Nothing(_)
    ));
    assert_eq!(does(&store, &message, bob, edit("x"), 7).await, MessageActionOutcome::NotAllowed);
    assert_eq!(does(&store, &message, eve, edit("x"), 7).await, MessageActionOutcome::NotAMember);
    assert_eq!(does(&store, &message, ann, edit("x"), 102).await, MessageActionOutcome::TooLate);
    done(does(&store, &message, ann, edit("four"), 8).await);
    assert_eq!(does(&store, &message, ann, edit("five"), 8).await, MessageActionOutcome::TooMany);

    let edits = store.message_edits(id, bob, message.id, at(9)).await.unwrap().unwrap();
    let bodies: Vec<_> = edits.iter().map(|edit| edit.body.as_str()).collect();
    assert_eq!(bodies, [message.body.as_str(), "two", "three"]);
    assert_eq!(store.message_edits(id, eve, message.id, at(9)).await.unwrap(), None);
    assert_eq!(store.message_edits(id, bob, MessageId::new(), at(9)).await.unwrap(), None);
    let missed = changes(&store, id, bob, 0).await;
    assert_eq!(missed.len(), 1, "of each message its newest change");
    assert_eq!(missed[0].revision(), 3);
    assert_eq!(changes(&store, id, bob, 3).await, []);
    assert_eq!(store.changes(id, eve, 0, 9, at(9)).await.unwrap(), None);
}

async fn reactions_are_idempotent_and_limited(store: Store) {
    let [ann, bob, eve] = people(&store).await;
    let id = group(&store, &[ann, bob, eve]).await;
    let message = said(&store, id, words(ann, "1")).await;
    let react = |emoji: &str| MessageAction::React(emoji.into());

    done(does(&store, &message, ann, react("a"), 2).await);
    done(does(&store, &message, bob, react("a"), 3).await);
    assert!(matches!(
        does(&store, &message, bob, react("a"), 3).await,
        MessageActionOutcome::Nothing(_)
    ));
    done(does(&store, &message, bob, react("b"), 4).await);
    assert_eq!(does(&store, &message, bob, react("c"), 4).await, MessageActionOutcome::TooMany);
    done(does(&store, &message, eve, react("c"), 5).await);
    assert_eq!(does(&store, &message, eve, react("d"), 5).await, MessageActionOutcome::TooMany);
    done(does(&store, &message, bob, MessageAction::Unreact("a".into()), 6).await);
    let unreact = does(&store, &message, bob, MessageAction::Unreact("a".into()), 6).await;
    assert!(matches!(unreact, MessageActionOutcome::Nothing(_)));

    let seen = store.messages(id, eve, MessageRange::Latest, 1, at(9)).await.unwrap().unwrap();
    let expected = [(ann, "a".to_owned()), (bob, "b".to_owned()), (eve, "c".to_owned())];
    assert_eq!(seen[0].reactions, expected);
}

async fn deleted_message_leaves_only_its_seq(store: Store) {
    let [ann, bob, eve] = people(&store).await;
    let id = group(&store, &[ann, bob, eve]).await;
    let mut new = words(bob, "1");
    new.mentions = vec![ann];
    let message = said(&store, id, new).await;
    done(does(&store, &message, bob, edit("zweite Fassung"), 2).await);
    done(does(&store, &message, eve, MessageAction::React("a".into()), 2).await);
    done(does(&store, &message, ann, MessageAction::Pin, 2).await);

    assert_eq!(
        does(&store, &message, eve, MessageAction::Delete, 3).await,
        MessageActionOutcome::NotAllowed
    );
    assert_eq!(
        does(&store, &message, bob, MessageAction::Delete, 300).await,
        MessageActionOutcome::TooLate
    );
    let (revision, shown) = done(does(&store, &message, ann, MessageAction::Delete, 300).await);
    let left = &shown.message;
    assert_eq!((left.seq, left.body.as_str(), left.revision), (1, "", revision));
    assert_eq!((left.deleted_at, &left.mentions, left.pinned_at), (Some(at(300)), &None, None));
    assert_eq!(shown.reactions, []);
    assert!(matches!(
        does(&store, &message, ann, MessageAction::Delete, 301).await,
        MessageActionOutcome::Nothing(_)
    ));
    assert_eq!(does(&store, &message, bob, edit("x"), 4).await, MessageActionOutcome::NotFound);
    assert_eq!(
        does(&store, &message, bob, MessageAction::React("a".into()), 4).await,
        MessageActionOutcome::NotFound
    );
    assert_eq!(store.message_edits(id, bob, message.id, at(301)).await.unwrap(), None);
    let found = store
        .search(
            SearchParams { viewer: bob, words: vec!["zweite".into()], within: None, before: None },
            9,
            at(301),
        )
        .await
        .unwrap();
    assert_eq!(found.shown, []);
    assert_eq!(store.pins(id, bob, at(301)).await.unwrap(), Some(vec![]));
    let again = say(&store, id, words(bob, "1")).await;
    assert!(matches!(again, AppendOutcome::Repeated(message) if message.body.is_empty()));
}

async fn message_deleted_for_me_stays_visible_to_others(store: Store) {
    let [ann, bob] = people(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let message = said(&store, id, words(ann, "1")).await;
    said(&store, id, words(ann, "2")).await;

    let (revision, _) = done(does(&store, &message, bob, MessageAction::Hide, 2).await);
    done(does(&store, &message, ann, edit("later"), 3).await);

    let seen = |who| {
        let store = store.clone();
        async move {
            let seen =
                store.messages(id, who, MessageRange::After(0), 9, at(9)).await.unwrap().unwrap();
            seen.iter().map(|shown| shown.message.seq).collect::<Vec<_>>()
        }
    };
    assert_eq!((seen(ann).await, seen(bob).await), (vec![1, 2], vec![2]));
    let hidden = RevisedMessage::Hidden { message: message.id, seq: 1, revision };
    assert_eq!(changes(&store, id, bob, 0).await, [hidden]);
    assert!(matches!(changes(&store, id, ann, 0).await[..], [RevisedMessage::Message(_)]));
    assert_eq!(
        does(&store, &message, bob, MessageAction::React("a".into()), 4).await,
        MessageActionOutcome::NotFound
    );
    let bobs = store.conversations_of(bob, None, 9, at(9)).await.unwrap();
    assert_eq!(bobs[0].unread, 1);
}

async fn expired_message_is_hidden_at_once_and_erased_on_sweep(store: Store) {
    let [ann, bob] = people(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let new = GroupSettingsPatch { expires_in: Some(Some(20)), ..GroupSettingsPatch::default() };
    store.set_up_conversation(id, ann, new, T0).await.unwrap();
    let mut quick = words(ann, "quick");
    quick.expires_in = Some(5);
    let quick = said(&store, id, quick).await; // said one second after all began
    let slow = said(&store, id, words(ann, "slow")).await;
    done(does(&store, &quick, ann, edit("canary"), 2).await);
    done(does(&store, &quick, bob, MessageAction::React("a".into()), 2).await);
    assert_eq!((quick.expires_at, slow.expires_at), (Some(at(6)), Some(at(21))));

    let at_six = store.messages(id, bob, MessageRange::After(1), 9, at(6)).await.unwrap().unwrap();
    assert_eq!((at_six[0].message.body.as_str(), at_six[0].reactions.len()), ("", 0));
    assert_eq!(at_six[0].message.deleted_at, Some(at(6)));
    let found = store
        .search(
            SearchParams { viewer: bob, words: vec!["canary".into()], within: None, before: None },
            9,
            at(6),
        )
        .await
        .unwrap();
    assert_eq!(found.shown, []);
    assert_eq!(store.message_edits(id, bob, quick.id, at(6)).await.unwrap(), None);
    assert_eq!(store.conversations_of(bob, None, 9, at(6)).await.unwrap()[0].unread, 1);
    assert_eq!(store.expire_messages(9, at(5)).await.unwrap(), []);
    let expired = store.expire_messages(9, at(6)).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert_eq!(expired[0].0.id, quick.id);
    assert_eq!(store.expire_messages(9, at(6)).await.unwrap(), []);
    let missed = changes(&store, id, bob, 2).await;
    assert!(matches!(&missed[..], [RevisedMessage::Message(s)] if s.message.deleted_at.is_some()));
    let left = store.messages(id, bob, MessageRange::After(1), 9, T0).await.unwrap().unwrap();
    assert_eq!(left[0].message.body, "", "removed, not only hidden");
    assert_eq!(left.len(), 2, "numbers have no holes");
}

async fn forward_names_author_but_not_source_conversation(store: Store) {
    let [ann, bob, eve] = people(&store).await;
    let here = group(&store, &[ann, bob]).await;
    let there = group(&store, &[bob, eve]).await;
    let origin = said(&store, here, words(ann, "1")).await;
    let pass = |who, of, name: &str| NewMessageRow {
        body: String::new(),
        forward_of: Some(of),
        ..words(who, name)
    };
    let passed = said(&store, there, pass(bob, origin.id, "2")).await;
    let again = said(&store, there, pass(eve, passed.id, "3")).await;

    assert_eq!((&passed.body, passed.forwarded_from), (&origin.body, Some(ann)));
    assert_eq!((&again.body, again.forwarded_from), (&origin.body, Some(ann)));
    let stolen = say(&store, there, pass(eve, origin.id, "4")).await;
    assert_eq!(stolen, AppendOutcome::NoSuchForward, "eve never saw the origin");
    assert_eq!(does(&store, &passed, bob, edit("x"), 2).await, MessageActionOutcome::NotAllowed);
    done(does(&store, &origin, ann, MessageAction::Delete, 2).await);
    assert_eq!(say(&store, there, pass(bob, origin.id, "5")).await, AppendOutcome::NoSuchForward);
}

async fn mentions_must_be_members_and_are_counted(store: Store) {
    let [ann, bob, eve] = people(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let to = |who, name: &str| NewMessageRow { mentions: vec![who], ..words(ann, name) };
    said(&store, id, to(bob, "1")).await;
    said(&store, id, to(ann, "2")).await;
    said(&store, id, words(ann, "3")).await;

    assert_eq!(say(&store, id, to(eve, "4")).await, AppendOutcome::NoSuchMention);
    let bobs = store.conversations_of(bob, None, 9, T0).await.unwrap();
    assert_eq!((bobs[0].unread, bobs[0].unread_mentions), (3, 1));
    let anns = store.conversations_of(ann, None, 9, T0).await.unwrap();
    assert_eq!((anns[0].unread, anns[0].unread_mentions), (0, 0));
}

async fn pins_are_limited_and_set_by_admins(store: Store) {
    let [ann, bob] = people(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let mut all = Vec::new();
    for n in 0..3 {
        all.push(said(&store, id, words(bob, &n.to_string())).await);
    }
    assert_eq!(
        does(&store, &all[0], bob, MessageAction::Pin, 2).await,
        MessageActionOutcome::NotAllowed
    );
    done(does(&store, &all[0], ann, MessageAction::Pin, 2).await);
    done(does(&store, &all[1], ann, MessageAction::Pin, 2).await);
    assert_eq!(
        does(&store, &all[2], ann, MessageAction::Pin, 2).await,
        MessageActionOutcome::TooMany
    );
    done(does(&store, &all[0], ann, MessageAction::Unpin, 2).await);
    done(does(&store, &all[2], ann, MessageAction::Pin, 2).await);

    let pins = store.pins(id, bob, at(3)).await.unwrap().unwrap();
    let seqs: Vec<_> = pins.iter().map(|shown| shown.message.seq).collect();
    assert_eq!(seqs, [3, 2]);
}

async fn shadow_blocked_edit_has_no_effect_but_appears_done(store: Store) {
    let [ann, bob] = people(&store).await;
    let opened =
        store.open_direct(opening(Kind::Direct, ann), bob, InvitationRule::Anybody, T0).await;
    let OpenDirect::Created(view) = opened.unwrap() else { panic!("it is new") };
    let id = view.conversation.id;
    let old = said(&store, id, words(ann, "1")).await;
    store.block(bob, ann, T0).await.unwrap();
    let unheard = said(&store, id, words(ann, "2")).await;

    let MessageActionOutcome::Done { shown, unseen, revision, .. } =
        does(&store, &old, ann, edit("hello?"), 2).await
    else {
        panic!("it looks done");
    };
    assert_eq!((shown.message.body.as_str(), shown.message.revision), ("hello?", 1));
    assert_eq!((unseen, revision), (vec![ann.min(bob), ann.max(bob)], 1), "nobody hears of it");
    let (_, shown) = done(does(&store, &old, ann, MessageAction::React("b".into()), 2).await);
    assert_eq!(shown.reactions, [(ann, "b".to_owned())]);
    assert_eq!(shown.message.body, old.body, "it only looked so");
    assert_eq!(
        does(&store, &old, ann, edit("x"), 102).await,
        MessageActionOutcome::TooLate,
        "as ever"
    );
    let there = store.message(id, ann, old.id, at(2)).await.unwrap().unwrap();
    assert_eq!((there.message, there.reactions), (old.clone(), vec![]));
    assert_eq!(
        does(&store, &old, bob, MessageAction::React("a".into()), 2).await,
        MessageActionOutcome::Blocked
    );
    done(does(&store, &unheard, ann, edit("hello??"), 2).await);
    assert_eq!(changes(&store, id, bob, 0).await, []);
    let found = store
        .search(
            SearchParams { viewer: bob, words: vec!["hello".into()], within: None, before: None },
            9,
            T0,
        )
        .await
        .unwrap();
    assert_eq!(found.shown, []);
    done(does(&store, &old, ann, MessageAction::Delete, 3).await);
    assert_eq!(changes(&store, id, bob, 0).await.len(), 1, "taking back is always allowed");
}

async fn block_is_not_revealed_by_conversation_state(store: Store) {
    let [ann, bob] = people(&store).await;
    let open = |by, other| {
        store.open_direct(opening(Kind::Direct, by), other, InvitationRule::Anybody, T0)
    };
    let OpenDirect::Created(view) = open(ann, bob).await.unwrap() else { panic!("it is new") };
    let id = view.conversation.id;
    let lasts = |by, seconds| {
        let new =
            GroupSettingsPatch { expires_in: Some(Some(seconds)), ..GroupSettingsPatch::default() };
        store.set_up_conversation(id, by, new, at(2))
    };
    store.block(bob, ann, T0).await.unwrap();

    assert_eq!(open(ann, bob).await.unwrap(), OpenDirect::Existing(view.clone()));
    let ConversationChangeOutcome::Unheard(shown) = lasts(ann, 5).await.unwrap() else {
        panic!("it looks done")
    };
    assert_eq!((shown.conversation.expires_in, shown.conversation.last_seq), (Some(5), 0));
    assert_eq!(
        lasts(bob, 5).await.unwrap(),
        ConversationChangeOutcome::NotReachable,
        "who blocks knows it"
    );
    assert_eq!(store.conversation(id, ann).await.unwrap(), Some(view));
    for (who, stranger) in [(ann, UserId::new()), (bob, UserId::new())] {
        assert_eq!(store.hearers(id, who).await.unwrap(), Some(vec![]));
        assert_eq!(store.hearers(id, stranger).await.unwrap(), None);
    }
    store.unblock(bob, ann).await.unwrap();
    assert_eq!(store.hearers(id, ann).await.unwrap(), Some(vec![bob]));
    assert!(matches!(lasts(ann, 5).await.unwrap(), ConversationChangeOutcome::Done(..)));
}

async fn plaintext_forward_to_encrypted_conversation_is_rejected(store: Store) {
    let [ann, bob] = people(&store).await;
    let here = group(&store, &[ann, bob]).await;
    let origin = said(&store, here, words(ann, "1")).await;
    let new = NewConversationRow { encryption: Encryption::Mls, ..opening(Kind::Group, ann) };
    let there = new.id;
    store.open_group(new, vec![bob], InvitationRule::Anybody, T0).await.unwrap();

    let pass =
        NewMessageRow { body: String::new(), forward_of: Some(origin.id), ..words(ann, "2") };
    assert_eq!(say(&store, there, pass).await, AppendOutcome::NoSuchForward);
    assert_eq!(
        store.messages(there, ann, MessageRange::Latest, 9, T0).await.unwrap(),
        Some(vec![])
    );
}

async fn group_settings_control_posting_and_history_visibility(store: Store) {
    let [ann, bob, eve, dan] = people(&store).await;
    let id = group(&store, &[ann, bob]).await;
    said(&store, id, words(ann, "1")).await;
    let set = |new| store.set_up_conversation(id, ann, new, T0);
    let all = GroupSettingsPatch { history: Some(History::All), ..GroupSettingsPatch::default() };
    set(all).await.unwrap();
    store.add_member(id, ann, eve, InvitationRule::Anybody, T0).await.unwrap();
    let none = GroupSettingsPatch {
        history: Some(History::SinceJoining),
        ..GroupSettingsPatch::default()
    };
    set(none).await.unwrap();
    store.add_member(id, ann, dan, InvitationRule::Anybody, T0).await.unwrap();
    let admins =
        GroupSettingsPatch { who_writes: Some(Circle::Admins), ..GroupSettingsPatch::default() };
    set(admins).await.unwrap();

    let first = |who| {
        let store = store.clone();
        async move {
            let seen =
                store.messages(id, who, MessageRange::After(0), 1, T0).await.unwrap().unwrap();
            seen[0].message.seq
        }
    };
    assert_eq!((first(eve).await, first(dan).await), (1, 5));
    let brought = store.messages(id, eve, MessageRange::Since(0), 1, T0).await.unwrap().unwrap();
    assert_eq!(brought[0].message.seq, 3, "a device is told of what came since");
    assert_eq!(say(&store, id, words(bob, "x")).await, AppendOutcome::NotAllowed);
    said(&store, id, words(ann, "y")).await;
}

async fn mute_and_archive_are_per_member(store: Store) {
    let [ann, bob, eve] = people(&store).await;
    let id = group(&store, &[ann, bob]).await;
    let keeping = MemberSettingsPatch { muted_until: Some(Some(at(9))), archived: Some(true) };
    let kept = store.keep_conversation(id, bob, keeping, at(1)).await.unwrap().unwrap();
    assert_eq!((kept.muted_until, kept.archived_at), (Some(at(9)), Some(at(1))));
    let again = MemberSettingsPatch { muted_until: None, archived: Some(true) };
    assert_eq!(store.keep_conversation(id, bob, again, at(5)).await.unwrap(), Some(kept));

    assert_eq!(store.keep_conversation(id, eve, keeping, T0).await.unwrap(), None);
    let anns = store.conversations_of(ann, None, 9, T0).await.unwrap();
    assert_eq!((anns[0].kept.muted_until, anns[0].kept.archived_at), (None, None));
    assert_eq!(store.conversations_of(bob, None, 9, T0).await.unwrap()[0].kept, kept);
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
    shadow_blocked_edit_has_no_effect_but_appears_done,
    block_is_not_revealed_by_conversation_state,
    plaintext_forward_to_encrypted_conversation_is_rejected,
    group_settings_control_posting_and_history_visibility,
    mute_and_archive_are_per_member,
);
