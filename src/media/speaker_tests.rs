//! Stories of people who speak, and of noises.

use super::*;
use crate::virtual_time::{ms, start};
use proptest::prelude::*;

const ANNA: ParticipantId = ParticipantId(1);
const BEN: ParticipantId = ParticipantId(2);
const CLARA: ParticipantId = ParticipantId(3);

/// A conversation in virtual time: packets every 20 ms, a tick every 100 ms.
struct Conversation {
    speakers: ActiveSpeakerDetector,
    now: Instant,
    told: Vec<Vec<ParticipantId>>,
}

impl Conversation {
    fn new() -> Self {
        Self { speakers: ActiveSpeakerDetector::default(), now: start(), told: Vec::new() }
    }

    /// For some time, these are heard at these levels and others are not heard at all.
    fn goes_on(&mut self, time: u64, voices: &[(ParticipantId, u8)]) -> &mut Self {
        for n in 1..=time / 20 {
            self.now += ms(20);
            for (who, level) in voices {
                self.speakers.heard(self.now, *who, *level);
            }
            if n % 5 == 0 {
                self.told.extend(self.speakers.tick(self.now).map(<[_]>::to_vec));
            }
        }
        self
    }
}

#[test]
fn speaker_start_and_stop_are_reported_once() {
    let mut talk = Conversation::new();
    talk.goes_on(5_000, &[(ANNA, 20), (BEN, 90)]).goes_on(2_000, &[(ANNA, 127), (BEN, 90)]);
    assert_eq!(talk.told, [vec![ANNA], vec![]]);
}

#[test]
fn absent_packets_count_as_silence() {
    let mut talk = Conversation::new();
    talk.goes_on(2_000, &[(ANNA, 20)]).goes_on(2_000, &[]);
    assert_eq!(talk.told, [vec![ANNA], vec![]]);
}

#[test]
fn speech_is_detected_within_half_a_second() {
    let mut talk = Conversation::new();
    talk.goes_on(1_000, &[(ANNA, 127)]).goes_on(500, &[(ANNA, 30)]);
    assert_eq!(talk.told, [vec![ANNA]]);
}

#[test]
fn short_noise_is_not_speech() {
    let mut talk = Conversation::new();
    talk.goes_on(2_000, &[(ANNA, 25), (BEN, 127)])
        .goes_on(160, &[(ANNA, 25), (BEN, 0)])
        .goes_on(2_000, &[(ANNA, 25), (BEN, 127)]);
    assert_eq!(talk.told, [vec![ANNA]]);
}

#[test]
fn short_pauses_do_not_end_speech() {
    let mut talk = Conversation::new();
    for _ in 0..10 {
        talk.goes_on(700, &[(ANNA, 25)]).goes_on(300, &[(ANNA, 100)]);
    }
    assert_eq!(talk.told, [vec![ANNA]]);
}

#[test]
fn dominant_speaker_changes_only_after_sustained_loudness() {
    let mut talk = Conversation::new();
    talk.goes_on(4_000, &[(ANNA, 25)]).goes_on(3_000, &[(ANNA, 25), (BEN, 24)]);
    assert_eq!(talk.told, [vec![ANNA], vec![ANNA, BEN]]);
    talk.goes_on(500, &[(ANNA, 25), (BEN, 5)]);
    assert_eq!(talk.told.last().unwrap(), &[ANNA, BEN], "not at once");
    talk.goes_on(4_000, &[(ANNA, 25), (BEN, 5)]);
    assert_eq!(talk.told.last().unwrap(), &[BEN, ANNA]);
    assert_eq!(talk.told.len(), 3);
}

#[test]
fn recent_speakers_rank_above_silent_participants() {
    let mut talk = Conversation::new();
    talk.goes_on(1_000, &[(ANNA, 127), (BEN, 20), (CLARA, 127)]);
    talk.goes_on(4_000, &[(ANNA, 127), (BEN, 127), (CLARA, 20)]);
    assert_eq!(talk.speakers.loudest(2).collect::<Vec<_>>(), [CLARA, BEN]);
    talk.goes_on(100, &[(ANNA, 20), (BEN, 127), (CLARA, 20)]);
    assert_eq!(talk.speakers.loudest(2).collect::<Vec<_>>(), [CLARA, ANNA], "she begins to speak");
}

#[test]
fn participant_that_left_is_not_a_speaker() {
    let mut talk = Conversation::new();
    talk.goes_on(1_000, &[(ANNA, 20)]);
    talk.speakers.leave(ANNA);
    talk.goes_on(100, &[]);
    assert_eq!(talk.told, [vec![ANNA], vec![]]);
    assert_eq!(talk.speakers.loudest(9).count(), 0);
}

#[test]
fn silence_gate_passes_six_packets_and_reopens_on_speech() {
    let mut gate = DtxGate::default();
    let passed = (0..1_000).filter(|_| gate.passes(Some(127))).count();
    assert_eq!(passed, 6);
    assert!(gate.passes(Some(126)));
    assert!(gate.passes(Some(127)));
    assert!((0..20).all(|_| gate.passes(None)));
}

proptest! {
    #[test]
    fn arbitrary_audio_levels_keep_speaker_list_bounded(
        packets in prop::collection::vec((0u64..5_000, 0u32..4, any::<u8>(), any::<bool>()), 0..200)
    ) {
        let begin = start();
        let mut speakers = ActiveSpeakerDetector::default();
        for (at, who, level, tick) in packets {
            speakers.heard(begin + ms(at), ParticipantId(who), level);
            if tick && let Some(list) = speakers.tick(begin + ms(at)) {
                prop_assert!(list.len() <= 4);
            }
        }
        prop_assert!(speakers.speaking().len() <= 4);
    }
}
