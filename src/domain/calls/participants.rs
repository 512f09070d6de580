//! Coming into a call, being in it, and going out.

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

/// What a participant is called on the wire.
pub fn participant_name(number: u32) -> String {
    format!("p{number}")
}

/// The number behind such a name.
pub fn participant_number(name: &str) -> Option<u32> {
    name.strip_prefix('p')?.parse().ok()
}

/// What the room counts under the owner's `lease`: lives of an owner in the low bits, owners above,
/// so that an older owner's epoch is always lower. JavaScript counts to 2⁵³.
pub(super) const fn first_epoch(lease: u64) -> u64 {
    (lease << 20) + 1
}

impl CallState {
    /// Which call it is.
    pub const fn id(&self) -> CallId {
        self.begin.id
    }

    /// The conversation it belongs to.
    pub const fn conversation(&self) -> Option<ConversationId> {
        self.begin.conversation
    }

    /// How media travels.
    pub const fn mode(&self) -> CallTopology {
        self.mode
    }

    /// Which life of its room it is in.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Why it is over, once it is.
    pub const fn ended(&self) -> Option<CallEndReason> {
        self.ended
    }

    /// Those who are in it.
    pub fn participants(&self) -> impl Iterator<Item = (u32, &CallParticipant)> {
        self.participants.iter().map(|(n, participant)| (*n, participant))
    }

    /// The participant behind this session.
    pub fn who(&self, session: SessionId) -> Option<u32> {
        let mut all = self.participants.iter();
        all.find(|(_, participant)| participant.seat.session == session).map(|(n, _)| *n)
    }

    /// Whether this person was called, or began it.
    pub fn concerns(&self, user: UserId) -> bool {
        self.people.contains_key(&user)
    }

    /// A device that is in it, as participant `number`, has another session: nobody else notices.
    /// False if it is not that participant.
    pub fn resume(&mut self, seat: Seat, number: u32) -> bool {
        let participant = self.participants.get_mut(&number);
        let same = participant.filter(|who| {
            (who.seat.user, who.seat.device) == (seat.user, seat.device) && self.ended.is_none()
        });
        same.map(|who| who.seat = seat).is_some()
    }

    /// Takes a device in; one that is in it already comes in anew. Gives its number.
    ///
    /// # Errors
    /// [`CallError::NotAllowed`] to those who were put out, [`CallError::Full`], [`CallError::NoSuchCall`]
    /// when it is over.
    pub fn join(
        &mut self,
        seat: Seat,
        name: &str,
        role: CallRole,
        now: Timestamp,
    ) -> Result<u32, CallError> {
        if self.ended.is_some() {
            return Err(CallError::NoSuchCall);
        }
        if self.banned.contains(&seat.user) {
            return Err(CallError::NotAllowed);
        }
        let before = self.participants.iter().find(|(_, p)| p.seat.device == seat.device);
        let before = before.map(|(n, _)| *n);
        if self.participants.len() - usize::from(before.is_some()) >= self.terms.max_participants {
            return Err(CallError::Full);
        }
        if let Some(before) = before {
            self.go(before, now);
        }
        if self.rings(seat.user).is_some() {
            self.accept(seat.user, now)?;
        }
        let started = self.begin.by.user_id == seat.user && self.begin.shape != CallKind::Direct;
        let number = self.next;
        self.next += 1;
        let participant = CallParticipant {
            seat,
            name: name.to_owned(),
            audio: true,
            video: self.begin.media == CallMedia::Video,
            moderates: started || role == CallRole::Moderator,
        };
        let news = self.news_of(number, &participant);
        self.tell_others(None, &CallServerEvent::ParticipantJoined(news));
        self.participants.insert(number, participant);
        self.changes.push(CallChange::In(number));
        let part = InviteeState { answer: InviteStatus::Came, joined_at: Some(now), left_at: None };
        self.unheard.remove(&seat.user);
        let part = self.people.entry(seat.user).or_insert(part);
        part.answer = InviteStatus::Came;
        part.joined_at.get_or_insert(now);
        part.left_at = None;
        if self.participants.len() > 1 || self.begin.shape == CallKind::Session {
            self.connected = true;
        }
        if self.participants.len() > 2 {
            self.upgrade();
        }
        Ok(number)
    }

