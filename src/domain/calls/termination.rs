//! When and why a call ends.

use std::time::Duration;

use base::clock::Timestamp;
use base::ids::UserId;

use super::call::{CallKind, CallState, EventTarget, InviteStatus, InviteeState};
use crate::protocol::calls::{self as wire, CallEndReason};
use crate::protocol::server::CallServerEvent;

/// How long users who accepted may take to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);

impl CallState {
    /// When [`CallState::timeout`] must be called next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let rings = self.invitees.values().filter_map(|invitee| match invitee.status {
            InviteStatus::Ringing(until) => Some(until),
            _ => None,
        });
        let ends_at = self.terms.max_duration.map(|max| self.started_at + max);
        let join_deadline = self.answered_at.filter(|_| !self.connected);
        rings.chain(ends_at).chain(join_deadline.map(|at| at + JOIN_TIMEOUT)).min()
    }

    /// Applies all deadlines that have passed.
    pub fn timeout(&mut self, now: Timestamp) {
        let ring_expired = |invitee: &InviteeState| matches!(invitee.status, InviteStatus::Ringing(until) if until <= now);
        let missed: Vec<UserId> = self
            .invitees
            .iter()
            .filter(|(_, invitee)| ring_expired(invitee))
            .map(|(user, _)| *user)
            .collect();
        for user in &missed {
            if let Some(invitee) = self.invitees.get_mut(user) {
                invitee.status = InviteStatus::Missed;
            }
        }
        let too_long = self.terms.max_duration.is_some_and(|max| self.started_at + max <= now);
        let join_expired =
            !self.connected && self.answered_at.is_some_and(|at| at + JOIN_TIMEOUT <= now);
        if too_long {
            self.end(CallEndReason::Timeout);
        } else if join_expired && self.params.kind != CallKind::Group {
            self.end(CallEndReason::Failed);
        } else {
            if join_expired {
                self.connected = true; // a group call may wait for late participants
            }
            self.end_if_finished(None);
        }
        if self.ended.is_none() {
            let notified = |user: &UserId| !self.shadow_blocked.contains(user);
            let missed = missed.into_iter().filter(notified).collect();
            let ended = wire::CallEnded { call_id: self.params.id, reason: CallEndReason::Missed };
            self.notify(EventTarget::Users(missed), CallServerEvent::CallEnded(ended));
        }
    }

    /// Ends the call if too few participants and invitees are left. `reason` overrides the derived
    /// reason.
    pub(super) fn end_if_finished(&mut self, override_reason: Option<CallEndReason>) {
        if self.ended.is_some() || self.ringing_deadline().is_some() {
            return;
        }
        let count = self.participants.len();
        let any_invitee = |answer| self.invitees.values().any(|invitee| invitee.status == answer);
        let answered = self.answered_at.is_some();
        let finished = match self.params.kind {
            CallKind::Direct if answered => self.connected && count < 2,
            CallKind::Direct => true,
            CallKind::Group if answered => self.connected && count == 0,
            CallKind::Group => count == 0,
            CallKind::Session => self.connected && count == 0,
        };
        if !finished {
            return;
        }
        let reason = match override_reason {
            Some(reason) => reason,
            None if answered => CallEndReason::Hangup,
            None if any_invitee(InviteStatus::Busy) => CallEndReason::Busy,
            None if any_invitee(InviteStatus::Missed) => CallEndReason::Missed,
            None if any_invitee(InviteStatus::Declined) => CallEndReason::Declined,
            None => CallEndReason::Cancelled,
        };
        self.end(reason);
    }

    /// Ends the call for everybody.
    pub fn end(&mut self, reason: CallEndReason) {
        if self.ended.is_some() {
            return;
        }
        for invitee in self.invitees.values_mut() {
            if matches!(invitee.status, InviteStatus::Ringing(_)) {
                invitee.status = InviteStatus::Missed;
            }
        }
        self.ended = Some(reason);
        let ended = wire::CallEnded { call_id: self.params.id, reason };
        self.notify(EventTarget::Users(self.notified_users()), CallServerEvent::CallEnded(ended));
        let guests = self
            .participants
            .values()
            .filter(|p| p.location.guest)
            .map(|p| EventTarget::Participant(p.location));
        for guest in guests.collect::<Vec<_>>() {
            self.notify(guest, CallServerEvent::CallEnded(ended));
        }
    }
}
