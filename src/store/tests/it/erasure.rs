//! Account deletion leaves no personal data, and resumes after an interruption.

use std::time::Duration;

use base::ids::{ConversationId, InviteId, JobId, UserId};
use store::{
    Availability, ContactRequestOutcome, InvitationRule, JobClaimOutcome, Kind, MessageAction,
    MessageActionLimits, MessageActionRequest, MessageRange, NewInviteRow, NewJob, NewMessageRow,
    OpenDirect, OpenGroup, Store, UserChangeOutcome,
};

use crate::harness::{
    T0, any_hash, at, audit, create_users, group, new_conversation, on_both, send, text_message,
};

const HOUR: Duration = Duration::from_secs(3600);
const LIMITS: MessageActionLimits = MessageActionLimits {
    edit_window: HOUR,
    delete_window: HOUR,
    max_emoji: 9,
    max_emoji_per_user: 9,
    max_pins: 9,
    max_edits: 9,
};

fn erasure_job(user: UserId) -> NewJob {
    let payload = serde_json::json!({});
    NewJob { id: JobId::new(), kind: "rest".into(), user_id: Some(user), payload }
}

async fn direct(store: &Store, a: UserId, b: UserId) -> ConversationId {
    let opened = store
        .open_direct(new_conversation(Kind::Direct, a), b, InvitationRule::Anyone, at(1))
        .await;
    match opened.unwrap() {
        OpenDirect::Created(view) => view.conversation.id,
        other => panic!("{other:?}"),
    }
}

/// Runs the whole erasure in steps; returns their number. The worker dies after `stop` steps.
async fn run_erasure(store: &Store, user: UserId, scrub: bool, stop: usize) -> usize {
    let mut steps = 0;
    let (mut after, mut last) = (None, false);
    while !last {
        let (affected, next) = store.affected_conversations(user, after).await.unwrap();
        for conversation in affected {
            loop {
                if steps == stop {
                    return steps;
                }
                steps += 1;
                let id = conversation.id;
                let batch = match conversation.kind {
                    Kind::Direct => store.remove_direct_conversation(id, user, at(9)).await,
                    Kind::Group => store.leave_group(id, user, scrub, at(9)).await,
                };
                if !batch.unwrap().has_more {
                    break;
                }
            }
        }
        last = next.is_none();
        after = next;
    }
    steps
}