    /// What the newcomer is told, but for what only media and the caller know.
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

    /// A session hangs up. Whoever began the call and is not in it yet gives it up.
    ///
    /// # Errors
    /// [`CallError::NotInCall`].
    pub fn leave(&mut self, seat: Seat, now: Timestamp) -> Result<(), CallError> {
        let Some(number) = self.who(seat.session) else {
            return self.give_up(seat.user);
        };
        self.go(number, now);
        let alone = self.participants.is_empty() && self.answered_at.is_none();
        if alone && seat.user == self.begin.by.user_id {
            self.end(CallEndReason::Cancelled);
        }
        self.settle(None);
        Ok(())
    }

    /// Somebody who is not in it (yet) does not want to be.
    fn give_up(&mut self, user: UserId) -> Result<(), CallError> {
        let agreed = self.people.get(&user).is_some_and(|part| part.answer == InviteStatus::Came);
        if self.ended.is_some() {
            return Err(CallError::NotInCall);
        }
        if self.begin.shape == CallKind::Direct && self.answered_at.is_some() && agreed {
            self.end(CallEndReason::Hangup);
            return Ok(());
        }
        self.cancel(user).or_else(|_| self.decline(user)).map_err(|_| CallError::NotInCall)
    }

    /// A session is no more, and its device did not come back in time.
    pub fn lost(&mut self, session: SessionId, now: Timestamp) {
        if let Some(number) = self.who(session)
            && let Some(seat) = self.participants.get(&number).map(|p| p.seat)
        {
            let _ = self.leave(seat, now); // it is in it, as was just seen
        }
    }

    fn go(&mut self, number: u32, now: Timestamp) {
        let Some(participant) = self.participants.remove(&number) else { return };
        let user = participant.seat.user;
        let elsewhere = self.participants.values().any(|other| other.seat.user == user);
        if let Some(part) = self.people.get_mut(&user)
            && !elsewhere
        {
            part.left_at = Some(now);
        }
        self.changes.push(CallChange::Out(number, participant.seat));
        let left = wire::ParticipantLeft {
            call_id: self.begin.id,
            participant_id: participant_name(number),
            user_id: user,
        };
        self.tell_others(None, &CallServerEvent::ParticipantLeft(left));
    }

    /// A participant switches the own microphone (or camera).
    ///
    /// # Errors
    /// [`CallError::NotInCall`].
    pub fn mute(
        &mut self,
        session: SessionId,
        what: CallMedia,
        muted: bool,
    ) -> Result<(), CallError> {
        let number = self.who(session).ok_or(CallError::NotInCall)?;
        self.switch(number, what, !muted);
        Ok(())
    }

    fn switch(&mut self, number: u32, what: CallMedia, on: bool) {
        let Some(participant) = self.participants.get_mut(&number) else { return };
        let state = match what {
            CallMedia::Audio => &mut participant.audio,
            CallMedia::Video => &mut participant.video,
        };
        if *state == on {
            return;
        }
        *state = on;
        let participant = participant.clone();
        let news = self.news_of(number, &participant);
        self.tell_others(None, &CallServerEvent::ParticipantUpdated(news));
        self.changes.push(CallChange::Switched(number, what, on));
    }

    /// A moderator mutes somebody or puts them out.
    ///
    /// # Errors
    /// [`CallError::NotInCall`], [`CallError::NotAllowed`] to those who are no moderators,
    /// [`CallError::NoSuchParticipant`].
    pub fn moderate(
        &mut self,
        session: SessionId,
        whom: &str,
        action: ModerationAction,
        now: Timestamp,
    ) -> Result<(), CallError> {
        let me = self.who(session).ok_or(CallError::NotInCall)?;
        if !self.participants.get(&me).is_some_and(|me| me.moderates) {
            return Err(CallError::NotAllowed);
        }
        let number = participant_number(whom).ok_or(CallError::NoSuchParticipant)?;
        let target = self.participants.get(&number).ok_or(CallError::NoSuchParticipant)?;
        let user = target.seat.user;
        match action {
            ModerationAction::Mute => self.switch(number, CallMedia::Audio, false),
            ModerationAction::Kick => {
                self.banned.insert(user);
                let of_user = self.participants.iter().filter(|(_, p)| p.seat.user == user);
                let all: Vec<_> = of_user.map(|(n, p)| (*n, p.seat)).collect();
                for (number, seat) in all {
                    let over =
                        wire::CallEnded { call_id: self.begin.id, reason: CallEndReason::Kicked };
                    self.tell(EventTarget::Seat(seat), CallServerEvent::CallEnded(over));
                    self.go(number, now);
                }
                self.settle(Some(CallEndReason::Kicked));
            }
        }
        Ok(())
    }

