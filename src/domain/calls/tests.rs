//! Scenario and property tests of the call state machine.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{CallId, DeviceId, NodeId, SessionId, UserId};
use proptest::prelude::*;

use super::{
    CallChange, CallError, CallKind, CallState, CallTerms, Callee, EventTarget,
    ParticipantLocation as Location, StartCallParams,
};
use crate::protocol::calls::{CallEndReason, CallMedia, CallRole, CallTopology, ModerationAction};
use crate::protocol::server::CallServerEvent;
use crate::protocol::users::UserSummary;

const NOON: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
const TERMS: CallTerms = CallTerms {
    ring_timeout: Duration::from_secs(45),
    max_duration: Some(Duration::from_secs(3600)),
    max_participants: 4,
};

fn at(seconds: u64) -> Timestamp {
    NOON + Duration::from_secs(seconds)
}

fn location() -> Location {
    Location {
        user: UserId::new(),
        device: DeviceId::new(),
        session: SessionId::new(),
        node: NodeId::new(),
        guest: false,
    }
}

const fn callee(user: UserId) -> Callee {
    Callee { user, busy: false, shadow_blocked: false }
}

fn begin(kind: CallKind, by: Location, others: &[Location]) -> StartCallParams {
    StartCallParams {
        id: CallId::new(),
        kind,
        conversation: None,
        name: (kind == CallKind::Session).then(|| "room".to_owned()),
        by: UserSummary { user_id: by.user, name: "Ann".to_owned() },
        media: CallMedia::Video,
        callees: others.iter().map(|location| callee(location.user)).collect(),
    }
}

fn call(kind: CallKind, by: Location, others: &[Location]) -> CallState {
    CallState::begin(begin(kind, by, others), TERMS, 0, NOON)
}

/// Names of the events sent to all devices of the participant or to it alone.
fn received(events: &[(EventTarget, CallServerEvent)], participant: Location) -> Vec<&'static str> {
    let addressed = |to: &EventTarget| match to {
        EventTarget::Users(people) => people.contains(&participant.user),
        EventTarget::Participant(other) => *other == participant,
    };
    events.iter().filter(|(to, _)| addressed(to)).map(|(_, event)| event.name()).collect()
}

/// A direct call in which Ann and Bob are connected.
fn talking(ann: Location, bob: Location) -> CallState {
    let mut call = call(CallKind::Direct, ann, &[bob]);
    call.join(ann, "Ann", CallRole::Participant, at(1)).unwrap();
    call.accept(bob.user, at(2)).unwrap();
    call.join(bob, "Bob", CallRole::Participant, at(3)).unwrap();
    call.take_events();
    call.take_changes();
    call
}

#[test]
fn direct_call_rings_is_answered_and_hung_up() {
    let (ann, bob) = (location(), location());
    let mut call = call(CallKind::Direct, ann, &[bob]);
    assert_eq!(received(&call.take_events(), bob), ["incoming_call"]);
    call.join(ann, "Ann", CallRole::Participant, at(1)).unwrap();
    call.accept(bob.user, at(2)).unwrap();
    let events = call.take_events();
    assert_eq!(
        (received(&events, ann), received(&events, bob)),
        (vec!["call_answered"], vec!["call_answered"])
    );
    call.join(bob, "Bob", CallRole::Participant, at(3)).unwrap();
    assert_eq!(received(&call.take_events(), ann), ["participant_joined"]);
    assert_eq!(call.mode(), CallTopology::P2p);
    call.leave(bob, at(9)).unwrap();

    assert_eq!(call.ended(), Some(CallEndReason::Hangup));
    assert_eq!(received(&call.take_events(), ann), ["participant_left", "call_ended"]);
    let record = call.record(CallEndReason::Hangup, at(9));
    assert_eq!(record.answered_at, Some(at(2)));
    let bobs = record.participants.iter().find(|person| person.user_id == bob.user).unwrap();
    assert_eq!((bobs.joined_at, bobs.left_at), (Some(at(3)), Some(at(9))));
}

