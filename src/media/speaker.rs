//! Who speaks, by the levels that packets carry in the clear (RFC 6464); and silence that need not be
//! forwarded. Like Volfin and Cohen's detector ("Dominant speaker identification for multipoint
//! videoconferencing", 2013) it weighs the moment against a longer time.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use crate::api::ParticipantId;

/// A level of at most this is speech, in -dBov: 0 is the loudest, 127 silence.
const SPEECH_LEVEL_DBOV: u8 = 45;
const SILENCE: u8 = 127;
/// The moment, over which it is decided whether somebody speaks, and the longer time, over which it
/// is decided who leads: time constants in seconds.
const MOMENT: f32 = 0.5;
const LONGER: f32 = 2.0;
/// Speech must fill this share of the moment to be noticed, and is over below that.
const BEGINS: f32 = 0.4;
const ENDS: f32 = 0.15;
/// Who begins to speak is heard before those who are silent.
const STIRS: f32 = 0.03;
/// A new leader must be ahead by this factor.
const AHEAD: f32 = 1.25;
/// A packet tells of this much time at most; what is longer was silence (DTX).
const MAX_AUDIO_PACKET_DURATION: Duration = Duration::from_millis(60);

/// The voices of one room.
#[derive(Debug, Default)]
pub(crate) struct ActiveSpeakerDetector {
    /// Those to be heard first come first.
    voices: Vec<VoiceLevel>,
    speaking: Vec<ParticipantId>,
    next: Vec<ParticipantId>,
}

#[derive(Clone, Copy, Debug)]
struct VoiceLevel {
    who: ParticipantId,
    /// Until when it was listened to.
    at: Instant,
    /// The share of the moment that was speech.
    activity: f32,
    /// How much and how loud the speech of the longer time was, 0 to 1.
    weight: f32,
    speaks: bool,
    /// When it was noticed speaking last.
    spoke: Option<Instant>,
}

impl ActiveSpeakerDetector {
    /// A packet of somebody's microphone came, of this level: 0 is the loudest, 127 silence.
    pub(crate) fn heard(&mut self, now: Instant, who: ParticipantId, level: u8) {
        match self.voices.iter_mut().find(|voice| voice.who == who) {
            Some(voice) => voice.heard(now, level),
            None => self.voices.push(VoiceLevel::new(now, who)),
        }
    }

    /// Somebody is no longer there, or muted. The next tick tells.
    pub(crate) fn leave(&mut self, who: ParticipantId) {
        self.voices.retain(|voice| voice.who != who);
    }

    /// Decides anew, to be asked every 100 ms or so: gives those who speak, loudest first, if there
    /// are others than before or another one leads.
    pub(crate) fn tick(&mut self, now: Instant) -> Option<&[ParticipantId]> {
        let leader = self.speaking.first().copied();
        self.voices.iter_mut().for_each(|voice| voice.decide(now));
        self.voices.sort_by(|a, b| a.heard_before(b, leader));
        self.next.clear();
        self.next.extend(self.voices.iter().filter(|voice| voice.speaks).map(|voice| voice.who));
        let others = self.next.len() != self.speaking.len()
            || self.next.iter().any(|who| !self.speaking.contains(who));
        let changed = others || self.next.first() != self.speaking.first();
        std::mem::swap(&mut self.speaking, &mut self.next);
        changed.then_some(&self.speaking[..])
    }

    /// The `most` voices that are to be heard if not all can be, as of the last tick: those who
    /// speak, then those who begin to, then those who spoke last.
    pub(crate) fn loudest(&self, most: usize) -> impl Iterator<Item = ParticipantId> {
        self.voices.iter().take(most).map(|voice| voice.who)
    }

    /// Those who speak, loudest first, as of the last tick.
    pub(crate) fn speaking(&self) -> &[ParticipantId] {
        &self.speaking
    }
}

impl VoiceLevel {
    fn new(now: Instant, who: ParticipantId) -> Self {
        Self { who, at: now, activity: 0.0, weight: 0.0, speaks: false, spoke: None }
    }

    fn heard(&mut self, now: Instant, level: u8) {
        self.was_silent_until(now);
        let strength = f32::from((SPEECH_LEVEL_DBOV + 1).saturating_sub(level))
            / f32::from(SPEECH_LEVEL_DBOV + 1);
        let speech = if strength > 0.0 { 1.0 } else { 0.0 };
        self.settle(now.saturating_duration_since(self.at), speech, strength);
        self.at = self.at.max(now);
    }

    fn decide(&mut self, now: Instant) {
        self.was_silent_until(now);
        let threshold = if self.speaks { ENDS } else { BEGINS };
        self.speaks = self.activity >= threshold;
        if self.speaks {
            self.spoke = Some(now);
        }
    }

    /// What no packet told of was silence, but the last bit may just be on its way.
    fn was_silent_until(&mut self, now: Instant) {
        let silent =
            now.saturating_duration_since(self.at).saturating_sub(MAX_AUDIO_PACKET_DURATION);
        self.settle(silent, 0.0, 0.0);
        self.at += silent;
    }

    /// Moves both means towards what was heard for a time.
    fn settle(&mut self, time: Duration, speech: f32, strength: f32) {
        let share = |constant: f32| 1.0 - (-time.as_secs_f32() / constant).exp();
        self.activity += (speech - self.activity) * share(MOMENT);
        self.weight += (strength - self.weight) * share(LONGER);
    }

    fn heard_before(&self, other: &Self, leader: Option<ParticipantId>) -> Ordering {
        let by_speech = || match (self.speaks, other.speaks) {
            (true, true) => other.standing(leader).total_cmp(&self.standing(leader)),
            (false, false) => other.stirring().total_cmp(&self.stirring()),
            _ => Ordering::Equal,
        };
        let by_recency = || other.spoke.cmp(&self.spoke);
        other.speaks.cmp(&self.speaks).then_with(by_speech).then_with(by_recency)
    }

    fn standing(&self, leader: Option<ParticipantId>) -> f32 {
        if leader == Some(self.who) { self.weight * AHEAD } else { self.weight }
    }

    fn stirring(&self) -> f32 {
        if self.activity >= STIRS { self.activity } else { 0.0 }
    }
}

/// Stops a stream of silent packets. The first ones are forwarded, so that the receiver makes
/// comfort noise rather than conceal a loss (as Signal's server does).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DtxGate {
    silent: u8,
}

impl DtxGate {
    const FORWARDED: u8 = 6;

    /// Whether to forward a packet of this level; one that does not tell it is always forwarded.
    pub(crate) fn passes(&mut self, level: Option<u8>) -> bool {
        let silent = level.is_some_and(|level| level >= SILENCE);
        self.silent = if silent { self.silent.saturating_add(1) } else { 0 };
        self.silent <= Self::FORWARDED
    }
}

#[cfg(test)]
#[path = "speaker_tests.rs"]
mod tests;
