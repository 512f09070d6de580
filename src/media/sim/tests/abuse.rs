//! Garbage, floods and churn.

use proptest::prelude::*;

use super::*;
use crate::rtcp::CompoundWriter;

/// A small generator (xorshift), so that what fails fails again.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        (self.throw() % most.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.throw() as u8).collect()
    }

    fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(5) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = self.throw() as u8,
                1 => bytes.truncate(at),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, self.throw() as u8),
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
        bytes
    }
}

fn pair() -> (Trial, usize, usize) {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.connect(&[camera().simulcast(), microphone()]);
    let (picture, voice) =
        (trial.track(anna, TrackSource::Camera), trial.track(anna, TrackSource::Microphone));
    let voice = OfferSection::new("1", MediaKind::Audio).receiving(voice);
    let boris = trial.connect(&[screen("0", picture), voice]);
    trial.film(anna, "cam", 3);
    (trial, anna, boris)
}

#[test]
fn unauthenticated_garbage_has_no_effect() {
    let (mut trial, anna, boris) = pair();
    let mut dice = Dice(88_172_645_463_325_252);
    let known = trial.clients[boris].path;
    for round in 0..40_000 {
        let length = dice.below(200);
        let mut bytes = dice.bytes(length);
        if let Some(first) = bytes.first_mut() {
            *first = [0, 1, 23, 63, 128, 144, 191, 255][round % 8];
        }
        let from = if round % 2 == 0 { known } else { path(round as u16) };
        trial.room.receive(trial.now, from, &mut bytes);
    }
    trial.film(anna, "cam", 5);

    assert!(trial.clients[boris].received.len() >= 8);
    assert!(!trial.events.iter().any(|event| matches!(event, RoomEvent::Gone(..))));
}

#[test]
fn authenticated_garbage_does_not_affect_others() {
    let (mut trial, anna, boris) = pair();
    let mut dice = Dice(7);
    for round in 0..4_000u64 {
        let length = dice.below(if round % 4 == 0 { 1_100 } else { 12 });
        let payload = dice.bytes(length);
        let at = dice.below(4);
        let payload_type = [96, 97, 111, 63][dice.below(4)];
        if at == 3 || payload_type != 111 {
            let kind = if at == 3 { 111 } else { payload_type };
            let kind = if kind == 96 && at == 3 { 111 } else { kind };
            trial.clients[anna].send(at, kind, &payload, Some(20));
        }
        let words = 1 + dice.below(30);
        let mut body = dice.bytes(4 + 4 * words);
        body[0] = 0x80 | body[0] & 0x3f;
        body[1] = 200 + (round % 8) as u8;
        body[2..4].copy_from_slice(&(words as u16).to_be_bytes());
        for at in [anna, boris] {
            trial.clients[at].tell(|compound: &mut CompoundWriter| compound.begin().extend(&body));
        }
        if round % 50 == 0 {
            trial.run(ms(5));
        }
    }
    trial.clients[boris].received.clear();
    trial.film(anna, "cam", 50);

    assert!(trial.clients[boris].received.len() > 40, "{:?}", trial.room.counters());
}

#[test]
fn tampered_dtls_handshake_does_not_affect_others() {
    for seed in 1..30 {
        let mut dice = Dice(seed * 7919);
        let (mut trial, anna, boris) = pair();
        let carla = trial.join();
        trial.offer(carla, &[camera()]);
        for _ in 0..40 {
            for (path, datagram) in trial.clients[carla].outgoing(trial.now) {
                let mut bytes = dice.change(&datagram);
                trial.room.receive(trial.now, path, &mut bytes);
                trial.room.receive(trial.now, path, &mut datagram.clone());
            }
            trial.settle();
            trial.now += ms(50);
        }
        trial.clients[boris].received.clear();
        trial.film(anna, "cam", 5);
        assert!(trial.clients[boris].received.len() >= 4);
    }
}

#[test]
fn dtls_fragment_flood_aborts_only_that_handshake() {
    let mut trial = Trial::new(RoomConfig::default());
    let anna = trial.join();
    trial.offer(anna, &[camera()]);
    for (path, mut check) in trial.clients[anna].outgoing(trial.now) {
        trial.room.receive(trial.now, path, &mut check);
    }
    let path = trial.clients[anna].path;
    for at in 0u32..4_000 {
        let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0];
        record.extend(at.to_be_bytes());
        record.extend([0, 13, 1, 0xff, 0xff, 0xff, 0, 0]);
        record.extend(&at.to_be_bytes()[1..]);
        record.extend([0, 0, 1, 0]);
        trial.room.receive(trial.now, path, &mut record);
    }
    trial.collect();

    assert!(
        trial
            .events
            .contains(&RoomEvent::Gone(ParticipantId(1), crate::DisconnectReason::Handshake))
    );
    assert!(trial.room.counters().dropped_unknown > 3_800, "the path was forgotten");
}

#[test]
fn ten_thousand_joins_and_leaves_leak_nothing() {
    let mut trial = Trial::new(RoomConfig::default());
    for round in 0..10_000u32 {
        let participant = ParticipantId(round + 1);
        trial.room.join(trial.now, participant);
        trial.clients = vec![Client::unready(trial.now, participant)];
        if round % 100 == 0 {
            trial.clients = vec![Client::new(trial.now, participant)];
        }
        trial.offer(0, &[camera().simulcast(), microphone()]);
        if round % 100 == 0 {
            trial.run(ms(20));
            trial.clients[0].send_picture("cam");
            trial.clients[0].send_sound("mic", 10);
            trial.run(ms(20));
        } else {
            trial.settle();
        }
        trial.room.leave(trial.now, participant);
        trial.settle();
        trial.collect();
    }

    assert_eq!(trial.room.kept(), 0);
    assert_eq!(trial.room.counters().handshakes, 100);
    let learned =
        trial.routes.iter().filter(|route| matches!(route, RouteUpdate::Learned(_))).count();
    assert_eq!(learned * 2, trial.routes.len(), "what was learned was forgotten");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_offer_is_answered_or_rejected(seed in 1u64..u64::MAX, real: bool) {
        let mut trial = Trial::new(RoomConfig::default());
        let anna = trial.join();
        let mut offer = trial.clients[anna].offer(&[camera().simulcast(), microphone()]);
        if real {
            offer.sdp = include_str!("../../tests/offers/chromium-simulcast.sdp").to_owned();
        }
        let mut dice = Dice(seed);
        for _ in 0..20 {
            let touched = dice.change(offer.sdp.as_bytes());
            let touched = PublishOffer {
                sdp: String::from_utf8_lossy(&touched).into_owned(),
                ..PublishOffer::default()
            };
            let _ = trial.room.offer(trial.now, ParticipantId(1), &touched);
            trial.room.timeout(trial.now);
        }
        prop_assert!(trial.room.offer(trial.now, ParticipantId(1), &offer).is_ok());
    }
}
