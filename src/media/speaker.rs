//! Active speaker detection by the audio levels that packets carry unencrypted (RFC 6464), and suppression of
//! silence. Follows Volfin and Cohen ("Dominant speaker identification for multipoint videoconferencing",
//! 2013) in comparing a short with a long time window.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use crate::api::ParticipantId;
use crate::limits::{MAX_AUDIO_PACKET_DURATION, MIN_SPEECH_LEVEL_DBOV};

/// The level that means digital silence, in -dBov.
const SILENCE_LEVEL_DBOV: u8 = 127;
/// Time constant of the average that decides who speaks, in seconds.
const SHORT_TIME_CONSTANT_SECONDS: f32 = 0.5;
/// Time constant of the average that decides who is the dominant speaker, in seconds.
const LONG_TIME_CONSTANT_SECONDS: f32 = 2.0;
/// Speech starts when it fills this share of the short window.
const SPEECH_START_ACTIVITY: f32 = 0.4;
/// Speech ends when it fills less than this share of the short window.
const SPEECH_END_ACTIVITY: f32 = 0.15;
/// A participant with this activity takes precedence over silent ones, although it does not count as speaking.
const ONSET_ACTIVITY: f32 = 0.03;
/// A new dominant speaker must be louder than the current one by this factor.
const DOMINANCE_FACTOR: f32 = 1.25;

/// The voices of one room and who of them speaks.
#[derive(Debug, Default)]
pub(crate) struct ActiveSpeakerDetector {
    /// Highest priority first, as of the last update.
    voices: Vec<VoiceLevel>,
    speaking: Vec<ParticipantId>,
    /// The next value of `speaking`, reused to avoid allocation.
    scratch: Vec<ParticipantId>,
}

/// Averaged audio levels of one participant.
#[derive(Clone, Copy, Debug)]
struct VoiceLevel {
    participant: ParticipantId,
    /// Up to when levels are averaged.
    updated: Instant,
    /// Share of the short window that was speech, 0 to 1.
    activity: f32,
    /// Amount and loudness of speech in the long window, 0 to 1.
    loudness: f32,
    is_speaking: bool,
    /// When it last counted as speaking.
    last_spoke: Option<Instant>,
}

impl ActiveSpeakerDetector {
    /// Records the audio level of a microphone packet: 0 is the loudest, 127 silence.
    pub(crate) fn on_level(&mut self, now: Instant, participant: ParticipantId, level: u8) {
        match self.voices.iter_mut().find(|voice| voice.participant == participant) {
            Some(voice) => voice.on_level(now, level),
            None => self.voices.push(VoiceLevel::new(now, participant)),
        }
    }

    /// Removes a participant that left or was muted. The next update reports the change.
    pub(crate) fn remove(&mut self, participant: ParticipantId) {
        self.voices.retain(|voice| voice.participant != participant);
    }

    /// Decides who speaks; to be called about every 100 ms. Returns the speakers, loudest first, if their set
    /// or the dominant speaker changed.
    pub(crate) fn update(&mut self, now: Instant) -> Option<&[ParticipantId]> {
        let dominant = self.speaking.first().copied();
        self.voices.iter_mut().for_each(|voice| voice.update(now));
        self.voices.sort_by(|a, b| a.compare_priority(b, dominant));
        self.scratch.clear();
        self.scratch.extend(
            self.voices.iter().filter(|voice| voice.is_speaking).map(|voice| voice.participant),
        );
        let has_new_set = self.scratch.len() != self.speaking.len()
            || self.scratch.iter().any(|participant| !self.speaking.contains(participant));
        let changed = has_new_set || self.scratch.first() != self.speaking.first();
        std::mem::swap(&mut self.speaking, &mut self.scratch);
        changed.then_some(&self.speaking[..])
    }

    /// The `max` voices to forward if not all can be, as of the last update: those who speak, then those who
    /// start to speak, then those who spoke last.
    pub(crate) fn loudest(&self, max: usize) -> impl Iterator<Item = ParticipantId> {
        self.voices.iter().take(max).map(|voice| voice.participant)
    }

