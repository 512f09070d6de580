//! Round trips of feedback, and compatibility with rtc-rtcp.

use std::time::Instant;

use proptest::prelude::*;
use rtc_rtcp::transport_feedbacks::transport_layer_cc::TransportLayerCc;
use rtc_shared::marshal::Unmarshal;

use super::*;
use crate::virtual_time::{ms, start};

/// Length of the header and two SSRCs of a feedback packet.
const FEEDBACK_HEADER_BYTES: usize = 12;

/// The bodies of the feedback packets in a buffer.
fn bodies(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let words = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let (packet, rest) = bytes.split_at(4 * (words + 1));
        found.push(packet[FEEDBACK_HEADER_BYTES..].to_vec());
        bytes = rest;
    }
    found
}

/// Sends packets over a simulated link: `None` is lost, otherwise the delay in milliseconds.
fn simulate(delays: &[Option<u64>]) -> (Vec<u8>, TwccSender, Vec<PacketResult>, Instant) {
    let epoch = start();
    let mut sender = TwccSender::default();
    let mut receiver = TwccReceiver::new(epoch);
    for (n, delay) in delays.iter().enumerate() {
        let at = epoch + ms(n as u64 * 2);
        let sequence = sender.on_sent(at, 1000 + n);
        if let Some(delay) = delay {
            receiver.on_packet(at + ms(*delay), sequence);
        }
    }
    let mut bytes = Vec::new();
    receiver.write(1, 2, &mut bytes);
    let mut results = Vec::new();
    for body in bodies(&bytes) {
        sender.on_feedback(&body, &mut results);
    }
    (bytes, sender, results, epoch)
}

#[test]
fn twcc_results_are_reported_in_order() {
    let (_, _, results, epoch) = simulate(&[Some(50), None, Some(52), Some(150), Some(30)]);
    let arrived: Vec<_> = results.iter().map(|result| result.arrived_at).collect();
    let first = arrived[0].unwrap();
    let relative: Vec<_> = arrived
        .iter()
        .map(|a| a.map(|a| a.as_millis() as i64 - first.as_millis() as i64))
        .collect();
    assert_eq!(relative, [Some(0), None, Some(6), Some(106), Some(-12)]);
    assert_eq!(results[3].sent_at, epoch + ms(6));
    assert_eq!(results[3].bytes, 1003);
}

#[test]
fn repeated_twcc_feedback_yields_no_results() {
    let (bytes, mut sender, results, _) = simulate(&[Some(1), None, Some(1)]);
    assert_eq!(results.len(), 3);
    let mut repeated = Vec::new();
    sender.on_feedback(&bodies(&bytes)[0], &mut repeated);
    assert_eq!(repeated, []);
}

#[test]
fn twcc_feedback_is_due_50_ms_after_first_packet() {
    let epoch = start();
    let mut receiver = TwccReceiver::new(epoch);
    assert_eq!(receiver.next_due(), None);
    receiver.on_packet(epoch + ms(3), 65_535);
    receiver.on_packet(epoch + ms(4), 0);
    assert_eq!(receiver.next_due(), Some(epoch + ms(53)));
    let mut bytes = Vec::new();
    receiver.write(1, 2, &mut bytes);
    assert_eq!(receiver.next_due(), None);
    let length = bytes.len();
    receiver.write(1, 2, &mut bytes);
    assert_eq!(bytes.len(), length, "there was nothing more to report");
}

#[test]
fn sequence_jump_restarts_stream() {
    let epoch = start();
    let mut receiver = TwccReceiver::new(epoch);
    receiver.on_packet(epoch, 0);
    receiver.on_packet(epoch, 20_000);
    let mut bytes = Vec::new();
    receiver.write(1, 2, &mut bytes);
    let bodies = bodies(&bytes);
    assert_eq!(bodies.len(), 1);
    assert_eq!(bodies[0][..4], [0x4e, 0x20, 0, 1]);
}

#[test]
fn feedback_for_unsent_packets_is_ignored() {
    let epoch = start();
    let mut sender = TwccSender::default();
    sender.on_sent(epoch, 100);
    let mut results = Vec::new();
    // 5,000 received packets from number 10 on.
    let mut body = vec![0, 10, 0x13, 0x88, 0, 0, 1, 0, 0x20 | 0x13, 0x88];
    body.extend([0; 5_000]);
    sender.on_feedback(&body, &mut results);
    assert_eq!(results, []);
}

proptest! {
    #[test]
    fn twcc_feedback_matches_arrivals(
        delays in prop::collection::vec(
            prop_oneof![3 => (0u64..60).prop_map(Some), 1 => Just(None), 1 => (0u64..9_000).prop_map(Some)],
            1..1500,
        )
    ) {
        let (bytes, _, results, epoch) = simulate(&delays);
        let first = delays.iter().position(Option::is_some);
        let last = delays.iter().rposition(Option::is_some);
        let reported = first.zip(last).map_or(&delays[0..0], |(first, last)| &delays[first..=last]);
        prop_assert_eq!(results.len(), reported.len());
        let base = results.iter().flat_map(|r| r.arrived_at).next();
        for ((delay, result), n) in reported.iter().zip(&results).zip(first.unwrap_or(0) as u64..) {
            prop_assert_eq!(result.sent_at, epoch + ms(n * 2));
            prop_assert_eq!(delay.is_some(), result.arrived_at.is_some());
            if let (Some(delay), Some(arrived), Some(base)) = (delay, result.arrived_at, base) {
                let expected = (n * 2 + delay) as i64 - (first.unwrap() as u64 * 2 + reported[0].unwrap()) as i64;
                prop_assert_eq!(arrived.as_millis() as i64 - base.as_millis() as i64, expected);
            }
        }
        for body in bodies(&bytes) {
            prop_assert!(body.len() < 1200);
        }
    }

    #[test]
    fn twcc_feedback_is_readable_by_rtc_rtcp(
        delays in prop::collection::vec(
            prop_oneof![3 => (0u64..60).prop_map(Some), 1 => Just(None), 1 => (60u64..7_000).prop_map(Some)],
            1..380,
        )
    ) {
        let (mut bytes, _, results, _) = simulate(&delays);
        if !bytes.is_empty() {
            let read = TransportLayerCc::unmarshal(&mut bytes::Bytes::from(std::mem::take(&mut bytes))).unwrap();
            prop_assert_eq!(usize::from(read.packet_status_count), results.len());
            prop_assert_eq!((read.sender_ssrc, read.media_ssrc), (1, 2));
            let mut at = i64::from(read.reference_time) * 64_000;
            let expected: Vec<_> = read.recv_deltas.iter().map(|delta| { at += delta.delta; at }).collect();
            let cycle = 64_000i64 << 24;
            let actual: Vec<_> = results.iter().flat_map(|r| r.arrived_at).map(|a| a.as_micros() as i64 - cycle).collect();
            prop_assert_eq!(actual, expected);
        }
    }

    #[test]
    fn arbitrary_twcc_feedback_does_not_panic(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let epoch = start();
        let mut sender = TwccSender::default();
        let mut results = Vec::new();
        for (n, body) in bodies.iter().enumerate() {
            sender.on_sent(epoch + ms(n as u64), 100);
            sender.on_feedback(body, &mut results);
        }
        prop_assert!(results.len() <= 2 * bodies.len());
    }
}
