//! Whoever goes leaves no name behind, and what is interrupted goes on where it was.

use std::time::Duration;

use base::ids::{ConversationId, InviteId, JobId, UserId};
use store::{
    Availability, ContactRequestOutcome, InvitationRule, JobClaimOutcome, Kind, MessageAction,
    MessageActionLimits, MessageActionRequest, MessageRange, NewInviteRow, NewJob, NewMessageRow,
    OpenDirect, OpenGroup, Store, UserChangeOutcome,
};

use crate::harness::{T0, any_hash, at, audit, group, on_both, opening, people, say, words};

const HOUR: Duration = Duration::from_secs(3600);
const LIMITS: MessageActionLimits =
    MessageActionLimits { edit: HOUR, delete: HOUR, emoji: 9, emoji_each: 9, pins: 9, edits: 9 };

fn rest(user: UserId) -> NewJob {
    let payload = serde_json::json!({});
    NewJob { id: JobId::new(), kind: "rest".into(), user_id: Some(user), payload }
}

async fn direct(store: &Store, a: UserId, b: UserId) -> ConversationId {
    let opened =
        store.open_direct(opening(Kind::Direct, a), b, InvitationRule::Anybody, at(1)).await;
    match opened.unwrap() {
        OpenDirect::Created(view) => view.conversation.id,
        other => panic!("{other:?}"),
    }
}

