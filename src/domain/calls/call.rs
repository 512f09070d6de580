//! A call as a value: who rings, who is in it, when and why it ends.
//!
//! It is told what happens and when; what others should hear and what it means for media is kept
//! in order until it is fetched.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use base::clock::Timestamp;
use base::ids::{CallId, ConversationId, SessionId, UserId};
use serde::{Deserialize, Serialize};

use super::error::CallError;
use super::participants::first_epoch;
use crate::protocol::calls::{self as wire, CallEndReason, CallMedia, CallTopology};
pub use crate::protocol::cluster::ParticipantLocation as Seat;
use crate::protocol::server::{CallServerEvent, UserSummary};

/// What a call is among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallKind {
    /// Two people; others may be called in later. It is over when one is left.
    Direct,
    /// The members of a conversation. It is over when nobody is left.
    Group,
    /// Whoever has the name. It is over when nobody is left.
    Session,
}

/// How a call begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StartCallParams {
    /// Which.
    pub id: CallId,
    /// Among whom.
    pub shape: CallKind,
    /// The conversation it belongs to.
    pub conversation: Option<ConversationId>,
    /// The name by which it is entered.
    pub name: Option<String>,
    /// Who begins it.
    pub by: UserSummary,
    /// What it begins as.
    pub media: CallMedia,
    /// Whose devices ring; of those who are in another call only the name is kept.
    pub callees: Vec<Callee>,
}

/// Somebody who is to be called.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Callee {
    /// Who.
    pub user: UserId,
    /// Whether they are in another call.
    pub busy: bool,
    /// They block whoever calls them, and are not to hear of it.
    #[serde(default)]
    pub unheard: bool,
}

/// How long things may take, and how many may come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CallTerms {
    /// How long devices ring.
    pub ring_timeout: Duration,
    /// How long it may last.
    pub max_duration: Option<Duration>,
    /// How many devices may be in it.
    pub max_participants: usize,
}

/// What became of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum InviteStatus {
    Rings(Timestamp),
    Came,
    Declined,
    Busy,
    Missed,
}

/// One person's part.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct InviteeState {
    pub(super) answer: InviteStatus,
    pub(super) joined_at: Option<Timestamp>,
    pub(super) left_at: Option<Timestamp>,
}

/// One who is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallParticipant {
    /// Where they sit.
    pub seat: Seat,
    /// How they call themselves.
    pub name: String,
    /// Whether the microphone is on.
    pub audio: bool,
    /// Whether the camera is on.
    pub video: bool,
    /// Whether they may mute and put out others.
    pub moderates: bool,
}

/// Who hears something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventTarget {
    /// All devices of these people.
    People(Vec<UserId>),
    /// One participant's session.
    Seat(Seat),
}

/// What happened that concerns more than news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallChange {
    /// It was answered for the first time.
    Answered,
    /// Somebody came in.
    In(u32),
    /// Somebody went out.
    Out(u32, Seat),
    /// Somebody's microphone (or camera) was switched.
    Switched(u32, CallMedia, bool),
    /// Media travels through the server from now on.
    Upgraded,
}

/// The call. Written down it is what another room goes on with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallState {
    pub(super) begin: StartCallParams,
    pub(super) terms: CallTerms,
    pub(super) mode: CallTopology,
    pub(super) epoch: u64,
    pub(super) people: BTreeMap<UserId, InviteeState>,
    /// Those of them for whom it rings in vain: they do not hear of it.
    #[serde(default)]
    pub(super) unheard: BTreeSet<UserId>,
    pub(super) participants: BTreeMap<u32, CallParticipant>,
    pub(super) next: u32,
    pub(super) banned: HashSet<UserId>,
    pub(super) started_at: Timestamp,
    pub(super) answered_at: Option<Timestamp>,
    /// Two were in it at the same time.
    pub(super) connected: bool,
    pub(super) ended: Option<CallEndReason>,
    #[serde(skip)]
    pub(super) news: Vec<(EventTarget, CallServerEvent)>,
    #[serde(skip)]
    pub(super) changes: Vec<CallChange>,
}

impl CallState {
    /// A call that begins now: devices ring, unless whoever is called is busy. `lease` is the epoch
    /// under which its node owns it.
    pub fn begin(begin: StartCallParams, terms: CallTerms, lease: u64, now: Timestamp) -> Self {
        let part = |answer| InviteeState { answer, joined_at: None, left_at: None };
        let mut people = BTreeMap::from([(begin.by.user_id, part(InviteStatus::Came))]);
        for callee in &begin.callees {
            let rings = InviteStatus::Rings(now + terms.ring_timeout);
            people.insert(callee.user, part(if callee.busy { InviteStatus::Busy } else { rings }));
        }
        let unheard = begin.callees.iter().filter(|callee| callee.unheard);
        let unheard = unheard.map(|callee| callee.user).collect();
        let direct = begin.shape == CallKind::Direct;
        let session = begin.shape == CallKind::Session;
        let mut call = Self {
            mode: if direct { CallTopology::P2p } else { CallTopology::Sfu },
            epoch: first_epoch(lease),
            people,
            unheard,
            participants: BTreeMap::new(),
            next: 1,
            banned: HashSet::new(),
            started_at: now,
            answered_at: session.then_some(now),
            connected: false,
            ended: None,
            news: Vec::new(),
            changes: Vec::new(),
            begin,
            terms,
        };
        let ringing = call.ringing();
        if let Some(until) = call.rings_until() {
            let incoming = call.incoming(until);
            call.tell(EventTarget::People(ringing), CallServerEvent::IncomingCall(incoming));
        }
        call.settle(None);
        call
    }

