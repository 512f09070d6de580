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
fn who_speaks_is_told_once_and_who_falls_silent_too() {
    let mut talk = Conversation::new();
    talk.goes_on(5_000, &[(ANNA, 20), (BEN, 90)]).goes_on(2_000, &[(ANNA, 127), (BEN, 90)]);
    assert_eq!(talk.told, [vec![ANNA], vec![]]);
}

#[test]
fn silence_is_also_that_nothing_comes() {
    let mut talk = Conversation::new();
    talk.goes_on(2_000, &[(ANNA, 20)]).goes_on(2_000, &[]);
    assert_eq!(talk.told, [vec![ANNA], vec![]]);
}

#[test]
fn speech_is_noticed_within_half_a_second() {
    let mut talk = Conversation::new();
    talk.goes_on(1_000, &[(ANNA, 127)]).goes_on(500, &[(ANNA, 30)]);
    assert_eq!(talk.told, [vec![ANNA]]);
}

#[test]
fn a_short_noise_is_not_speech() {
    let mut talk = Conversation::new();
    talk.goes_on(2_000, &[(ANNA, 25), (BEN, 127)])
        .goes_on(160, &[(ANNA, 25), (BEN, 0)])
        .goes_on(2_000, &[(ANNA, 25), (BEN, 127)]);
    assert_eq!(talk.told, [vec![ANNA]]);
}

#[test]
fn pauses_between_words_are_part_of_speech() {
    let mut talk = Conversation::new();
    for _ in 0..10 {
        talk.goes_on(700, &[(ANNA, 25)]).goes_on(300, &[(ANNA, 100)]);
    }
    assert_eq!(talk.told, [vec![ANNA]]);
}

#[test]
fn the_leader_is_followed_by_one_who_is_clearly_louder_for_a_while() {
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
fn those_who_spoke_last_are_heard_before_those_who_were_silent() {
    let mut talk = Conversation::new();
    talk.goes_on(1_000, &[(ANNA, 127), (BEN, 20), (CLARA, 127)]);
    talk.goes_on(4_000, &[(ANNA, 127), (BEN, 127), (CLARA, 20)]);
    assert_eq!(talk.speakers.loudest(2).collect::<Vec<_>>(), [CLARA, BEN]);
    talk.goes_on(100, &[(ANNA, 20), (BEN, 127), (CLARA, 20)]);
    assert_eq!(talk.speakers.loudest(2).collect::<Vec<_>>(), [CLARA, ANNA], "she begins to speak");
}

#[test]
fn who_leaves_speaks_no_more() {
    let mut talk = Conversation::new();
    talk.goes_on(1_000, &[(ANNA, 20)]);
    talk.speakers.leave(ANNA);
    talk.goes_on(100, &[]);
    assert_eq!(talk.told, [vec![ANNA], vec![]]);
    assert_eq!(talk.speakers.loudest(9).count(), 0);
}

#[test]
fn six_silent_packets_pass_and_speech_opens_the_gate() {
    let mut gate = DtxGate::default();
    let passed = (0..1_000).filter(|_| gate.passes(Some(127))).count();
    assert_eq!(passed, 6);
    assert!(gate.passes(Some(126)));
    assert!(gate.passes(Some(127)));
    assert!((0..20).all(|_| gate.passes(None)));
}

proptest! {
    #[test]
    fn any_levels_at_any_time_are_survived(
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
