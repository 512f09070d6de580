//! When and why a call ends.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::UserId;

use super::call::{CallKind, CallState, EventTarget, InviteStatus, InviteeState};
use crate::protocol::calls::{self as wire, CallEndReason};
use crate::protocol::server::CallServerEvent;

/// How long those who agreed to talk may take until they are there.
const SETTLE: Duration = Duration::from_secs(30);

impl CallState {
    /// When [`CallState::timeout`] is due.
    pub fn due(&self) -> Option<Timestamp> {
        let rings = self.people.values().filter_map(|part| match part.answer {
            InviteStatus::Rings(until) => Some(until),
            _ => None,
        });
        let longest = self.terms.max_duration.map(|longest| self.started_at + longest);
        let settles = self.answered_at.filter(|_| !self.connected);
        rings.chain(longest).chain(settles.map(|at| at + SETTLE)).min()
    }

    /// Time has passed.
    pub fn timeout(&mut self, now: Timestamp) {
        let late =
            |part: &InviteeState| matches!(part.answer, InviteStatus::Rings(until) if until <= now);
        let missed: Vec<UserId> =
            self.people.iter().filter(|(_, part)| late(part)).map(|(user, _)| *user).collect();
        for user in &missed {
            if let Some(part) = self.people.get_mut(user) {
                part.answer = InviteStatus::Missed;
            }
        }
        let longest =
            self.terms.max_duration.is_some_and(|longest| self.started_at + longest <= now);
        let unsettled = !self.connected && self.answered_at.is_some_and(|at| at + SETTLE <= now);
        if longest {
            self.end(CallEndReason::Timeout);
        } else if unsettled && self.begin.shape != CallKind::Group {
            self.end(CallEndReason::Failed);
        } else {
            if unsettled {
                self.connected = true; // a group may wait; nobody is expected any more
            }
            self.settle(None);
        }
        if self.ended.is_none() {
            let heard = |user: &UserId| !self.unheard.contains(user);
            let missed = missed.into_iter().filter(heard).collect();
            let over = wire::CallEnded { call_id: self.begin.id, reason: CallEndReason::Missed };
            self.tell(EventTarget::People(missed), CallServerEvent::CallEnded(over));
        }
    }

    /// Ends the call if nobody is left whom it is for.
    pub(super) fn settle(&mut self, last: Option<CallEndReason>) {
        if self.ended.is_some() || self.rings_until().is_some() {
            return;
        }
        let present = self.participants.len();
        let any = |answer| self.people.values().any(|part| part.answer == answer);
        let answered = self.answered_at.is_some();
        let over = match self.begin.shape {
            CallKind::Direct if answered => self.connected && present < 2,
            CallKind::Direct => true,
            CallKind::Group if answered => self.connected && present == 0,
            CallKind::Group => present == 0,
            CallKind::Session => self.connected && present == 0,
        };
        if !over {
            return;
        }
        let reason = match last {
            Some(reason) => reason,
            None if answered => CallEndReason::Hangup,
            None if any(InviteStatus::Busy) => CallEndReason::Busy,
            None if any(InviteStatus::Missed) => CallEndReason::Missed,
            None if any(InviteStatus::Declined) => CallEndReason::Declined,
            None => CallEndReason::Cancelled,
        };
        self.end(reason);
    }

    /// It is over, for everybody.
    pub fn end(&mut self, reason: CallEndReason) {
        if self.ended.is_some() {
            return;
        }
        for part in self.people.values_mut() {
            if matches!(part.answer, InviteStatus::Rings(_)) {
                part.answer = InviteStatus::Missed;
            }
        }
        self.ended = Some(reason);
        let over = wire::CallEnded { call_id: self.begin.id, reason };
        self.tell(EventTarget::People(self.concerned()), CallServerEvent::CallEnded(over));
        let guests =
            self.participants.values().filter(|p| p.seat.guest).map(|p| EventTarget::Seat(p.seat));
        for guest in guests.collect::<Vec<_>>() {
            self.tell(guest, CallServerEvent::CallEnded(over));
        }
    }
}
