//! Stories of feedback, told by us and read by us, and by another reader.

use super::*;
use crate::virtual_time::{ms, start};
use proptest::prelude::*;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc_shared::marshal::Unmarshal;
use std::time::Instant;

/// Header and two SSRCs.
const BEFORE_BODY: usize = 12;

/// The bodies of the feedback packets that lie in a buffer.
fn bodies(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let words = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let (packet, behind) = bytes.split_at(4 * (words + 1));
        found.push(packet[BEFORE_BODY..].to_vec());
        bytes = behind;
    }
    found
}

/// What happens to the packets of a simulated way: `None` is lost, otherwise milliseconds.
fn travel(fates: &[Option<u64>]) -> (Vec<u8>, TwccSender, Vec<PacketResult>, Instant) {
    let begin = start();
    let mut departures = TwccSender::default();
    let mut arrivals = TwccReceiver::new(begin);
    for (n, fate) in fates.iter().enumerate() {
        let at = begin + ms(n as u64 * 2);
        let sequence = departures.sent(at, 1000 + n);
        if let Some(delay) = fate {
            arrivals.received(at + ms(*delay), sequence);
        }
    }
    let mut bytes = Vec::new();
    arrivals.write(1, 2, &mut bytes);
    let mut results = Vec::new();
    for body in bodies(&bytes) {
        departures.feedback(&body, &mut results);
    }
    (bytes, departures, results, begin)
}

#[test]
fn twcc_results_are_reported_in_order() {
    let (_, _, results, begin) = travel(&[Some(50), None, Some(52), Some(150), Some(30)]);
    let arrived: Vec<_> = results.iter().map(|result| result.arrived).collect();
    let first = arrived[0].unwrap();
    let since: Vec<_> = arrived
        .iter()
        .map(|a| a.map(|a| a.as_millis() as i64 - first.as_millis() as i64))
        .collect();
    assert_eq!(since, [Some(0), None, Some(6), Some(106), Some(-12)]);
    assert_eq!(results[3].sent, begin + ms(6));
    assert_eq!(results[3].bytes, 1003);
}

#[test]
fn repeated_twcc_feedback_yields_no_results() {
    let (bytes, mut departures, results, _) = travel(&[Some(1), None, Some(1)]);
    assert_eq!(results.len(), 3);
    let mut again = Vec::new();
    departures.feedback(&bodies(&bytes)[0], &mut again);
    assert_eq!(again, []);
}

#[test]
fn twcc_feedback_is_due_50_ms_after_first_packet() {
    let begin = start();
    let mut arrivals = TwccReceiver::new(begin);
    assert_eq!(arrivals.next(), None);
    arrivals.received(begin + ms(3), 65_535);
    arrivals.received(begin + ms(4), 0);
    assert_eq!(arrivals.next(), Some(begin + ms(53)));
    let mut bytes = Vec::new();
    arrivals.write(1, 2, &mut bytes);
    assert_eq!(arrivals.next(), None);
    let length = bytes.len();
    arrivals.write(1, 2, &mut bytes);
    assert_eq!(bytes.len(), length, "there was nothing more to tell");
}

#[test]
fn sequence_jump_restarts_stream() {
    let begin = start();
    let mut arrivals = TwccReceiver::new(begin);
    arrivals.received(begin, 0);
    arrivals.received(begin, 20_000);
    let mut bytes = Vec::new();
    arrivals.write(1, 2, &mut bytes);
    let bodies = bodies(&bytes);
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0][..4], [0x4e, 0x20, 0, 1]);
}

#[test]
fn feedback_for_unsent_packets_is_ignored() {
    let begin = start();
    let mut departures = TwccSender::default();
    departures.sent(begin, 100);
    let mut results = Vec::new();
    // 5,000 packets that came, from number 10 on.
    let mut body = vec![0, 10, 0x13, 0x88, 0, 0, 1, 0, 0x20 | 0x13, 0x88];
    body.extend([0; 5_000]);
    departures.feedback(&body, &mut results);
    assert_eq!(results, []);
}

proptest! {
    #[test]
    fn twcc_feedback_matches_arrivals(
        fates in prop::collection::vec(
            prop_oneof![3 => (0u64..60).prop_map(Some), 1 => Just(None), 1 => (0u64..9_000).prop_map(Some)],
            1..1500,
        )
    ) {
        let (bytes, _, results, begin) = travel(&fates);
        let first = fates.iter().position(Option::is_some);
        let last = fates.iter().rposition(Option::is_some);
        let told = first.zip(last).map_or(&fates[0..0], |(first, last)| &fates[first..=last]);
        prop_assert_eq!(results.len(), told.len());
        let base = results.iter().flat_map(|r| r.arrived).next();
        for ((fate, result), n) in told.iter().zip(&results).zip(first.unwrap_or(0) as u64..) {
            prop_assert_eq!(result.sent, begin + ms(n * 2));
            prop_assert_eq!(fate.is_some(), result.arrived.is_some());
            if let (Some(delay), Some(arrived), Some(base)) = (fate, result.arrived, base) {
                let expected = (n * 2 + delay) as i64 - (first.unwrap() as u64 * 2 + told[0].unwrap()) as i64;
                prop_assert_eq!(arrived.as_millis() as i64 - base.as_millis() as i64, expected);
            }
        }
        for body in bodies(&bytes) {
            prop_assert!(body.len() < 1200);
        }
    }

    #[test]
    fn twcc_feedback_is_readable_by_rtc_rtcp(
        fates in prop::collection::vec(
            prop_oneof![3 => (0u64..60).prop_map(Some), 1 => Just(None), 1 => (60u64..7_000).prop_map(Some)],
            1..380,
        )
    ) {
        let (mut bytes, _, results, _) = travel(&fates);
        if !bytes.is_empty() {
            let read = TransportLayerCc::unmarshal(&mut bytes::Bytes::from(std::mem::take(&mut bytes))).unwrap();
            prop_assert_eq!(usize::from(read.packet_status_count), results.len());
            prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (1, 2));
            let mut at = i64::from(read.reference_time) * 64_000;
            let theirs: Vec<_> = read.recv_deltas.iter().map(|delta| { at += delta.delta; at }).collect();
            let round = 64_000i64 << 24;
            let ours: Vec<_> = results.iter().flat_map(|r| r.arrived).map(|a| a.as_micros() as i64 - round).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn arbitrary_twcc_feedback_does_not_panic(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let begin = start();
        let mut departures = TwccSender::default();
        let mut results = Vec::new();
        for (n, body) in bodies.iter().enumerate() {
            departures.sent(begin + ms(n as u64), 100);
            departures.feedback(body, &mut results);
        }
        prop_assert!(results.len() <= 2 * bodies.len());
    }
}
