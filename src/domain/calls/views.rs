//! From what the store keeps to what crosses the wire, and back.

use crate::protocol::calls as wire;
use crate::protocol::server::Person;

pub(super) const fn media_row(media: wire::Media) -> store::CallMedia {
    match media {
        wire::Media::Audio => store::CallMedia::Audio,
        wire::Media::Video => store::CallMedia::Video,
    }
}

const fn media(media: store::CallMedia) -> wire::Media {
    match media {
        store::CallMedia::Audio => wire::Media::Audio,
        store::CallMedia::Video => wire::Media::Video,
    }
}

pub(super) const fn reason_row(reason: wire::Reason) -> store::CallReason {
    use store::CallReason as Row;
    match reason {
        wire::Reason::Hangup => Row::Hangup,
        wire::Reason::Declined => Row::Declined,
        wire::Reason::Busy => Row::Busy,
        wire::Reason::Cancelled => Row::Cancelled,
        wire::Reason::Missed => Row::Missed,
        wire::Reason::Timeout => Row::Timeout,
        wire::Reason::Kicked => Row::Kicked,
        wire::Reason::Failed => Row::Failed,
    }
}

const fn reason(reason: store::CallReason) -> wire::Reason {
    use store::CallReason as Row;
    match reason {
        Row::Hangup => wire::Reason::Hangup,
        Row::Declined => wire::Reason::Declined,
        Row::Busy => wire::Reason::Busy,
        Row::Cancelled => wire::Reason::Cancelled,
        Row::Missed => wire::Reason::Missed,
        Row::Timeout => wire::Reason::Timeout,
        Row::Kicked => wire::Reason::Kicked,
        Row::Failed => wire::Reason::Failed,
    }
}

const fn outcome(outcome: store::CallOutcome) -> wire::Outcome {
    use store::CallOutcome as Row;
    match outcome {
        Row::Called => wire::Outcome::Called,
        Row::Joined => wire::Outcome::Joined,
        Row::Declined => wire::Outcome::Declined,
        Row::Busy => wire::Outcome::Busy,
        Row::Missed => wire::Outcome::Missed,
    }
}

pub(super) fn past(record: store::CallRecord) -> wire::PastCall {
    let store::CallRecord { call, caller, people } = record;
    let person = |(person, name): (store::CallPerson, String)| wire::PastParticipant {
        person: Person { user_id: person.user_id, name },
        outcome: outcome(person.outcome),
        joined_at: person.joined_at,
        left_at: person.left_at,
    };
    wire::PastCall {
        call_id: call.id,
        conversation_id: call.conversation_id,
        session_id: call.session,
        from: Person { user_id: call.created_by, name: caller },
        media: media(call.media),
        started_at: call.started_at,
        answered_at: call.answered_at,
        ended_at: call.ended_at,
        reason: call.reason.map(reason),
        people: people.into_iter().map(person).collect(),
    }
}
