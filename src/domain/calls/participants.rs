//! Participants of a call: join, leave, mute, moderation.

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, SessionId, UserId};

use super::call::{
    CallChange, CallKind, CallParticipant, CallState, EventTarget, InviteStatus, InviteeState, Seat,
};
use super::error::CallError;
use crate::protocol::calls::{
    self as wire, CallEndReason, CallMedia, CallRole, CallTopology, ModerationAction,
};
use crate::protocol::server::CallServerEvent;

/// Formats a participant number as the wire's `participant_id`.
pub fn participant_name(number: u32) -> String {
    format!("p{number}")
}

/// Parses a `participant_id`.
pub fn participant_number(name: &str) -> Option<u32> {
    name.strip_prefix('p')?.parse().ok()
}

/// First epoch of a room under `lease`. The low 20 bits count restarts of the room and the high
/// bits are the lease, so epochs of earlier owners are always lower. The value must stay below 2⁵³
/// for JavaScript.
pub(super) const fn first_epoch(lease: u64) -> u64 {
    (lease << 20) + 1
}

impl CallState {
    /// Identifier of the call.
    pub const fn id(&self) -> CallId {
        self.begin.id
    }

    /// Conversation the call belongs to, if any.
    pub const fn conversation(&self) -> Option<ConversationId> {
        self.begin.conversation
    }

    /// Current media topology.
    pub const fn mode(&self) -> CallTopology {
        self.mode
    }

    /// Current epoch of the room.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Reason of the end, once the call has ended.
    pub const fn ended(&self) -> Option<CallEndReason> {
        self.ended
    }

    /// Current participants by number.
    pub fn participants(&self) -> impl Iterator<Item = (u32, &CallParticipant)> {
        self.participants.iter().map(|(n, participant)| (*n, participant))
    }

    /// Number of the participant with this session.
    pub fn who(&self, session: SessionId) -> Option<u32> {
        let mut all = self.participants.iter();
        all.find(|(_, participant)| participant.seat.session == session).map(|(n, _)| *n)
    }

    /// Whether this user was invited or started the call.
    pub fn concerns(&self, user: UserId) -> bool {
        self.people.contains_key(&user)
    }

    /// Attaches a new session to the participant `number` of the same device, without notifying
    /// others. Returns `false` if the device is not that participant.
    pub fn resume(&mut self, seat: Seat, number: u32) -> bool {
        let found = self.participants.get_mut(&number);
        let same = found.filter(|participant| {
            (participant.seat.user, participant.seat.device) == (seat.user, seat.device)
                && self.ended.is_none()
        });
        same.map(|participant| participant.seat = seat).is_some()
    }

    /// Adds a device and returns its participant number. A device that is already in the call
    /// leaves first.
    ///
    /// # Errors
    /// [`CallError::NotAllowed`] for users removed by a moderator, [`CallError::ParticipantLimitReached`],
    /// [`CallError::CallNotFound`] if the call has ended.
    pub fn join(
        &mut self,
        seat: Seat,
        name: &str,
        role: CallRole,
        now: Timestamp,
    ) -> Result<u32, CallError> {
        if self.ended.is_some() {
            return Err(CallError::CallNotFound);
        }
        if self.banned.contains(&seat.user) {
            return Err(CallError::NotAllowed);
        }
        let previous = self.participants.iter().find(|(_, p)| p.seat.device == seat.device);
        let previous = previous.map(|(n, _)| *n);
        if self.participants.len() - usize::from(previous.is_some()) >= self.terms.max_participants
        {
            return Err(CallError::ParticipantLimitReached);
        }
        if let Some(previous) = previous {
            self.remove_participant(previous, now);
        }
        if self.rings(seat.user).is_some() {
            self.accept(seat.user, now)?;
        }
        let is_host = self.begin.by.user_id == seat.user && self.begin.shape != CallKind::Direct;
        let number = self.next;
        self.next += 1;
        let participant = CallParticipant {
            seat,
            name: name.to_owned(),
            audio: true,
            video: self.begin.media == CallMedia::Video,
            moderates: is_host || role == CallRole::Moderator,
        };
        let event = self.participant_event(number, &participant);
        self.notify_participants(None, &CallServerEvent::ParticipantJoined(event));
        self.participants.insert(number, participant);
        self.changes.push(CallChange::Joined(number));
        let invitee =
            InviteeState { answer: InviteStatus::Came, joined_at: Some(now), left_at: None };
        self.unheard.remove(&seat.user);
        let invitee = self.people.entry(seat.user).or_insert(invitee);
        invitee.answer = InviteStatus::Came;
        invitee.joined_at.get_or_insert(now);
        invitee.left_at = None;
        if self.participants.len() > 1 || self.begin.shape == CallKind::Session {
            self.connected = true;
        }
        if self.participants.len() > 2 {
            self.upgrade();
        }
        Ok(number)
    }

