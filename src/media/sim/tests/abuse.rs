//! Malformed input, floods and churn.

use proptest::prelude::*;

use super::*;
use crate::rtcp::CompoundWriter;

/// A reproducible random number generator (xorshift).
struct Rng(u64);

impl Rng {
    fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, max: usize) -> usize {
        (self.next_u64() % max.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next_u64() as u8).collect()
    }

    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(5) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes[at] = self.next_u64() as u8,
                1 => bytes.truncate(at),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, self.next_u64() as u8),
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
        bytes
    }
}

fn pair() -> (Simulation, usize, usize) {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.connect(&[camera().simulcast(), microphone()]);
    let (video, audio) =
        (sim.track_of(anna, TrackSource::Camera), sim.track_of(anna, TrackSource::Microphone));
    let audio = OfferSection::new("1", MediaKind::Audio).receiving(audio);
    let boris = sim.connect(&[receive_video("0", video), audio]);
    sim.send_video(anna, "cam", 3);
    (sim, anna, boris)
}

#[test]
fn unauthenticated_garbage_has_no_effect() {
    let (mut sim, anna, boris) = pair();
    let mut rng = Rng(88_172_645_463_325_252);
    let known = sim.clients[boris].path;
    for iteration in 0..40_000 {
        let length = rng.below(200);
        let mut bytes = rng.bytes(length);
        if let Some(first) = bytes.first_mut() {
            *first = [0, 1, 23, 63, 128, 144, 191, 255][iteration % 8];
        }
        let from = if iteration % 2 == 0 { known } else { path(iteration as u16) };
        sim.room.receive(sim.now, from, &mut bytes);
    }
    sim.send_video(anna, "cam", 5);

    assert!(sim.clients[boris].received.len() >= 8);
    assert!(!sim.events.iter().any(|event| matches!(event, RoomEvent::Disconnected(..))));
}

#[test]
fn authenticated_garbage_does_not_affect_others() {
    let (mut sim, anna, boris) = pair();
    let mut rng = Rng(7);
    for iteration in 0..4_000u64 {
        let length = rng.below(if iteration % 4 == 0 { 1_100 } else { 12 });
        let payload = rng.bytes(length);
        let at = rng.below(4);
        let payload_type = [96, 97, 111, 63][rng.below(4)];
        if at == 3 || payload_type != 111 {
            let kind = if at == 3 { 111 } else { payload_type };
            let kind = if kind == 96 && at == 3 { 111 } else { kind };
            sim.clients[anna].send(at, kind, &payload, Some(20));
        }
        let words = 1 + rng.below(30);
        let mut body = rng.bytes(4 + 4 * words);
        body[0] = 0x80 | body[0] & 0x3f;
        body[1] = 200 + (iteration % 8) as u8;
        body[2..4].copy_from_slice(&(words as u16).to_be_bytes());
        for at in [anna, boris] {
            sim.clients[at]
                .send_rtcp(|compound: &mut CompoundWriter| compound.start_external().extend(&body));
        }
        if iteration % 50 == 0 {
            sim.run(ms(5));
        }
    }
    sim.clients[boris].received.clear();
    sim.send_video(anna, "cam", 50);

    assert!(sim.clients[boris].received.len() > 40, "{:?}", sim.room.counters());
}

#[test]
fn tampered_dtls_handshake_does_not_affect_others() {
    for seed in 1..30 {
        let mut rng = Rng(seed * 7919);
        let (mut sim, anna, boris) = pair();
        let carla = sim.join();
        sim.offer(carla, &[camera()]);
        for _ in 0..40 {
            for (path, datagram) in sim.clients[carla].outgoing(sim.now) {
                let mut bytes = rng.mutate(&datagram);
                sim.room.receive(sim.now, path, &mut bytes);
                sim.room.receive(sim.now, path, &mut datagram.clone());
            }
            sim.exchange();
            sim.now += ms(50);
        }
        sim.clients[boris].received.clear();
        sim.send_video(anna, "cam", 5);
        assert!(sim.clients[boris].received.len() >= 4);
    }
}

#[test]
fn dtls_fragment_flood_aborts_only_that_handshake() {
    let mut sim = Simulation::new(RoomConfig::default());
    let anna = sim.join();
    sim.offer(anna, &[camera()]);
    for (path, mut request) in sim.clients[anna].outgoing(sim.now) {
        sim.room.receive(sim.now, path, &mut request);
    }
    let path = sim.clients[anna].path;
    for at in 0u32..4_000 {
        let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0];
        record.extend(at.to_be_bytes());
        record.extend([0, 13, 1, 0xff, 0xff, 0xff, 0, 0]);
        record.extend(&at.to_be_bytes()[1..]);
        record.extend([0, 0, 1, 0]);
        sim.room.receive(sim.now, path, &mut record);
    }
    sim.collect();

    assert!(sim.events.contains(&RoomEvent::Disconnected(
        ParticipantId(1),
        crate::DisconnectReason::HandshakeFailed
    )));
    assert!(sim.room.counters().dropped_unknown > 3_800, "the path was removed");
}

#[test]
fn ten_thousand_joins_and_leaves_leak_nothing() {
    let mut sim = Simulation::new(RoomConfig::default());
    for iteration in 0..10_000u32 {
        let participant = ParticipantId(iteration + 1);
        sim.room.join(sim.now, participant);
        sim.clients = vec![Client::without_handshake(sim.now, participant)];
        if iteration % 100 == 0 {
            sim.clients = vec![Client::new(sim.now, participant)];
        }
        sim.offer(0, &[camera().simulcast(), microphone()]);
        if iteration % 100 == 0 {
            sim.run(ms(20));
            sim.clients[0].send_frame("cam");
            sim.clients[0].send_audio("mic", 10);
            sim.run(ms(20));
        } else {
            sim.exchange();
        }
        sim.room.leave(sim.now, participant);
        sim.exchange();
        sim.collect();
    }

    assert_eq!(sim.room.retained_count(), 0);
    assert_eq!(sim.room.counters().handshakes, 100);
    let added = sim.routes.iter().filter(|route| matches!(route, RouteUpdate::Added(_))).count();
    assert_eq!(added * 2, sim.routes.len(), "every added path was removed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mutated_offer_is_answered_or_rejected(seed in 1u64..u64::MAX, real: bool) {
        let mut sim = Simulation::new(RoomConfig::default());
        let anna = sim.join();
        let mut offer = sim.clients[anna].offer(&[camera().simulcast(), microphone()]);
        if real {
            offer.sdp = include_str!("../../tests/offers/chromium-simulcast.sdp").to_owned();
        }
        let mut rng = Rng(seed);
        for _ in 0..20 {
            let mutated = rng.mutate(offer.sdp.as_bytes());
            let mutated = PublishOffer {
                sdp: String::from_utf8_lossy(&mutated).into_owned(),
                ..PublishOffer::default()
            };
            let _ = sim.room.offer(sim.now, ParticipantId(1), &mutated);
            sim.room.timeout(sim.now);
        }
        prop_assert!(sim.room.offer(sim.now, ParticipantId(1), &offer).is_ok());
    }
}
