//! The state machine of a call: who is invited, who takes part, when and why it ends.
//!
//! Inputs are events and the current time. Outgoing events and media changes are queued in order
//! until they are taken.

mod participants;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, SessionId, UserId};
pub use participants::participant_view;
use serde::{Deserialize, Serialize};

use super::error::CallError;
use super::participant_id::first_epoch;
use crate::protocol::calls::{self as wire, CallEndReason, CallMedia, CallTopology};
pub use crate::protocol::cluster::ParticipantLocation;
use crate::protocol::server::CallServerEvent;
use crate::protocol::users::UserSummary;

/// How a call was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallKind {
    /// Two users; more may be invited later. Ends when one participant is left.
    Direct,
    /// Members of a conversation. Ends when no participant is left.
    Group,
    /// Holders of a call token for the session name. Ends when no participant is left.
    Session,
}

/// Parameters of a new call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartCallParams {
    /// Identifier of the call.
    pub id: CallId,
    /// How the call is started.
    #[serde(rename = "shape")]
    pub kind: CallKind,
    /// Conversation the call belongs to, if any.
    pub conversation: Option<ConversationId>,
    /// Session name, for a call joined by name.
    pub name: Option<String>,
    /// User who starts the call.
    pub by: UserSummary,
    /// Media the call starts with.
    pub media: CallMedia,
    /// Invited users. Those in another call are only recorded as busy.
    pub callees: Vec<Callee>,
}

/// A user invited to a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Callee {
    /// Identifier of the user.
    pub user: UserId,
    /// Whether the user is in another call.
    pub busy: bool,
    /// Shadow block: the callee blocks the caller, so they are not notified.
    #[serde(default, rename = "unheard")]
    pub shadow_blocked: bool,
}

/// Limits of a call.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CallTerms {
    /// How long devices ring.
    pub ring_timeout: Duration,
    /// Maximum duration; unlimited if `None`.
    pub max_duration: Option<Duration>,
    /// Maximum number of devices in the call.
    pub max_participants: usize,
}

/// Status of an invited user. Variant names are stored in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum InviteStatus {
    #[serde(rename = "Rings")]
    Ringing(Timestamp),
    #[serde(rename = "Came")]
    Accepted,
    Declined,
    Busy,
    Missed,
}

/// State of one user concerned by a call. Field names are stored in the database.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct InviteeState {
    #[serde(rename = "answer")]
    pub(super) status: InviteStatus,
    pub(super) joined_at: Option<Timestamp>,
    pub(super) left_at: Option<Timestamp>,
}

/// A device in the call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallParticipant {
    /// User, device, session and node of the participant.
    #[serde(rename = "seat")]
    pub location: ParticipantLocation,
    /// Display name of the user.
    pub name: String,
    /// Whether the microphone is on.
    pub audio: bool,
    /// Whether the camera is on.
    pub video: bool,
    /// Whether the participant may mute and remove others.
    #[serde(rename = "moderates")]
    pub is_moderator: bool,
}

/// Recipients of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTarget {
    /// All devices of these users.
    Users(Vec<UserId>),
    /// The session of one participant.
    Participant(ParticipantLocation),
}

/// A change that the call room acts on, beyond sending events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallChange {
    /// The call was answered for the first time.
    Answered,
    /// A participant joined.
    Joined(u32),
    /// A participant left.
    Left(u32, ParticipantLocation),
    /// A participant's microphone (audio) or camera (video) was switched on (`true`) or off.
    MediaToggled(u32, CallMedia, bool),
    /// The topology changed to SFU.
    Upgraded,
}

/// State of a call. The serialized form is stored, so that another room can continue the call;
/// field names are part of the stored format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallState {
    #[serde(rename = "begin")]
    pub(super) params: StartCallParams,
    #[serde(rename = "terms")]
    pub(super) terms: CallTerms,
    pub(super) mode: CallTopology,
    pub(super) epoch: u64,
    #[serde(rename = "people")]
    pub(super) invitees: BTreeMap<UserId, InviteeState>,
    /// Shadow-blocked invitees: they are not notified of the call.
    #[serde(default, rename = "unheard")]
    pub(super) shadow_blocked: BTreeSet<UserId>,
    pub(super) participants: BTreeMap<u32, CallParticipant>,
    pub(super) next: u32,
    pub(super) banned: HashSet<UserId>,
    pub(super) started_at: Timestamp,
    pub(super) answered_at: Option<Timestamp>,
    /// Two participants were in the call at the same time.
    pub(super) connected: bool,
    pub(super) ended: Option<CallEndReason>,
    #[serde(skip)]
    pub(super) events: Vec<(EventTarget, CallServerEvent)>,
    #[serde(skip)]
    pub(super) changes: Vec<CallChange>,
}