    /// Reply for the new participant; tracks and ICE servers are added by the room.
    pub fn joined(&self, number: u32) -> wire::CallJoined {
        let others = self.participants.iter().filter(|(n, _)| **n != number);
        wire::CallJoined {
            call_id: self.begin.id,
            session: self.begin.name.clone(),
            participant_id: participant_name(number),
            mode: self.mode,
            epoch: self.epoch,
            participants: others.map(|(n, p)| view(*n, p)).collect(),
            tracks: Vec::new(),
            ice_servers: Vec::new(),
        }
    }

    /// A session hangs up. If the caller is not in the call yet, it is cancelled.
    ///
    /// # Errors
    /// [`CallError::NotInCall`].
    pub fn leave(&mut self, seat: Seat, now: Timestamp) -> Result<(), CallError> {
        let Some(number) = self.who(seat.session) else {
            return self.leave_before_join(seat.user);
        };
        self.remove_participant(number, now);
        let cancels = self.participants.is_empty() && self.answered_at.is_none();
        if cancels && seat.user == self.begin.by.user_id {
            self.end(CallEndReason::Cancelled);
        }
        self.end_if_finished(None);
        Ok(())
    }

    /// Hang-up by a user who has not joined.
    fn leave_before_join(&mut self, user: UserId) -> Result<(), CallError> {
        let accepted =
            self.people.get(&user).is_some_and(|invitee| invitee.answer == InviteStatus::Came);
        if self.ended.is_some() {
            return Err(CallError::NotInCall);
        }
        if self.begin.shape == CallKind::Direct && self.answered_at.is_some() && accepted {
            self.end(CallEndReason::Hangup);
            return Ok(());
        }
        self.cancel(user).or_else(|_| self.decline(user)).map_err(|_| CallError::NotInCall)
    }

    /// A session ended and its device did not resume in time.
    pub fn lost(&mut self, session: SessionId, now: Timestamp) {
        if let Some(number) = self.who(session)
            && let Some(seat) = self.participants.get(&number).map(|p| p.seat)
        {
            let _ = self.leave(seat, now); // cannot fail: the participant was found above
        }
    }

    fn remove_participant(&mut self, number: u32, now: Timestamp) {
        let Some(participant) = self.participants.remove(&number) else { return };
        let user = participant.seat.user;
        let on_another_device = self.participants.values().any(|other| other.seat.user == user);
        if let Some(invitee) = self.people.get_mut(&user)
            && !on_another_device
        {
            invitee.left_at = Some(now);
        }
        self.changes.push(CallChange::Left(number, participant.seat));
        let left = wire::ParticipantLeft {
            call_id: self.begin.id,
            participant_id: participant_name(number),
            user_id: user,
        };
        self.notify_participants(None, &CallServerEvent::ParticipantLeft(left));
    }

    /// A participant switches their own microphone or camera.
    ///
    /// # Errors
    /// [`CallError::NotInCall`].
    pub fn mute(
        &mut self,
        session: SessionId,
        kind: CallMedia,
        muted: bool,
    ) -> Result<(), CallError> {
        let number = self.who(session).ok_or(CallError::NotInCall)?;
        self.set_enabled(number, kind, !muted);
        Ok(())
    }

    fn set_enabled(&mut self, number: u32, kind: CallMedia, on: bool) {
        let Some(participant) = self.participants.get_mut(&number) else { return };
        let state = match kind {
            CallMedia::Audio => &mut participant.audio,
            CallMedia::Video => &mut participant.video,
        };
        if *state == on {
            return;
        }
        *state = on;
        let participant = participant.clone();
        let event = self.participant_event(number, &participant);
        self.notify_participants(None, &CallServerEvent::ParticipantUpdated(event));
        self.changes.push(CallChange::MediaToggled(number, kind, on));
    }

