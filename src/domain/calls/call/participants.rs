//! Participants of a call: join, leave, mute, moderation.

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, SessionId, UserId};

use super::super::participant_id::{first_epoch, format_participant_id, parse_participant_id};
use super::{
    CallChange, CallKind, CallParticipant, CallState, EventTarget, InviteStatus, InviteeState,
    ParticipantLocation,
};
use crate::domain::calls::error::CallError;
use crate::protocol::calls::{
    self as wire, CallEndReason, CallMedia, CallRole, CallTopology, ModerationAction,
};
use crate::protocol::server::CallServerEvent;

impl CallState {
    /// Identifier of the call.
    pub const fn id(&self) -> CallId {
        self.params.id
    }

    /// Conversation the call belongs to, if any.
    pub const fn conversation(&self) -> Option<ConversationId> {
        self.params.conversation
    }

    /// Current topology of the media.
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
    pub fn participant_with_session(&self, session: SessionId) -> Option<u32> {
        let mut all = self.participants.iter();
        all.find(|(_, participant)| participant.location.session == session).map(|(n, _)| *n)
    }

    /// Whether this user was invited or started the call.
    pub fn concerns(&self, user: UserId) -> bool {
        self.invitees.contains_key(&user)
    }

    /// Attaches a new session to the participant `number` of the same device, without notifying
    /// others. Returns `false` if the device is not that participant.
    pub fn resume(&mut self, location: ParticipantLocation, number: u32) -> bool {
        let found = self.participants.get_mut(&number);
        let same = found.filter(|participant| {
            (participant.location.user, participant.location.device)
                == (location.user, location.device)
                && self.ended.is_none()
        });
        same.map(|participant| participant.location = location).is_some()
    }

    /// Adds a device and returns its participant number. A device that is already in the call
    /// leaves first.
    ///
    /// # Errors
    /// [`CallError::NotAllowed`] for users removed by a moderator,
    /// [`CallError::ParticipantLimitReached`], [`CallError::CallNotFound`] if the call has ended.
    pub fn join(
        &mut self,
        location: ParticipantLocation,
        name: &str,
        role: CallRole,
        now: Timestamp,
    ) -> Result<u32, CallError> {
        if self.ended.is_some() {
            return Err(CallError::CallNotFound);
        }
        if self.banned.contains(&location.user) {
            return Err(CallError::NotAllowed);
        }
        let previous = self.participants.iter().find(|(_, p)| p.location.device == location.device);
        let previous = previous.map(|(n, _)| *n);
        if self.participants.len() - usize::from(previous.is_some()) >= self.terms.max_participants
        {
            return Err(CallError::ParticipantLimitReached);
        }
        if let Some(previous) = previous {
            self.remove_participant(previous, now);
        }
        if self.ringing_until(location.user).is_some() {
            self.accept(location.user, now)?;
        }
        let is_host =
            self.params.by.user_id == location.user && self.params.kind != CallKind::Direct;
        let number = self.next;
        self.next += 1;
        let participant = CallParticipant {
            location,
            name: name.to_owned(),
            audio: true,
            video: self.params.media == CallMedia::Video,
            is_moderator: is_host || role == CallRole::Moderator,
        };
        let event = self.participant_event(number, &participant);
        self.notify_participants(None, &CallServerEvent::ParticipantJoined(event));
        self.participants.insert(number, participant);
        self.changes.push(CallChange::Joined(number));
        let invitee =
            InviteeState { status: InviteStatus::Accepted, joined_at: Some(now), left_at: None };
        self.shadow_blocked.remove(&location.user);
        let invitee = self.invitees.entry(location.user).or_insert(invitee);
        invitee.status = InviteStatus::Accepted;
        invitee.joined_at.get_or_insert(now);
        invitee.left_at = None;
        if self.participants.len() > 1 || self.params.kind == CallKind::Session {
            self.connected = true;
        }
        if self.participants.len() > 2 {
            self.upgrade();
        }
        Ok(number)
    }

    /// Reply for the new participant; tracks and ICE servers are added by the room.
    pub fn joined_reply(&self, number: u32) -> wire::CallJoined {
        let others = self.participants.iter().filter(|(n, _)| **n != number);
        wire::CallJoined {
            call_id: self.params.id,
            session: self.params.name.clone(),
            participant_id: format_participant_id(number),
            mode: self.mode,
            epoch: self.epoch,
            participants: others.map(|(n, p)| participant_view(*n, p)).collect(),
            tracks: Vec::new(),
            ice_servers: Vec::new(),
        }
    }

    /// A session hangs up. If the caller is not in the call yet, it is cancelled.
    ///
    /// # Errors
    /// [`CallError::NotInCall`].
    pub fn leave(&mut self, from: ParticipantLocation, now: Timestamp) -> Result<(), CallError> {
        let Some(number) = self.participant_with_session(from.session) else {
            return self.leave_before_join(from.user);
        };
        self.remove_participant(number, now);
        let cancels = self.participants.is_empty() && self.answered_at.is_none();
        if cancels && from.user == self.params.by.user_id {
            self.end(CallEndReason::Cancelled);
        }
        self.end_if_finished(None);
        Ok(())
    }

