//! Simulated conversations and noises.

use proptest::prelude::*;

use super::*;
use crate::virtual_time::{ms, start};

const ANNA: ParticipantId = ParticipantId(1);
const BEN: ParticipantId = ParticipantId(2);
const CLARA: ParticipantId = ParticipantId(3);

/// A conversation in virtual time: packets every 20 ms, a tick every 100 ms.
struct Conversation {
    speakers: ActiveSpeakerDetector,
    now: Instant,
    reports: Vec<Vec<ParticipantId>>,
}

impl Conversation {
    fn new() -> Self {
        Self { speakers: ActiveSpeakerDetector::default(), now: start(), reports: Vec::new() }
    }

    /// For `time` milliseconds, these participants send packets of these levels; others send none.
    fn continue_for(&mut self, time: u64, voices: &[(ParticipantId, u8)]) -> &mut Self {
        for n in 1..=time / 20 {
            self.now += ms(20);
            for (participant, level) in voices {
                self.speakers.on_level(self.now, *participant, *level);
            }
            if n % 5 == 0 {
                self.reports.extend(self.speakers.update(self.now).map(<[_]>::to_vec));
            }
        }
        self
    }
}

#[test]
fn speaker_start_and_stop_are_reported_once() {
    let mut conversation = Conversation::new();
    conversation
        .continue_for(5_000, &[(ANNA, 20), (BEN, 90)])
        .continue_for(2_000, &[(ANNA, 127), (BEN, 90)]);
    assert_eq!(conversation.reports, [vec![ANNA], vec![]]);
}

#[test]
fn absent_packets_count_as_silence() {
    let mut conversation = Conversation::new();
    conversation.continue_for(2_000, &[(ANNA, 20)]).continue_for(2_000, &[]);
    assert_eq!(conversation.reports, [vec![ANNA], vec![]]);
}

#[test]
fn speech_is_detected_within_half_a_second() {
    let mut conversation = Conversation::new();
    conversation.continue_for(1_000, &[(ANNA, 127)]).continue_for(500, &[(ANNA, 30)]);
    assert_eq!(conversation.reports, [vec![ANNA]]);
}

#[test]
fn short_noise_is_not_speech() {
    let mut conversation = Conversation::new();
    conversation
        .continue_for(2_000, &[(ANNA, 25), (BEN, 127)])
        .continue_for(160, &[(ANNA, 25), (BEN, 0)])
        .continue_for(2_000, &[(ANNA, 25), (BEN, 127)]);
    assert_eq!(conversation.reports, [vec![ANNA]]);
}

#[test]
fn short_pauses_do_not_end_speech() {
    let mut conversation = Conversation::new();
    for _ in 0..10 {
        conversation.continue_for(700, &[(ANNA, 25)]).continue_for(300, &[(ANNA, 100)]);
    }
    assert_eq!(conversation.reports, [vec![ANNA]]);
}

#[test]
fn dominant_speaker_changes_only_after_sustained_loudness() {
    let mut conversation = Conversation::new();
    conversation.continue_for(4_000, &[(ANNA, 25)]).continue_for(3_000, &[(ANNA, 25), (BEN, 24)]);
    assert_eq!(conversation.reports, [vec![ANNA], vec![ANNA, BEN]]);
    conversation.continue_for(500, &[(ANNA, 25), (BEN, 5)]);
    assert_eq!(conversation.reports.last().unwrap(), &[ANNA, BEN], "not immediately");
    conversation.continue_for(4_000, &[(ANNA, 25), (BEN, 5)]);
    assert_eq!(conversation.reports.last().unwrap(), &[BEN, ANNA]);
    assert_eq!(conversation.reports.len(), 3);
}

#[test]
fn recent_speakers_rank_above_silent_participants() {
    let mut conversation = Conversation::new();
    conversation.continue_for(1_000, &[(ANNA, 127), (BEN, 20), (CLARA, 127)]);
    conversation.continue_for(4_000, &[(ANNA, 127), (BEN, 127), (CLARA, 20)]);
    assert_eq!(conversation.speakers.loudest(2).collect::<Vec<_>>(), [CLARA, BEN]);
    conversation.continue_for(100, &[(ANNA, 20), (BEN, 127), (CLARA, 20)]);
    assert_eq!(
        conversation.speakers.loudest(2).collect::<Vec<_>>(),
        [CLARA, ANNA],
        "a starting speaker precedes silent ones"
    );
}

#[test]
fn participant_that_left_is_not_a_speaker() {
    let mut conversation = Conversation::new();
    conversation.continue_for(1_000, &[(ANNA, 20)]);
    conversation.speakers.remove(ANNA);
    conversation.continue_for(100, &[]);
    assert_eq!(conversation.reports, [vec![ANNA], vec![]]);
    assert_eq!(conversation.speakers.loudest(9).count(), 0);
}

#[test]
fn silence_gate_passes_six_packets_and_reopens_on_speech() {
    let mut gate = DtxGate::default();
    let passed = (0..1_000).filter(|_| gate.should_forward(Some(127))).count();
    assert_eq!(passed, 6);
    assert!(gate.should_forward(Some(126)));
    assert!(gate.should_forward(Some(127)));
    assert!((0..20).all(|_| gate.should_forward(None)));
}

proptest! {
    #[test]
    fn arbitrary_audio_levels_keep_speaker_list_bounded(
        packets in prop::collection::vec((0u64..5_000, 0u32..4, any::<u8>(), any::<bool>()), 0..200)
    ) {
        let epoch = start();
        let mut speakers = ActiveSpeakerDetector::default();
        for (at, participant, level, tick) in packets {
            speakers.on_level(epoch + ms(at), ParticipantId(participant), level);
            if tick && let Some(list) = speakers.update(epoch + ms(at)) {
                prop_assert!(list.len() <= 4);
            }
        }
        prop_assert!(speakers.speaking().len() <= 4);
    }
}
