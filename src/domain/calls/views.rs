//! Conversions between stored rows and wire types.

use crate::protocol::calls as wire;
use crate::protocol::users::UserSummary;

pub(super) const fn media_row(media: wire::CallMedia) -> store::CallMedia {
    match media {
        wire::CallMedia::Audio => store::CallMedia::Audio,
        wire::CallMedia::Video => store::CallMedia::Video,
    }
}

const fn media(media: store::CallMedia) -> wire::CallMedia {
    match media {
        store::CallMedia::Audio => wire::CallMedia::Audio,
        store::CallMedia::Video => wire::CallMedia::Video,
    }
}

pub(super) const fn reason_row(reason: wire::CallEndReason) -> store::CallReason {
    use store::CallReason as Row;
    match reason {
        wire::CallEndReason::Hangup => Row::Hangup,
        wire::CallEndReason::Declined => Row::Declined,
        wire::CallEndReason::Busy => Row::Busy,
        wire::CallEndReason::Cancelled => Row::Cancelled,
        wire::CallEndReason::Missed => Row::Missed,
        wire::CallEndReason::Timeout => Row::Timeout,
        wire::CallEndReason::Kicked => Row::Kicked,
        wire::CallEndReason::Failed => Row::Failed,
    }
}

const fn reason(reason: store::CallReason) -> wire::CallEndReason {
    use store::CallReason as Row;
    match reason {
        Row::Hangup => wire::CallEndReason::Hangup,
        Row::Declined => wire::CallEndReason::Declined,
        Row::Busy => wire::CallEndReason::Busy,
        Row::Cancelled => wire::CallEndReason::Cancelled,
        Row::Missed => wire::CallEndReason::Missed,
        Row::Timeout => wire::CallEndReason::Timeout,
        Row::Kicked => wire::CallEndReason::Kicked,
        Row::Failed => wire::CallEndReason::Failed,
    }
}

const fn outcome(outcome: store::CallOutcome) -> wire::CallOutcome {
    use store::CallOutcome as Row;
    match outcome {
        Row::Called => wire::CallOutcome::Called,
        Row::Joined => wire::CallOutcome::Joined,
        Row::Declined => wire::CallOutcome::Declined,
        Row::Busy => wire::CallOutcome::Busy,
        Row::Missed => wire::CallOutcome::Missed,
    }
}

pub(super) fn past(record: store::CallRecord) -> wire::PastCall {
    let store::CallRecord { call, caller_name: caller, participants: people } = record;
    let person = |(person, name): (store::CallParticipantRow, String)| wire::PastParticipant {
        person: UserSummary { user_id: person.user_id, name },
        outcome: outcome(person.outcome),
        joined_at: person.joined_at,
        left_at: person.left_at,
    };
    wire::PastCall {
        call_id: call.id,
        conversation_id: call.conversation_id,
        session_id: call.session,
        from: UserSummary { user_id: call.created_by, name: caller },
        media: media(call.media),
        started_at: call.started_at,
        answered_at: call.answered_at,
        ended_at: call.ended_at,
        reason: call.reason.map(reason),
        people: people.into_iter().map(person).collect(),
    }
}