impl CallState {
    /// Starts a call. Devices of callees ring unless they are busy. `lease` is the fencing token
    /// under which this node owns the call.
    pub fn begin(begin: StartCallParams, terms: CallTerms, lease: u64, now: Timestamp) -> Self {
        let invitee = |answer| InviteeState { status: answer, joined_at: None, left_at: None };
        let mut people = BTreeMap::from([(begin.by.user_id, invitee(InviteStatus::Accepted))]);
        for callee in &begin.callees {
            let ringing = InviteStatus::Ringing(now + terms.ring_timeout);
            people.insert(
                callee.user,
                invitee(if callee.busy { InviteStatus::Busy } else { ringing }),
            );
        }
        let shadow_blocked = begin.callees.iter().filter(|callee| callee.shadow_blocked);
        let shadow_blocked = shadow_blocked.map(|callee| callee.user).collect();
        let direct = begin.kind == CallKind::Direct;
        let session = begin.kind == CallKind::Session;
        let mut call = Self {
            mode: if direct { CallTopology::P2p } else { CallTopology::Sfu },
            epoch: first_epoch(lease),
            invitees: people,
            shadow_blocked,
            participants: BTreeMap::new(),
            next: 1,
            banned: HashSet::new(),
            started_at: now,
            answered_at: session.then_some(now),
            connected: false,
            ended: None,
            events: Vec::new(),
            changes: Vec::new(),
            params: begin,
            terms,
        };
        let ringing_users = call.ringing_users();
        if let Some(until) = call.ringing_deadline() {
            let incoming = call.incoming_call_event(until);
            call.notify(EventTarget::Users(ringing_users), CallServerEvent::IncomingCall(incoming));
        }
        call.end_if_finished(None);
        call
    }

    /// The event a callee's device receives.
    pub fn incoming_call_event(&self, until: Timestamp) -> wire::IncomingCall {
        wire::IncomingCall {
            call_id: self.params.id,
            from: self.params.by.clone(),
            media: self.params.media,
            conversation_id: self.params.conversation,
            expires_at: until,
        }
    }

    /// When this user's devices stop ringing; `None` if they do not ring.
    pub fn ringing_until(&self, user: UserId) -> Option<Timestamp> {
        match self.invitees.get(&user)?.status {
            InviteStatus::Ringing(until) if self.ended.is_none() => Some(until),
            _ => None,
        }
    }

    /// Checks whether another user may be invited.
    ///
    /// # Errors
    /// [`CallError::NotInCall`] if the inviter is not in the call, [`CallError::AlreadyInvited`] if
    /// the callee is invited or in it, [`CallError::NotAllowed`] if they were removed by a
    /// moderator, [`CallError::CalleeBusy`] if they are in another call.
    pub fn may_invite(&self, by: SessionId, callee: &Callee) -> Result<(), CallError> {
        self.participant_with_session(by).ok_or(CallError::NotInCall)?;
        let user = callee.user;
        let present = self.participants.values().any(|other| other.location.user == user);
        let only_shadow_blocked = !callee.shadow_blocked && self.shadow_blocked.contains(&user);
        if present || (self.ringing_until(user).is_some() && !only_shadow_blocked) {
            return Err(CallError::AlreadyInvited);
        }
        if self.banned.contains(&user) {
            return Err(CallError::NotAllowed);
        }
        if callee.busy { Err(CallError::CalleeBusy) } else { Ok(()) }
    }