/// Everything that is left to do, step by step; gives the steps. `stop` is when the worker dies.
async fn erases(store: &Store, user: UserId, scrub: bool, stop: usize) -> usize {
    let mut steps = 0;
    let (mut after, mut last) = (None, false);
    while !last {
        let (touched, next) = store.left_behind(user, after).await.unwrap();
        for conversation in touched {
            loop {
                if steps == stop {
                    return steps;
                }
                steps += 1;
                let id = conversation.id;
                let parting = match conversation.kind {
                    Kind::Direct => store.remove_direct(id, user, at(9)).await,
                    Kind::Group => store.part_from_group(id, user, scrub, at(9)).await,
                };
                if !parting.unwrap().more {
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
    let [ann, bob, eve] = people(&store).await;
    let long = direct(&store, ann, bob).await;
    for n in 0..1200 {
        say(&store, long, words(if n % 2 == 0 { ann } else { bob }, &n.to_string())).await;
    }
    let shared = group(&store, &[ann, bob, eve]).await;
    for n in 0..1100 {
        say(&store, shared, words(if n % 2 == 0 { ann } else { bob }, &format!("g{n}"))).await;
    }
    let left = group(&store, &[bob, ann, eve]).await;
    say(&store, left, words(ann, "once")).await;
    store.remove_member(left, ann, ann, at(2)).await.unwrap();
    let others = direct(&store, bob, eve).await;
    say(&store, others, words(bob, "not hers")).await;
    let gone = store.delete_user(ann, rest(ann), audit("gone"), at(3)).await.unwrap();
    assert_eq!(gone, UserChangeOutcome::Done(vec![]));

    // A worker dies after each number of steps; the next one begins anew.
    let mut stop = 0;
    while erases(&store, ann, true, stop).await == stop {
        stop += 1;
        assert!(stop < 50, "it comes to an end");
    }

    let (touched, _) = store.left_behind(ann, None).await.unwrap();
    assert_eq!(touched, []);
    assert_eq!(store.conversation(long, bob).await.unwrap(), None);
    for (id, count) in [(shared, 1102), (left, 2)] {
        let view = store.conversation(id, bob).await.unwrap().unwrap();
        assert!(view.members.iter().all(|member| member.user_id != ann));
        assert!(view.members.iter().any(|member| member.role == store::MemberRole::Owner));
        let said =
            store.messages(id, bob, MessageRange::After(0), 2000, T0).await.unwrap().unwrap();
        assert_eq!(said.len(), count, "numbers have no holes");
        for message in said.into_iter().map(|shown| shown.message) {
            assert_eq!(message.body.is_empty(), message.sender_id == ann);
        }
    }
    let kept = store.messages(others, eve, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
    assert_eq!(kept.len(), 1);
}

async fn erasure_clears_client_ids_of_deleted_messages(store: Store) {
    let [ann, bob] = people(&store).await;
    let shared = group(&store, &[ann, bob]).await;
    say(&store, shared, words(ann, "deleted-by-its-sender")).await;
    let disappearing = NewMessageRow { expires_in: Some(1), ..words(ann, "disappeared") };
    say(&store, shared, disappearing).await;
    let said = store.messages(shared, ann, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
    let doing =
        MessageActionRequest { by: ann, message: said[0].message.id, deed: MessageAction::Delete };
    store.alter(shared, doing, LIMITS, at(2)).await.unwrap();
    assert_eq!(store.expire_messages(9, at(8)).await.unwrap().len(), 1);
    store.delete_user(ann, rest(ann), audit("gone"), at(9)).await.unwrap();
    erases(&store, ann, true, usize::MAX).await;

    assert_eq!(store.left_behind(ann, None).await.unwrap().0, [], "found once, not for ever");
    let left = store.messages(shared, bob, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
    let names: Vec<_> = left.iter().map(|shown| shown.message.client_id.as_str()).collect();
    assert_eq!(names, [" 1", " 2", " 3", " 4"], "two of hers, and two of what happened");
}

/// Deeds that meet the end of an account leave nothing behind, whichever comes first.
async fn concurrent_actions_during_erasure_leave_no_data(store: Store) {
    let [bob] = people(&store).await;
    let shared = group(&store, &[bob]).await;
    for round in 0..20 {
        let [ann] = people(&store).await;
        let new = NewInviteRow {
            id: InviteId::new(),
            hash: any_hash(),
            expires_at: at(100),
            uses: Some(1),
        };
        let hash = new.hash;
        store.create_invite(shared, bob, new, T0).await.unwrap();
        let speaks = async {
            while store.set_status(ann, Availability::Away, "here".into()).await.unwrap() {}
        };
        let comes_and_goes = async {
            for n in 0..20 {
                store.last_seen(vec![(ann, at(n)), (bob, at(n))]).await.unwrap();
            }
        };
        let (_, _, gone, ..) = tokio::join!(
            speaks,
            comes_and_goes,
            async {
                store.delete_user(ann, rest(ann), audit("gone"), at(3)).await.unwrap();
                erases(&store, ann, true, usize::MAX).await
            },
            store.add_member(shared, bob, ann, InvitationRule::Anybody, at(1)),
            store.open_group(opening(Kind::Group, bob), vec![ann], InvitationRule::Anybody, at(1)),
            store.open_group(opening(Kind::Group, ann), vec![bob], InvitationRule::Anybody, at(1)),
            store.join(hash, ann, 999, at(1)),
        );

        assert!(gone < 99);
        assert_eq!(store.statuses(vec![ann]).await.unwrap(), [], "round {round}");
        assert_eq!(store.left_behind(ann, None).await.unwrap().0, [], "round {round}");
    }
}

async fn group_messages_survive_erasure_without_scrub(store: Store) {
    let [ann, bob] = people(&store).await;
    let shared = group(&store, &[ann, bob]).await;
    say(&store, shared, words(ann, "stays")).await;
    store.delete_user(ann, rest(ann), audit("gone"), at(3)).await.unwrap();
    erases(&store, ann, false, usize::MAX).await;

    let said = store.messages(shared, bob, MessageRange::After(0), 9, T0).await.unwrap().unwrap();
    assert!(said[0].message.body.contains("stays"));
    let view = store.conversation(shared, bob).await.unwrap().unwrap();
    assert_eq!(view.members.len(), 1);
}

async fn deleted_user_is_unknown_everywhere(store: Store) {
    let [ann, bob] = people(&store).await;
    let count = store.count_users().await.unwrap();
    store.request_contact(bob, ann, at(1)).await.unwrap();
    store.delete_user(ann, rest(ann), audit("gone"), at(3)).await.unwrap();

    let job = store.claim_job(vec!["rest".into()], std::time::Duration::ZERO, 9, at(3)).await;
    assert!(matches!(job.unwrap(), JobClaimOutcome::Taken(job) if job.user_id == Some(ann)));
    assert_eq!(store.count_users().await.unwrap(), count - 1);
    assert_eq!(store.user(ann).await.unwrap(), None);
    assert_eq!(store.rename_user(ann, "a ghost", at(4)).await.unwrap(), None);
    assert_eq!(store.person(ann).await.unwrap(), None);
    assert_eq!(store.kept_out(vec![ann, bob]).await.unwrap(), [ann]);
    assert_eq!(store.contacts(bob, None, 9).await.unwrap(), []);
    let asked = store.request_contact(bob, ann, at(4)).await.unwrap();
    assert_eq!(asked, ContactRequestOutcome::NoSuchUser);
    let new = opening(Kind::Direct, bob);
    let opened = store.open_direct(new, ann, InvitationRule::Anybody, at(4)).await.unwrap();
    assert_eq!(opened, OpenDirect::NoSuchUser);
    let new = opening(Kind::Group, bob);
    let opened = store.open_group(new, vec![ann], InvitationRule::Anybody, at(4)).await.unwrap();
    assert_eq!(opened, OpenGroup::NoSuchUser);
    let again = store.delete_user(ann, rest(ann), audit("gone"), at(5)).await.unwrap();
    assert_eq!(again, UserChangeOutcome::NoSuchUser);
}

on_both!(
    erasure_resumes_after_worker_crash_at_any_point,
    erasure_clears_client_ids_of_deleted_messages,
    concurrent_actions_during_erasure_leave_no_data,
    group_messages_survive_erasure_without_scrub,
    deleted_user_is_unknown_everywhere,
);