#[test]
fn unanswered_call_ends_declined_cancelled_or_missed() {
    let (ann, bob) = (location(), location());
    let mut declined = call(CallKind::Direct, ann, &[bob]);
    declined.decline(bob.user).unwrap();
    assert_eq!(declined.ended(), Some(CallEndReason::Declined));
    assert_eq!(received(&declined.take_events(), ann), ["call_declined", "call_ended"]);

    let mut cancelled = call(CallKind::Direct, ann, &[bob]);
    assert!(matches!(cancelled.cancel(bob.user), Err(CallError::NotAllowed)));
    cancelled.cancel(ann.user).unwrap();
    assert_eq!(cancelled.ended(), Some(CallEndReason::Cancelled));

    let mut missed = call(CallKind::Direct, ann, &[bob]);
    assert_eq!(missed.next_deadline(), Some(at(45)));
    missed.timeout(at(44));
    assert_eq!(missed.ended(), None);
    missed.timeout(at(45));
    assert_eq!(missed.ended(), Some(CallEndReason::Missed));
    let record = missed.record(CallEndReason::Missed, at(45));
    assert!(record.participants.iter().any(|p| p.outcome == store::CallOutcome::Missed));
}

#[test]
fn busy_callee_is_not_rung() {
    let (ann, bob) = (location(), location());
    let mut begin = begin(CallKind::Direct, ann, &[bob]);
    begin.callees[0].busy = true;
    let mut call = CallState::begin(begin, TERMS, 0, NOON);

    assert_eq!(call.ended(), Some(CallEndReason::Busy));
    assert_eq!(received(&call.take_events(), ann), ["call_ended"]);
}

#[test]
fn blocked_caller_sees_ringing_but_callee_is_not_rung() {
    let (ann, bob) = (location(), location());
    let mut begin = begin(CallKind::Direct, ann, &[bob]);
    begin.callees[0].shadow_blocked = true;
    let mut shadow_blocked = CallState::begin(begin, TERMS, 0, NOON);
    let mut normal = call(CallKind::Direct, ann, &[bob]);
    for call in [&mut shadow_blocked, &mut normal] {
        call.join(ann, "Ann", CallRole::Participant, at(1)).unwrap();
        assert_eq!((call.next_deadline(), call.ended()), (Some(at(45)), None));
        call.timeout(at(45));
        assert_eq!(call.ended(), Some(CallEndReason::Missed));
    }

    let (events, unblocked_events) = (shadow_blocked.take_events(), normal.take_events());
    assert_eq!(received(&events, ann), received(&unblocked_events, ann));
    assert_eq!(received(&events, bob), [""; 0]);
    assert_eq!(shadow_blocked.ringing_calls().len(), 0);
}

#[test]
fn shadow_blocked_invite_does_not_prevent_other_invites() {
    let (ann, bob, eve) = (location(), location(), location());
    let mut call = talking(ann, bob);
    let shadow_blocked = Callee { shadow_blocked: true, ..callee(eve.user) };
    call.invite(ann.session, &shadow_blocked, at(10)).unwrap();
    assert!(matches!(
        call.invite(ann.session, &shadow_blocked, at(11)),
        Err(CallError::AlreadyInvited)
    ));
    assert_eq!(received(&call.take_events(), eve), [""; 0]);
    call.invite(bob.session, &callee(eve.user), at(12)).unwrap();
    assert_eq!(received(&call.take_events(), eve), ["incoming_call"]);
    call.timeout(at(57));

    assert_eq!(received(&call.take_events(), eve), ["call_ended"]);
    call.invite(ann.session, &shadow_blocked, at(60)).unwrap();
    assert_eq!(received(&call.take_events(), eve), [""; 0]);
    assert_eq!(call.ringing_calls().len(), 0);
}

#[test]
fn accepted_call_without_join_times_out_as_failed() {
    let (ann, bob) = (location(), location());
    let mut call = call(CallKind::Direct, ann, &[bob]);
    call.accept(bob.user, at(5)).unwrap();
    assert_eq!(call.next_deadline(), Some(at(35)));
    call.timeout(at(35));

    assert_eq!(call.ended(), Some(CallEndReason::Failed));
}

#[test]
fn third_participant_upgrades_call_to_sfu() {
    let (ann, bob, eve) = (location(), location(), location());
    let mut call = talking(ann, bob);
    let callee = callee(eve.user);
    assert!(matches!(call.invite(eve.session, &callee, at(9)), Err(CallError::NotInCall)));
    call.invite(ann.session, &callee, at(10)).unwrap();
    assert!(matches!(call.invite(bob.session, &callee, at(10)), Err(CallError::AlreadyInvited)));
    assert_eq!(received(&call.take_events(), eve), ["incoming_call"]);
    call.join(eve, "Eve", CallRole::Participant, at(12)).unwrap();

    assert_eq!(call.mode(), CallTopology::Sfu);
    assert!(call.take_changes().contains(&CallChange::Upgraded));
    let events = call.take_events();
    assert_eq!(received(&events, ann), ["call_answered", "participant_joined", "call_mode"]);
    call.leave(ann, at(20)).unwrap();
    assert_eq!(call.ended(), None, "two are left");
    call.leave(eve, at(21)).unwrap();
    assert_eq!(call.ended(), Some(CallEndReason::Hangup));
}