    /// Invites another user; returns when their devices stop ringing.
    ///
    /// # Errors
    /// As [`CallState::may_invite`].
    pub fn invite(
        &mut self,
        by: SessionId,
        callee: &Callee,
        now: Timestamp,
    ) -> Result<Timestamp, CallError> {
        self.may_invite(by, callee)?;
        let user = callee.user;
        let until = now + self.terms.ring_timeout;
        let invitee =
            InviteeState { status: InviteStatus::Ringing(until), joined_at: None, left_at: None };
        self.invitees.entry(user).or_insert(invitee).status = InviteStatus::Ringing(until);
        if callee.shadow_blocked {
            self.shadow_blocked.insert(user);
        } else {
            self.shadow_blocked.remove(&user);
            let incoming = self.incoming_call_event(until);
            self.notify(EventTarget::Users(vec![user]), CallServerEvent::IncomingCall(incoming));
        }
        Ok(until)
    }

    /// A callee accepts. They take part once they join.
    ///
    /// # Errors
    /// [`CallError::NotRinging`].
    pub fn accept(&mut self, user: UserId, now: Timestamp) -> Result<(), CallError> {
        self.ringing_until(user).ok_or(CallError::NotRinging)?;
        self.mark_answered(user, now);
        Ok(())
    }

    /// Stops the user's devices ringing and notifies everybody.
    fn mark_answered(&mut self, user: UserId, now: Timestamp) {
        if let Some(invitee) = self.invitees.get_mut(&user) {
            invitee.status = InviteStatus::Accepted;
        }
        self.shadow_blocked.remove(&user);
        if self.answered_at.is_none() {
            self.answered_at = Some(now);
            self.changes.push(CallChange::Answered);
        }
        self.notify_answer(user, CallServerEvent::CallAnswered);
    }

    /// A callee declines.
    ///
    /// # Errors
    /// [`CallError::NotRinging`].
    pub fn decline(&mut self, user: UserId) -> Result<(), CallError> {
        self.ringing_until(user).ok_or(CallError::NotRinging)?;
        if let Some(invitee) = self.invitees.get_mut(&user) {
            invitee.status = InviteStatus::Declined;
        }
        self.notify_answer(user, CallServerEvent::CallDeclined);
        self.end_if_finished(None);
        Ok(())
    }

    /// The caller cancels before anybody answered.
    ///
    /// # Errors
    /// [`CallError::NotAllowed`] for other users, [`CallError::NotRinging`] if it was answered.
    pub fn cancel(&mut self, user: UserId) -> Result<(), CallError> {
        if user != self.params.by.user_id {
            return Err(CallError::NotAllowed);
        }
        if self.answered_at.is_some() {
            return Err(CallError::NotRinging);
        }
        self.end(CallEndReason::Cancelled);
        Ok(())
    }

    /// Users whose devices know of the call.
    pub(super) fn notified_users(&self) -> Vec<UserId> {
        self.invitees.keys().copied().filter(|user| !self.shadow_blocked.contains(user)).collect()
    }

    /// Users whose devices ring, with the event for devices that connect meanwhile.
    pub fn ringing_calls(&self) -> Vec<(UserId, wire::IncomingCall)> {
        let ringing = self
            .ringing_users()
            .into_iter()
            .filter_map(|user| Some((user, self.ringing_until(user)?)));
        ringing.map(|(user, until)| (user, self.incoming_call_event(until))).collect()
    }

    fn ringing_users(&self) -> Vec<UserId> {
        self.notified_users()
            .into_iter()
            .filter(|user| self.ringing_until(*user).is_some())
            .collect()
    }

    /// When the last device stops ringing.
    pub(super) fn ringing_deadline(&self) -> Option<Timestamp> {
        self.invitees.keys().filter_map(|user| self.ringing_until(*user)).max()
    }

    fn notify_answer(
        &mut self,
        user: UserId,
        event: impl Fn(wire::CallAnswered) -> CallServerEvent,
    ) {
        let answered = event(wire::CallAnswered { call_id: self.params.id, user_id: user });
        self.notify(EventTarget::Users(self.notified_users()), answered);
    }

    pub(super) fn notify(&mut self, to: EventTarget, event: CallServerEvent) {
        if to != EventTarget::Users(Vec::new()) {
            self.events.push((to, event));
        }
    }

    /// Notifies every participant except `except`.
    pub(super) fn notify_participants(&mut self, except: Option<u32>, event: &CallServerEvent) {
        let others = self.participants.iter().filter(|(n, _)| Some(**n) != except);
        let events: Vec<_> =
            others.map(|(_, p)| (EventTarget::Participant(p.location), event.clone())).collect();
        self.events.extend(events);
    }
}