async fn erasure_resumes_after_worker_crash_at_any_point(store: Store) {
    let [ann, bob, eve] = create_users(&store).await;
    let long = direct(&store, ann, bob).await;
    for n in 0..1200 {
        send(&store, long, text_message(if n % 2 == 0 { ann } else { bob }, &n.to_string())).await;
    }
    let group_id = group(&store, &[ann, bob, eve]).await;
    for n in 0..1100 {
        send(&store, group_id, text_message(if n % 2 == 0 { ann } else { bob }, &format!("g{n}")))
            .await;
    }
    let left = group(&store, &[bob, ann, eve]).await;
    send(&store, left, text_message(ann, "once")).await;
    store.remove_member(left, ann, ann, at(2)).await.unwrap();
    let others = direct(&store, bob, eve).await;
    send(&store, others, text_message(bob, "not hers")).await;
    let deleted = store.delete_user(ann, erasure_job(ann), audit("gone"), at(3)).await.unwrap();
    assert_eq!(deleted, UserChangeOutcome::Done(vec![]));

    // A worker dies after each number of steps; the next one starts again.
    let mut stop = 0;
    while run_erasure(&store, ann, true, stop).await == stop {
        stop += 1;
        assert!(stop < 50, "the erasure must end");
    }

    let (affected, _) = store.affected_conversations(ann, None).await.unwrap();
    assert_eq!(affected, []);
    assert_eq!(store.conversation(long, bob).await.unwrap(), None);
    for (id, count) in [(group_id, 1102), (left, 2)] {
        let view = store.conversation(id, bob).await.unwrap().unwrap();
        assert!(view.members.iter().all(|member| member.user_id != ann));
        assert!(view.members.iter().any(|member| member.role == store::MemberRole::Owner));
        let messages =
            store.messages(id, bob, MessageRange::After(0), 2000, T0).await.unwrap().unwrap();
        assert_eq!(messages.len(), count, "sequence numbers have no gaps");
        for message in messages.into_iter().map(|shown| shown.message) {
            assert_eq!(message.body.is_empty(), message.sender_id == ann);
        }
    }
    let kept = store.messages(others, eve, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
    assert_eq!(kept.len(), 1);
}

async fn erasure_clears_client_ids_of_deleted_messages(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let group_id = group(&store, &[ann, bob]).await;
    send(&store, group_id, text_message(ann, "deleted-by-its-sender")).await;
    let disappearing = NewMessageRow { expires_in: Some(1), ..text_message(ann, "disappeared") };
    send(&store, group_id, disappearing).await;
    let messages =
        store.messages(group_id, ann, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
    let request = MessageActionRequest {
        by: ann,
        message: messages[0].message.id,
        action: MessageAction::Delete,
    };
    store.apply_message_action(group_id, request, LIMITS, at(2)).await.unwrap();
    assert_eq!(store.expire_messages(9, at(8)).await.unwrap().len(), 1);
    store.delete_user(ann, erasure_job(ann), audit("gone"), at(9)).await.unwrap();
    run_erasure(&store, ann, true, usize::MAX).await;

    assert_eq!(store.affected_conversations(ann, None).await.unwrap().0, [], "nothing is left");
    let left = store.messages(group_id, bob, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
    let names: Vec<_> = left.iter().map(|shown| shown.message.client_id.as_str()).collect();
    assert_eq!(names, [" 1", " 2", " 3", " 4"], "two messages and two system messages");
}

/// Actions concurrent with an account deletion leave no data behind, whichever comes first.
async fn concurrent_actions_during_erasure_leave_no_data(store: Store) {
    let [bob] = create_users(&store).await;
    let group_id = group(&store, &[bob]).await;
    for round in 0..20 {
        let [ann] = create_users(&store).await;
        let new = NewInviteRow {
            id: InviteId::new(),
            hash: any_hash(),
            expires_at: at(100),
            uses: Some(1),
        };
        let hash = new.hash;
        store.create_invite(group_id, bob, new, T0).await.unwrap();
        let set_statuses = async {
            while store.set_status(ann, Availability::Away, "here".into()).await.unwrap() {}
        };
        let update_last_seen = async {
            for n in 0..20 {
                store.update_last_seen(vec![(ann, at(n)), (bob, at(n))]).await.unwrap();
            }
        };
        let (_, _, steps, ..) = tokio::join!(
            set_statuses,
            update_last_seen,
            async {
                store.delete_user(ann, erasure_job(ann), audit("gone"), at(3)).await.unwrap();
                run_erasure(&store, ann, true, usize::MAX).await
            },
            store.add_member(group_id, bob, ann, InvitationRule::Anyone, at(1)),
            store.open_group(
                new_conversation(Kind::Group, bob),
                vec![ann],
                InvitationRule::Anyone,
                at(1)
            ),
            store.open_group(
                new_conversation(Kind::Group, ann),
                vec![bob],
                InvitationRule::Anyone,
                at(1)
            ),
            store.join_by_invite(hash, ann, 999, at(1)),
        );

        assert!(steps < 99);
        assert_eq!(store.statuses(vec![ann]).await.unwrap(), [], "round {round}");
        assert_eq!(store.affected_conversations(ann, None).await.unwrap().0, [], "round {round}");
    }
}

async fn group_messages_survive_erasure_without_scrub(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let group_id = group(&store, &[ann, bob]).await;
    send(&store, group_id, text_message(ann, "stays")).await;
    store.delete_user(ann, erasure_job(ann), audit("gone"), at(3)).await.unwrap();
    run_erasure(&store, ann, false, usize::MAX).await;

    let messages =
        store.messages(group_id, bob, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
    assert!(messages[0].message.body.contains("stays"));
    let view = store.conversation(group_id, bob).await.unwrap().unwrap();
    assert_eq!(view.members.len(), 1);
}

async fn deleted_user_is_unknown_everywhere(store: Store) {
    let [ann, bob] = create_users(&store).await;
    let count = store.count_users().await.unwrap();
    store.request_contact(bob, ann, at(1)).await.unwrap();
    store.delete_user(ann, erasure_job(ann), audit("gone"), at(3)).await.unwrap();

    let job = store.claim_job(vec!["rest".into()], std::time::Duration::ZERO, 9, at(3)).await;
    assert!(matches!(job.unwrap(), JobClaimOutcome::Claimed(job) if job.user_id == Some(ann)));
    assert_eq!(store.count_users().await.unwrap(), count - 1);
    assert_eq!(store.user(ann).await.unwrap(), None);
    assert_eq!(store.rename_user(ann, "a ghost", at(4)).await.unwrap(), None);
    assert_eq!(store.admin_user(ann).await.unwrap(), None);
    assert_eq!(store.suspended_users(vec![ann, bob]).await.unwrap(), [ann]);
    assert_eq!(store.contacts(bob, None, 9).await.unwrap(), []);
    let requested = store.request_contact(bob, ann, at(4)).await.unwrap();
    assert_eq!(requested, ContactRequestOutcome::UserNotFound);
    let new = new_conversation(Kind::Direct, bob);
    let opened = store.open_direct(new, ann, InvitationRule::Anyone, at(4)).await.unwrap();
    assert_eq!(opened, OpenDirect::UserNotFound);
    let new = new_conversation(Kind::Group, bob);
    let opened = store.open_group(new, vec![ann], InvitationRule::Anyone, at(4)).await.unwrap();
    assert_eq!(opened, OpenGroup::UserNotFound);
    let again = store.delete_user(ann, erasure_job(ann), audit("gone"), at(5)).await.unwrap();
    assert_eq!(again, UserChangeOutcome::UserNotFound);
}

on_both!(
    erasure_resumes_after_worker_crash_at_any_point,
    erasure_clears_client_ids_of_deleted_messages,
    concurrent_actions_during_erasure_leave_no_data,
    group_messages_survive_erasure_without_scrub,
    deleted_user_is_unknown_everywhere,
);
