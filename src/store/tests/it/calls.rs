//! Calls are closed once, whoever closes them, and appear in the history of their participants.

use base::ids::{CallId, NodeId, UserId};
use store::{
    CallMedia, CallOutcome as O, CallParticipantRow, CallPermission, CallReason, CallWriteOutcome,
    EndedCall, InvitationRule, NewCall, Store,
};

use crate::harness::{T0, at, create_users, on_both};

fn call(by: UserId, callees: &[UserId]) -> NewCall {
    NewCall {
        id: CallId::new(),
        conversation_id: None,
        session: None,
        created_by: by,
        media: CallMedia::Video,
        node: NodeId::new(),
        callees: callees.to_vec(),
        shadow_blocked: Vec::new(),
        rings_until: at(45),
    }
}

fn participant(user_id: UserId, outcome: O) -> CallParticipantRow {
    CallParticipantRow { user_id, outcome, joined_at: Some(at(2)), left_at: Some(at(9)) }
}

async fn call_is_closed_exactly_once_and_recorded(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let new = call(ann, &[bob]);
    let id = new.id;
    store.create_call(new, None, T0).await.unwrap();
    assert_eq!(store.answer_call(id, None, at(2)).await.unwrap(), CallWriteOutcome::Done);
    assert_eq!(store.answer_call(id, None, at(3)).await.unwrap(), CallWriteOutcome::AlreadyDone);
    let end = EndedCall {
        id,
        reason: CallReason::Hangup,
        answered_at: Some(at(2)),
        participants: vec![participant(ann, O::Joined), participant(bob, O::Joined)],
    };
    let closed =
        tokio::join!(store.end_call(end.clone(), None, at(9)), store.end_call(end, None, at(9)));

    assert_ne!(closed.0.unwrap(), closed.1.unwrap(), "exactly one of the two closed it");
    for somebody in [ann, bob] {
        let [record] = &store.call_history(somebody, None, 10).await.unwrap()[..] else {
            panic!("one record")
        };
        assert_eq!((record.call.id, record.caller_name.as_str()), (id, "Person 0"));
        assert_eq!(record.call.answered_at, Some(at(2)));
        assert_eq!(record.call.reason, Some(CallReason::Hangup));
        assert_eq!(record.participants.len(), 2);
    }
    assert!(store.call_history(eve, None, 10).await.unwrap().is_empty());
}

async fn invitees_are_notified_through_outbox(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let new = call(ann, &[bob]);
    let id = new.id;
    store.create_call(new, None, T0).await.unwrap();
    assert_eq!(store.outbox_len().await.unwrap(), 1);
    assert!(store.add_callee(id, ann, (eve, true), at(50), at(1)).await.unwrap());
    assert_eq!(store.outbox_len().await.unwrap(), 2);
    let end = EndedCall {
        id,
        reason: CallReason::Missed,
        answered_at: None,
        participants: vec![participant(ann, O::Joined), participant(bob, O::Missed)],
    };
    assert_eq!(store.end_call(end, None, at(45)).await.unwrap(), CallWriteOutcome::Done);

    assert_eq!(store.outbox_len().await.unwrap(), 3, "a missed call is announced");
    assert!(
        !store.add_callee(id, ann, (eve, true), at(99), at(50)).await.unwrap(),
        "the call has ended"
    );
    assert_eq!(store.outbox_len().await.unwrap(), 3);
    let [record] = &store.call_history(eve, None, 10).await.unwrap()[..] else {
        panic!("one record")
    };
    let eve_row = record.participants.iter().find(|(person, _)| person.user_id == eve).unwrap();
    assert_eq!(eve_row.0.outcome, O::Missed, "called, but never joined");
}

async fn orphaned_open_calls_are_closed_as_failed(store: Store) {
    let [ann, bob, _] = create_users(&store).await;
    let new = call(ann, &[bob]);
    let id = new.id;
    store.create_call(new, None, T0).await.unwrap();
    assert_eq!(store.open_calls().await.unwrap(), [id]);
    assert_eq!(store.close_calls(vec![id], at(100)).await.unwrap(), 1);
    assert_eq!(store.close_calls(vec![id], at(101)).await.unwrap(), 0);
    assert!(store.open_calls().await.unwrap().is_empty());

    let [record] = &store.call_history(bob, None, 10).await.unwrap()[..] else {
        panic!("one record")
    };
    assert_eq!(record.call.reason, Some(CallReason::Failed));
    let bob_row = record.participants.iter().find(|(person, _)| person.user_id == bob).unwrap();
    assert_eq!(bob_row.0.outcome, O::Missed);
}