    /// Hang-up by a user who has not joined.
    fn leave_before_join(&mut self, user: UserId) -> Result<(), CallError> {
        let accepted = self.invitees.get(&user).is_some_and(|i| i.status == InviteStatus::Accepted);
        if self.ended.is_some() {
            return Err(CallError::NotInCall);
        }
        if self.params.kind == CallKind::Direct && self.answered_at.is_some() && accepted {
            self.end(CallEndReason::Hangup);
            return Ok(());
        }
        self.cancel(user).or_else(|_| self.decline(user)).map_err(|_| CallError::NotInCall)
    }

    /// A session ended and its device did not resume in time.
    pub fn session_lost(&mut self, session: SessionId, now: Timestamp) {
        if let Some(number) = self.participant_with_session(session)
            && let Some(location) = self.participants.get(&number).map(|p| p.location)
        {
            let _ = self.leave(location, now); // cannot fail: the participant was found above
        }
    }

    fn remove_participant(&mut self, number: u32, now: Timestamp) {
        let Some(participant) = self.participants.remove(&number) else { return };
        let user = participant.location.user;
        let on_another_device = self.participants.values().any(|other| other.location.user == user);
        if let Some(invitee) = self.invitees.get_mut(&user)
            && !on_another_device
        {
            invitee.left_at = Some(now);
        }
        self.changes.push(CallChange::Left(number, participant.location));
        let left = wire::ParticipantLeft {
            call_id: self.params.id,
            participant_id: format_participant_id(number),
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
        let number = self.participant_with_session(session).ok_or(CallError::NotInCall)?;
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
        let moderator = self.participant_with_session(session).ok_or(CallError::NotInCall)?;
        if !self.participants.get(&moderator).is_some_and(|moderator| moderator.is_moderator) {
            return Err(CallError::NotAllowed);
        }
        let number = parse_participant_id(target_id).ok_or(CallError::ParticipantNotFound)?;
        let target = self.participants.get(&number).ok_or(CallError::ParticipantNotFound)?;
        let user = target.location.user;
        match action {
            ModerationAction::Mute => self.set_enabled(number, CallMedia::Audio, false),
            ModerationAction::Kick => {
                self.banned.insert(user);
                let of_user = self.participants.iter().filter(|(_, p)| p.location.user == user);
                let removed: Vec<_> = of_user.map(|(n, p)| (*n, p.location)).collect();
                for (number, location) in removed {
                    let ended =
                        wire::CallEnded { call_id: self.params.id, reason: CallEndReason::Kicked };
                    let to = EventTarget::Participant(location);
                    self.notify(to, CallServerEvent::CallEnded(ended));
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
        let mode = wire::CallMode { call_id: self.params.id, mode: CallTopology::Sfu };
        self.notify_participants(None, &CallServerEvent::CallMode(mode));
    }

    /// Sender number and recipient location for signalling between participants.
    ///
    /// # Errors
    /// [`CallError::NotInCall`], [`CallError::ParticipantNotFound`].
    pub fn signalling_route(
        &self,
        session: SessionId,
        to: &str,
    ) -> Result<(u32, ParticipantLocation), CallError> {
        let from = self.participant_with_session(session).ok_or(CallError::NotInCall)?;
        let to = parse_participant_id(to).and_then(|n| self.participants.get(&n));
        Ok((from, to.ok_or(CallError::ParticipantNotFound)?.location))
    }

    /// The room restarted: all media connections must be set up again.
    pub fn room_restarted(&mut self) {
        self.epoch += 1;
        self.notify_moved();
    }

    /// The call continues on this node, which owns it under `lease`.
    pub fn room_moved(&mut self, lease: u64) {
        self.epoch = first_epoch(lease);
        self.notify_moved();
    }

    fn notify_moved(&mut self) {
        if self.mode == CallTopology::Sfu {
            let moved = wire::CallMoved { call_id: self.params.id, epoch: self.epoch };
            self.notify_participants(None, &CallServerEvent::CallMoved(moved));
        }
    }

    /// Takes the queued events in order.
    pub fn take_events(&mut self) -> Vec<(EventTarget, CallServerEvent)> {
        std::mem::take(&mut self.events)
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
        wire::ParticipantChanged {
            call_id: self.params.id,
            participant: participant_view(number, participant),
        }
    }

    /// Record for the call history.
    pub fn record(&self, reason: CallEndReason, now: Timestamp) -> store::EndedCall {
        let people = self.invitees.iter().map(|(user, invitee)| {
            let outcome = match invitee.status {
                InviteStatus::Ringing(_) | InviteStatus::Missed => store::CallOutcome::Missed,
                InviteStatus::Accepted => store::CallOutcome::Joined,
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
            id: self.params.id,
            reason: crate::domain::calls::views::reason_row(reason),
            answered_at: self.answered_at,
            participants: people.collect(),
        }
    }

    /// Summary for operators and statistics.
    pub fn active(&self) -> wire::ActiveCall {
        wire::ActiveCall {
            call_id: self.params.id,
            session_id: self.params.name.clone(),
            mode: self.mode,
            participants: self.participants.len(),
            started_at: self.started_at,
        }
    }
}

/// A participant as others see them.
pub fn participant_view(number: u32, participant: &CallParticipant) -> wire::ParticipantView {
    wire::ParticipantView {
        participant_id: format_participant_id(number),
        user_id: participant.location.user,
        name: participant.name.clone(),
        audio: participant.audio,
        video: participant.video,
    }
}