    /// Media travels through the server from now on.
    pub fn upgrade(&mut self) {
        if self.mode == CallTopology::Sfu || self.ended.is_some() {
            return;
        }
        self.mode = CallTopology::Sfu;
        self.changes.push(CallChange::Upgraded);
        let mode = wire::CallMode { call_id: self.begin.id, mode: CallTopology::Sfu };
        self.tell_others(None, &CallServerEvent::CallMode(mode));
    }

    /// The seat of a participant, and the number of whoever speaks to them from `session`.
    ///
    /// # Errors
    /// [`CallError::NotInCall`], [`CallError::NoSuchParticipant`].
    pub fn passage(&self, session: SessionId, to: &str) -> Result<(u32, Seat), CallError> {
        let from = self.who(session).ok_or(CallError::NotInCall)?;
        let to = participant_number(to).and_then(|n| self.participants.get(&n));
        Ok((from, to.ok_or(CallError::NoSuchParticipant)?.seat))
    }

    /// The room has begun a new life: everybody's media is to be set up again.
    pub fn restarted(&mut self) {
        self.epoch += 1;
        self.tell_moved();
    }

    /// The call goes on at this node, which owns it under the epoch `lease`.
    pub fn moved(&mut self, lease: u64) {
        self.epoch = first_epoch(lease);
        self.tell_moved();
    }

    fn tell_moved(&mut self) {
        if self.mode == CallTopology::Sfu {
            let moved = wire::CallMoved { call_id: self.begin.id, epoch: self.epoch };
            self.tell_others(None, &CallServerEvent::CallMoved(moved));
        }
    }

    /// What there is to tell, in order.
    pub fn take_news(&mut self) -> Vec<(EventTarget, CallServerEvent)> {
        std::mem::take(&mut self.news)
    }

    /// What else happened, in order.
    pub fn take_changes(&mut self) -> Vec<CallChange> {
        std::mem::take(&mut self.changes)
    }

    fn news_of(&self, number: u32, participant: &CallParticipant) -> wire::ParticipantChanged {
        wire::ParticipantChanged { call_id: self.begin.id, participant: view(number, participant) }
    }

    /// How it is written into history.
    pub fn record(&self, reason: CallEndReason, now: Timestamp) -> store::EndedCall {
        let people = self.people.iter().map(|(user, part)| {
            let outcome = match part.answer {
                InviteStatus::Rings(_) | InviteStatus::Missed => store::CallOutcome::Missed,
                InviteStatus::Came => store::CallOutcome::Joined,
                InviteStatus::Declined => store::CallOutcome::Declined,
                InviteStatus::Busy => store::CallOutcome::Busy,
            };
            let left_at = part.left_at.or(part.joined_at.map(|_| now));
            store::CallParticipantRow {
                user_id: *user,
                outcome,
                joined_at: part.joined_at,
                left_at,
            }
        });
        store::EndedCall {
            id: self.begin.id,
            reason: super::views::reason_row(reason),
            answered_at: self.answered_at,
            participants: people.collect(),
        }
    }

    /// How operators and statistics see it.
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

/// A participant, as others see them.
pub fn view(number: u32, participant: &CallParticipant) -> wire::ParticipantView {
    wire::ParticipantView {
        participant_id: participant_name(number),
        user_id: participant.seat.user,
        name: participant.name.clone(),
        audio: participant.audio,
        video: participant.video,
    }
}