#[test]
fn rejoin_from_same_device_replaces_old_session() {
    let (ann, bob) = (location(), location());
    let mut call = talking(ann, bob);
    let again = Location { session: SessionId::new(), ..bob };
    let number = call.join(again, "Bob", CallRole::Participant, at(5)).unwrap();

    assert_eq!(call.participants().count(), 2);
    assert_eq!(number, 3);
    assert_eq!(received(&call.take_events(), ann), ["participant_left", "participant_joined"]);
    call.session_lost(bob.session, at(6));
    assert_eq!(call.ended(), None, "the old session has no participant any more");
    call.session_lost(again.session, at(7));
    assert_eq!(call.ended(), Some(CallEndReason::Hangup));
}

#[test]
fn participant_limit_is_enforced_except_for_rejoin() {
    let peers: Vec<_> = (0..6).map(|_| location()).collect();
    let mut call = call(CallKind::Session, peers[0], &[]);
    for location in &peers[..4] {
        call.join(*location, "x", CallRole::Participant, at(1)).unwrap();
    }
    assert!(matches!(
        call.join(peers[4], "x", CallRole::Participant, at(1)),
        Err(CallError::ParticipantLimitReached)
    ));
    let again = Location { session: SessionId::new(), ..peers[0] };
    call.join(again, "x", CallRole::Participant, at(2)).unwrap();

    assert_eq!(call.participants().count(), 4);
}

#[test]
fn moderator_mutes_and_kicks_participant() {
    let (ann, bob, eve) = (location(), location(), location());
    let mut call = call(CallKind::Group, ann, &[bob, eve]);
    for participant in [ann, bob, eve] {
        call.join(participant, "x", CallRole::Participant, at(1)).unwrap();
    }
    call.take_events();
    let done = call.moderate(bob.session, "p1", ModerationAction::Mute, at(2));
    assert!(matches!(done, Err(CallError::NotAllowed)), "Bob did not start the call");
    call.moderate(ann.session, "p2", ModerationAction::Mute, at(2)).unwrap();
    assert_eq!(received(&call.take_events(), eve), ["participant_updated"]);
    call.moderate(ann.session, "p2", ModerationAction::Kick, at(3)).unwrap();

    assert_eq!(received(&call.take_events(), bob), ["call_ended"]);
    let back = call.join(bob, "x", CallRole::Participant, at(4));
    assert!(matches!(back, Err(CallError::NotAllowed)));
    assert_eq!(call.participants().count(), 2);
    assert!(matches!(
        call.moderate(ann.session, "p9", ModerationAction::Kick, at(5)),
        Err(CallError::ParticipantNotFound)
    ));
}

#[test]
fn group_call_continues_until_last_participant_leaves() {
    let (ann, bob, eve) = (location(), location(), location());
    let mut call = call(CallKind::Group, ann, &[bob, eve]);
    call.join(ann, "Ann", CallRole::Participant, at(1)).unwrap();
    call.join(bob, "Bob", CallRole::Participant, at(2)).unwrap();
    call.leave(ann, at(3)).unwrap();
    assert_eq!(call.ended(), None);
    call.take_events();
    call.timeout(at(45));
    assert_eq!(received(&call.take_events(), eve), ["call_ended"], "she missed the call");
    assert_eq!(call.ended(), None);
    call.join(eve, "Eve", CallRole::Participant, at(50)).unwrap();
    call.leave(bob, at(51)).unwrap();
    call.leave(eve, at(52)).unwrap();

    assert_eq!(call.ended(), Some(CallEndReason::Hangup));
}

#[test]
fn unanswered_group_call_is_missed_or_cancelled() {
    let (ann, bob) = (location(), location());
    let mut given_up = call(CallKind::Group, ann, &[bob]);
    given_up.join(ann, "Ann", CallRole::Participant, at(1)).unwrap();
    given_up.leave(ann, at(2)).unwrap();
    assert_eq!(given_up.ended(), Some(CallEndReason::Cancelled));

    let mut missed = call(CallKind::Group, ann, &[bob]);
    missed.timeout(at(45));
    assert_eq!(missed.ended(), Some(CallEndReason::Missed));
}