    /// A moderator mutes or removes a participant.
    ///
    /// # Errors
    /// [`CallError::NotInCall`], [`CallError::NotAllowed`] if the caller is not a moderator,
    /// [`CallError::ParticipantNotFound`].
    pub fn moderate(
        &mut self,
        session: SessionId,
        target_id: &str,
        action: ModerationAction,
        now: Timestamp,
    ) -> Result<(), CallError> {
        let moderator = self.who(session).ok_or(CallError::NotInCall)?;
        if !self.participants.get(&moderator).is_some_and(|moderator| moderator.moderates) {
            return Err(CallError::NotAllowed);
        }
        let number = participant_number(target_id).ok_or(CallError::ParticipantNotFound)?;
        let target = self.participants.get(&number).ok_or(CallError::ParticipantNotFound)?;
        let user = target.seat.user;
        match action {
            ModerationAction::Mute => self.set_enabled(number, CallMedia::Audio, false),
            ModerationAction::Kick => {
                self.banned.insert(user);
                let of_user = self.participants.iter().filter(|(_, p)| p.seat.user == user);
                let removed: Vec<_> = of_user.map(|(n, p)| (*n, p.seat)).collect();
                for (number, seat) in removed {
                    let ended =
                        wire::CallEnded { call_id: self.begin.id, reason: CallEndReason::Kicked };
                    self.notify(EventTarget::Participant(seat), CallServerEvent::CallEnded(ended));
                    self.remove_participant(number, now);
                }
                self.end_if_finished(Some(CallEndReason::Kicked));
            }
        }
        Ok(())
    }

    /// Switches the topology to SFU.
    pub fn upgrade(&mut self) {
        if self.mode == CallTopology::Sfu || self.ended.is_some() {
            return;
        }
        self.mode = CallTopology::Sfu;
        self.changes.push(CallChange::Upgraded);
        let mode = wire::CallMode { call_id: self.begin.id, mode: CallTopology::Sfu };
        self.notify_participants(None, &CallServerEvent::CallMode(mode));
    }

    /// Sender number and recipient location for signalling between participants.
    ///
    /// # Errors
    /// [`CallError::NotInCall`], [`CallError::ParticipantNotFound`].
    pub fn signalling_route(&self, session: SessionId, to: &str) -> Result<(u32, Seat), CallError> {
        let from = self.who(session).ok_or(CallError::NotInCall)?;
        let to = participant_number(to).and_then(|n| self.participants.get(&n));
        Ok((from, to.ok_or(CallError::ParticipantNotFound)?.seat))
    }

    /// The room restarted: all media connections must be set up again.
    pub fn restarted(&mut self) {
        self.epoch += 1;
        self.notify_moved();
    }

    /// The call continues on this node, which owns it under `lease`.
    pub fn moved(&mut self, lease: u64) {
        self.epoch = first_epoch(lease);
        self.notify_moved();
    }

    fn notify_moved(&mut self) {
        if self.mode == CallTopology::Sfu {
            let moved = wire::CallMoved { call_id: self.begin.id, epoch: self.epoch };
            self.notify_participants(None, &CallServerEvent::CallMoved(moved));
        }
    }

    /// Takes the queued events in order.
    pub fn take_news(&mut self) -> Vec<(EventTarget, CallServerEvent)> {
        std::mem::take(&mut self.news)
    }

    /// Takes the queued changes in order.
    pub fn take_changes(&mut self) -> Vec<CallChange> {
        std::mem::take(&mut self.changes)
    }

    fn participant_event(
        &self,
        number: u32,
        participant: &CallParticipant,
    ) -> wire::ParticipantChanged {
        wire::ParticipantChanged { call_id: self.begin.id, participant: view(number, participant) }
    }

    /// Record for the call history.
    pub fn record(&self, reason: CallEndReason, now: Timestamp) -> store::EndedCall {
        let people = self.people.iter().map(|(user, invitee)| {
            let outcome = match invitee.answer {
                InviteStatus::Rings(_) | InviteStatus::Missed => store::CallOutcome::Missed,
                InviteStatus::Came => store::CallOutcome::Joined,
                InviteStatus::Declined => store::CallOutcome::Declined,
                InviteStatus::Busy => store::CallOutcome::Busy,
            };
            let left_at = invitee.left_at.or(invitee.joined_at.map(|_| now));
            store::CallParticipantRow {
                user_id: *user,
                outcome,
                joined_at: invitee.joined_at,
                left_at,
            }
        });
        store::EndedCall {
            id: self.begin.id,
            reason: super::views::reason_row(reason),
            answered_at: self.answered_at,
            people: people.collect(),
        }
    }

    /// Summary for operators and statistics.
    pub fn active(&self) -> wire::ActiveCall {
        wire::ActiveCall {
            call_id: self.begin.id,
            session_id: self.begin.name.clone(),
            mode: self.mode,
            participants: self.participants.len(),
            started_at: self.started_at,
        }
    }
}

/// A participant as others see them.
pub fn view(number: u32, participant: &CallParticipant) -> wire::ParticipantView {
    wire::ParticipantView {
        participant_id: participant_name(number),
        user_id: participant.seat.user,
        name: participant.name.clone(),
        audio: participant.audio,
        video: participant.video,
    }
}