async fn call_history_is_paged_newest_first(store: Store) {
    let [ann, bob, _] = create_users(&store).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let new = call(ann, &[bob]);
        ids.push(new.id);
        store.create_call(new, None, at(n)).await.unwrap();
    }
    ids.reverse();
    let first = store.call_history(bob, None, 3).await.unwrap();
    let rest = store.call_history(bob, Some(first[2].call.id), 3).await.unwrap();

    let seen: Vec<_> = first.iter().chain(&rest).map(|record| record.call.id).collect();
    assert_eq!(seen, ids);
}

async fn stranger_call_is_denied_and_blocked_call_is_shadowed(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    store.request_contact(ann, bob, T0).await.unwrap();
    store.accept_contact(bob, ann, T0).await.unwrap();
    let permission = |from, to, rule| {
        let store = store.clone();
        async move { store.call_permission(from, to, rule).await.unwrap() }
    };
    let near = InvitationRule::ContactsOrSharedGroup;
    assert_eq!(permission(ann, bob, near).await, CallPermission::Allowed);
    assert_eq!(permission(ann, eve, near).await, CallPermission::NotAllowed);
    assert_eq!(permission(ann, eve, InvitationRule::Anyone).await, CallPermission::Allowed);
    assert_eq!(permission(ann, ann, near).await, CallPermission::UserNotFound);
    assert_eq!(permission(ann, UserId::new(), near).await, CallPermission::UserNotFound);
    store.block_user(bob, ann, T0).await.unwrap();

    assert_eq!(permission(ann, bob, InvitationRule::Anyone).await, CallPermission::ShadowBlocked);
    assert_eq!(permission(bob, ann, InvitationRule::Anyone).await, CallPermission::NotAllowed);
    assert_eq!(permission(ann, bob, near).await, CallPermission::NotAllowed, "no contact any more");
}

async fn shadow_blocked_call_is_hidden_from_callee(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let new = NewCall { shadow_blocked: vec![bob], ..call(ann, &[]) };
    let id = new.id;
    store.create_call(new, None, T0).await.unwrap();
    assert!(store.add_callee(id, ann, (eve, false), at(50), at(1)).await.unwrap());
    let people = vec![participant(ann, O::Joined), participant(bob, O::Missed)];
    let end = EndedCall { id, reason: CallReason::Missed, answered_at: None, participants: people };
    store.end_call(end, None, at(46)).await.unwrap();

    assert_eq!(store.outbox_len().await.unwrap(), 0, "nobody is notified");
    for somebody in [bob, eve] {
        assert!(store.call_history(somebody, None, 10).await.unwrap().is_empty());
    }
    let [record] = &store.call_history(ann, None, 10).await.unwrap()[..] else {
        panic!("one record")
    };
    let outcomes: Vec<_> = record.participants.iter().map(|(person, _)| person.outcome).collect();
    assert_eq!(outcomes, [O::Joined, O::Missed, O::Missed]);
}

async fn later_audible_invite_makes_shadowed_call_visible(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let new = call(ann, &[bob]);
    let id = new.id;
    store.create_call(new, None, T0).await.unwrap();
    assert!(store.add_callee(id, ann, (eve, false), at(50), at(1)).await.unwrap());
    assert!(store.call_history(eve, None, 10).await.unwrap().is_empty());
    assert!(store.add_callee(id, bob, (eve, true), at(50), at(2)).await.unwrap());
    assert!(store.add_callee(id, ann, (eve, false), at(50), at(3)).await.unwrap());

    assert_eq!(store.call_history(eve, None, 10).await.unwrap().len(), 1);
    assert_eq!(store.outbox_len().await.unwrap(), 2, "bob once and eve once");
}

async fn shadow_blocked_callee_who_joined_sees_call(store: Store) {
    let [ann, bob, _] = create_users(&store).await;
    let new = NewCall { shadow_blocked: vec![bob], ..call(ann, &[]) };
    let id = new.id;
    store.create_call(new, None, T0).await.unwrap();
    let people = vec![participant(ann, O::Joined), participant(bob, O::Joined)];
    let end = EndedCall {
        id,
        reason: CallReason::Hangup,
        answered_at: Some(at(2)),
        participants: people,
    };
    store.end_call(end, None, at(9)).await.unwrap();

    assert_eq!(store.call_history(bob, None, 10).await.unwrap().len(), 1);
}

on_both! {
    call_is_closed_exactly_once_and_recorded,
    invitees_are_notified_through_outbox,
    orphaned_open_calls_are_closed_as_failed,
    call_history_is_paged_newest_first,
    stranger_call_is_denied_and_blocked_call_is_shadowed,
    shadow_blocked_call_is_hidden_from_callee,
    later_audible_invite_makes_shadowed_call_visible,
    shadow_blocked_callee_who_joined_sees_call,
}