#[test]
fn call_ends_at_maximum_duration() {
    let (ann, bob) = (location(), location());
    let mut call = talking(ann, bob);
    assert_eq!(call.next_deadline(), Some(at(3600)));
    call.timeout(at(3600));

    assert_eq!(call.ended(), Some(CallEndReason::Timeout));
}

#[test]
fn restarted_sfu_room_increments_epoch_and_notifies() {
    let (ann, bob) = (location(), location());
    let mut direct = talking(ann, bob);
    direct.room_restarted();
    assert!(direct.take_events().is_empty(), "P2P media does not pass the server");
    direct.upgrade();
    direct.take_events();
    direct.room_restarted();

    assert_eq!(direct.epoch(), 3);
    assert_eq!(received(&direct.take_events(), ann), ["call_moved"]);
}

#[derive(Clone, Debug)]
enum Step {
    Accept(usize),
    Decline(usize),
    Cancel(usize),
    Join(usize),
    Leave(usize),
    Lost(usize),
    Mute(usize, bool),
    Kick(usize, u32),
    Upgrade,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0usize..4;
    let step = prop_oneof![
        1 => who.clone().prop_map(Step::Accept),
        1 => who.clone().prop_map(Step::Decline),
        1 => who.clone().prop_map(Step::Cancel),
        4 => who.clone().prop_map(Step::Join),
        2 => who.clone().prop_map(Step::Leave),
        1 => who.clone().prop_map(Step::Lost),
        1 => (who.clone(), any::<bool>()).prop_map(|(n, muted)| Step::Mute(n, muted)),
        1 => (who, 1u32..6).prop_map(|(n, whom)| Step::Kick(n, whom)),
        1 => Just(Step::Upgrade),
        1 => (1u64..60).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Arbitrary actions keep the limit and one entry per device; an end is announced.
    #[test]
    fn call_invariants_hold_for_arbitrary_actions(
        kind in prop_oneof![Just(CallKind::Direct), Just(CallKind::Group), Just(CallKind::Session)],
        steps in steps(),
    ) {
        let peers: Vec<_> = (0..4).map(|_| location()).collect();
        let callees = if kind == CallKind::Direct { &peers[1..2] } else { &peers[1..] };
        let mut call = call(kind, peers[0], if kind == CallKind::Session { &[] } else { callees });
        let (mut now, mut ends) = (1, 0);
        for step in steps {
            match step {
                Step::Accept(n) => drop(call.accept(peers[n].user, at(now))),
                Step::Decline(n) => drop(call.decline(peers[n].user)),
                Step::Cancel(n) => drop(call.cancel(peers[n].user)),
                Step::Join(n) => drop(call.join(peers[n], "x", CallRole::Moderator, at(now))),
                Step::Leave(n) => drop(call.leave(peers[n], at(now))),
                Step::Lost(n) => call.session_lost(peers[n].session, at(now)),
                Step::Mute(n, muted) => drop(call.mute(peers[n].session, CallMedia::Audio, muted)),
                Step::Kick(n, whom) => {
                    let whom = format!("p{whom}");
                    drop(call.moderate(peers[n].session, &whom, ModerationAction::Kick, at(now)));
                }
                Step::Upgrade => call.upgrade(),
                Step::Wait(seconds) => now += seconds,
            }
            call.timeout(at(now));
            let reason = call.ended();
            let over = |event: &(EventTarget, CallServerEvent)| match event {
                (EventTarget::Users(_), CallServerEvent::CallEnded(end)) => reason == Some(end.reason),
                _ => false,
            };
            ends += call.take_events().into_iter().filter(over).count();
            let devices: std::collections::HashSet<_> =
                call.participants().map(|(_, p)| p.location.device).collect();
            prop_assert_eq!(devices.len(), call.participants().count());
            prop_assert!(devices.len() <= TERMS.max_participants);
            if call.ended().is_some() {
                prop_assert!(call.join(peers[0], "x", CallRole::Participant, at(now)).is_err());
                prop_assert!(ends >= 1, "call_ended was sent");
            } else {
                prop_assert!(call.next_deadline().is_none_or(|due| due > at(now)), "nothing is overdue");
            }
        }
    }
}