    /// What a device of somebody who is called is told.
    pub fn incoming(&self, until: Timestamp) -> wire::IncomingCall {
        wire::IncomingCall {
            call_id: self.begin.id,
            from: self.begin.by.clone(),
            media: self.begin.media,
            conversation_id: self.begin.conversation,
            expires_at: until,
        }
    }

    /// Until when this person's devices ring.
    pub fn rings(&self, user: UserId) -> Option<Timestamp> {
        match self.people.get(&user)?.answer {
            InviteStatus::Rings(until) if self.ended.is_none() => Some(until),
            _ => None,
        }
    }

    /// Whether one person more may be called.
    ///
    /// # Errors
    /// [`CallError::NotInCall`] if whoever calls is not in it, [`CallError::Already`] if they are called
    /// or in it, [`CallError::NotAllowed`] if they were put out, [`CallError::Busy`] if they are in
    /// another call.
    pub fn may_invite(&self, by: SessionId, callee: &Callee) -> Result<(), CallError> {
        self.who(by).ok_or(CallError::NotInCall)?;
        let user = callee.user;
        let present = self.participants.values().any(|other| other.seat.user == user);
        let in_vain = !callee.unheard && self.unheard.contains(&user);
        if present || (self.rings(user).is_some() && !in_vain) {
            return Err(CallError::Already);
        }
        if self.banned.contains(&user) {
            return Err(CallError::NotAllowed);
        }
        if callee.busy { Err(CallError::Busy) } else { Ok(()) }
    }

    /// One person more is called.
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
        let part =
            InviteeState { answer: InviteStatus::Rings(until), joined_at: None, left_at: None };
        self.people.entry(user).or_insert(part).answer = InviteStatus::Rings(until);
        if callee.unheard {
            self.unheard.insert(user);
        } else {
            self.unheard.remove(&user);
            let incoming = self.incoming(until);
            self.tell(EventTarget::People(vec![user]), CallServerEvent::IncomingCall(incoming));
        }
        Ok(until)
    }

    /// Somebody who is called says yes; they are in it once they join.
    ///
    /// # Errors
    /// [`CallError::NotRinging`].
    pub fn accept(&mut self, user: UserId, now: Timestamp) -> Result<(), CallError> {
        self.rings(user).ok_or(CallError::NotRinging)?;
        self.came(user, now);
        Ok(())
    }

    /// Their devices stop ringing, and the others hear of it.
    fn came(&mut self, user: UserId, now: Timestamp) {
        if let Some(part) = self.people.get_mut(&user) {
            part.answer = InviteStatus::Came;
        }
        self.unheard.remove(&user);
        if self.answered_at.is_none() {
            self.answered_at = Some(now);
            self.changes.push(CallChange::Answered);
        }
        self.tell_all(user, CallServerEvent::CallAnswered);
    }

    /// Somebody who is called says no.
    ///
    /// # Errors
    /// [`CallError::NotRinging`].
    pub fn decline(&mut self, user: UserId) -> Result<(), CallError> {
        self.rings(user).ok_or(CallError::NotRinging)?;
        if let Some(part) = self.people.get_mut(&user) {
            part.answer = InviteStatus::Declined;
        }
        self.tell_all(user, CallServerEvent::CallDeclined);
        self.settle(None);
        Ok(())
    }

    /// Whoever began it gives up before anybody answered.
    ///
    /// # Errors
    /// [`CallError::NotAllowed`] to others, [`CallError::NotRinging`] when it was answered.
    pub fn cancel(&mut self, user: UserId) -> Result<(), CallError> {
        if user != self.begin.by.user_id {
            return Err(CallError::NotAllowed);
        }
        if self.answered_at.is_some() {
            return Err(CallError::NotRinging);
        }
        self.end(CallEndReason::Cancelled);
        Ok(())
    }

    /// Everybody whose devices know of the call.
    pub(super) fn concerned(&self) -> Vec<UserId> {
        self.people.keys().copied().filter(|user| !self.unheard.contains(user)).collect()
    }

    /// Whose devices ring, and what those are told that come meanwhile.
    pub fn ringing_calls(&self) -> Vec<(UserId, wire::IncomingCall)> {
        let rings = self.ringing().into_iter().filter_map(|user| Some((user, self.rings(user)?)));
        rings.map(|(user, until)| (user, self.incoming(until))).collect()
    }

    fn ringing(&self) -> Vec<UserId> {
        self.concerned().into_iter().filter(|user| self.rings(*user).is_some()).collect()
    }

    /// Until when the last device rings.
    pub(super) fn rings_until(&self) -> Option<Timestamp> {
        self.people.keys().filter_map(|user| self.rings(*user)).max()
    }

    fn tell_all(&mut self, user: UserId, news: impl Fn(wire::CallAnswered) -> CallServerEvent) {
        let taken = news(wire::CallAnswered { call_id: self.begin.id, user_id: user });
        self.tell(EventTarget::People(self.concerned()), taken);
    }

    pub(super) fn tell(&mut self, to: EventTarget, news: CallServerEvent) {
        if to != EventTarget::People(Vec::new()) {
            self.news.push((to, news));
        }
    }

    /// Tells every participant but one.
    pub(super) fn tell_others(&mut self, but: Option<u32>, news: &CallServerEvent) {
        let others = self.participants.iter().filter(|(n, _)| Some(**n) != but);
        let told: Vec<_> = others.map(|(_, p)| (EventTarget::Seat(p.seat), news.clone())).collect();
        self.news.extend(told);
    }
}