    /// The active speakers, loudest first, as of the last update.
    pub(crate) fn speaking(&self) -> &[ParticipantId] {
        &self.speaking
    }
}

impl VoiceLevel {
    fn new(now: Instant, participant: ParticipantId) -> Self {
        Self {
            participant,
            updated: now,
            activity: 0.0,
            loudness: 0.0,
            is_speaking: false,
            last_spoke: None,
        }
    }

    fn on_level(&mut self, now: Instant, level: u8) {
        self.assume_silence_until(now);
        let strength = f32::from((MIN_SPEECH_LEVEL_DBOV + 1).saturating_sub(level))
            / f32::from(MIN_SPEECH_LEVEL_DBOV + 1);
        let speech = if strength > 0.0 { 1.0 } else { 0.0 };
        self.average(now.saturating_duration_since(self.updated), speech, strength);
        self.updated = self.updated.max(now);
    }

    fn update(&mut self, now: Instant) {
        self.assume_silence_until(now);
        let threshold = if self.is_speaking { SPEECH_END_ACTIVITY } else { SPEECH_START_ACTIVITY };
        self.is_speaking = self.activity >= threshold;
        if self.is_speaking {
            self.last_spoke = Some(now);
        }
    }

    /// Time without packets counts as silence, except the last part, whose packet may be in transit.
    fn assume_silence_until(&mut self, now: Instant) {
        let silent =
            now.saturating_duration_since(self.updated).saturating_sub(MAX_AUDIO_PACKET_DURATION);
        self.average(silent, 0.0, 0.0);
        self.updated += silent;
    }

    /// Moves both averages towards the values of the elapsed time.
    fn average(&mut self, elapsed: Duration, speech: f32, strength: f32) {
        let weight = |time_constant: f32| 1.0 - (-elapsed.as_secs_f32() / time_constant).exp();
        self.activity += (speech - self.activity) * weight(SHORT_TIME_CONSTANT_SECONDS);
        self.loudness += (strength - self.loudness) * weight(LONG_TIME_CONSTANT_SECONDS);
    }

    /// Orders voices by priority: speakers by loudness, then those who start to speak, then by recency.
    fn compare_priority(&self, other: &Self, dominant: Option<ParticipantId>) -> Ordering {
        let by_speech = || match (self.is_speaking, other.is_speaking) {
            (true, true) => other.dominance(dominant).total_cmp(&self.dominance(dominant)),
            (false, false) => other.onset().total_cmp(&self.onset()),
            _ => Ordering::Equal,
        };
        let by_recency = || other.last_spoke.cmp(&self.last_spoke);
        other.is_speaking.cmp(&self.is_speaking).then_with(by_speech).then_with(by_recency)
    }

    fn dominance(&self, dominant: Option<ParticipantId>) -> f32 {
        if dominant == Some(self.participant) {
            self.loudness * DOMINANCE_FACTOR
        } else {
            self.loudness
        }
    }

    fn onset(&self) -> f32 {
        if self.activity >= ONSET_ACTIVITY { self.activity } else { 0.0 }
    }
}

/// Suppresses a series of silent packets. The first ones are forwarded, so that the receiver generates
/// comfort noise instead of concealing a loss (as Signal's SFU does).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DtxGate {
    silent_packets: u8,
}

impl DtxGate {
    /// Number of silent packets in a row that are forwarded.
    const FORWARDED_SILENT_PACKETS: u8 = 6;

    /// Whether to forward a packet of this level; packets without a level are always forwarded.
    pub(crate) fn should_forward(&mut self, level: Option<u8>) -> bool {
        let is_silent = level.is_some_and(|level| level >= SILENCE_LEVEL_DBOV);
        self.silent_packets = if is_silent { self.silent_packets.saturating_add(1) } else { 0 };
        self.silent_packets <= Self::FORWARDED_SILENT_PACKETS
    }
}

#[cfg(test)]
#[path = "speaker_tests.rs"]
mod tests;
