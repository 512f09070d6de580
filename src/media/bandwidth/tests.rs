//! Stories of estimates on simulated downlinks.

use super::link::{Link, WAY, Way};
use super::*;
use crate::virtual_time::{ms, start};
use proptest::prelude::*;

const KBPS: f64 = 1e3;

fn way(kbps: f64) -> Way {
    Way { bits_per_second: kbps * KBPS, ..WAY }
}

#[test]
fn estimate_ramps_up_within_three_seconds() {
    for frames in [false, true] {
        let mut link = Link::new(300_000);
        link.run(10, way(5_000.0), 2_500_000, frames);
        let took = link.tenths_until(0, |kbps| kbps >= 2_500);
        assert!(took <= 30, "{took} tenths of a second");
    }
}

/// On ways with a long delay, much loss, a huge or a tiny queue, jitter, and a very low limit.
#[test]
fn estimate_adapts_to_limit_in_3_s_and_recovers_in_10_s() {
    let limit = |kbps| (Way { bits_per_second: kbps * KBPS, ..WAY }, kbps as u64);
    let (way, kbps) = limit(300.0);
    for (way, kbps) in [
        (way, kbps),
        (Way { delay_ms: 100, ..way }, kbps),
        (Way { delay_ms: 300, ..way }, kbps),
        (Way { loss: 0.1, ..way }, kbps),
        (Way { loss: 0.2, ..way }, kbps),
        (Way { queue_ms: 3_000.0, ..way }, kbps),
        (Way { queue_ms: 30.0, ..way }, kbps),
        (Way { jitter_ms: 40, ..way }, kbps),
        limit(100.0),
    ] {
        for frames in [false, true] {
            let free = Way { bits_per_second: 5_000.0 * KBPS, ..way };
            let mut link = Link::new(500_000);
            link.run(20, free, 2_500_000, frames);
            link.run(40, way, 2_500_000, frames);
            link.run(70, free, 2_500_000, frames);
            let fell = link.tenths_until(20, |found| found <= kbps);
            let rose = link.tenths_until(40, |found| found > 1_500);
            let means = [(10, 20), (25, 40), (55, 70)].map(|(from, to)| link.mean(from, to));
            let context = format!("{way:?}, frames {frames}: {fell}, {rose}, {means:?}");
            assert!(fell <= 30 && rose <= 100, "{context}");
            assert!(means[0] > 1_900 && means[2] > 1_900, "{context}");
            assert!((kbps / 2..kbps * 5 / 4).contains(&means[1]), "{context}");
        }
    }
}

#[test]
fn estimate_follows_periodic_capacity_changes() {
    let mut link = Link::new(800_000);
    for round in 0..3 {
        link.run(round * 30 + 20, way(4_000.0), 5_000_000, true);
        link.run(round * 30 + 30, way(1_000.0), 5_000_000, true);
    }
    for round in 0..3 {
        let from = round * 30;
        assert!((2_400..4_200).contains(&link.mean(from + 10, from + 20)));
        assert!((500..1_100).contains(&link.mean(from + 23, from + 30)));
    }
}

#[test]
fn random_loss_does_not_collapse_estimate() {
    for loss in [0.02, 0.05, 0.1] {
        let mut link = Link::new(800_000);
        link.run(60, Way { loss, ..way(5_000.0) }, 2_000_000, true);
        assert!(link.mean(20, 60) > 1_400, "{loss}: {}", link.mean(20, 60));
    }
}

/// What a browser's picture looks like behind a coarse proxy: 15 pictures a second, timers of 2 ms,
/// stalls of 20 to 50 ms, packets that overtake each other.
#[test]
fn reordering_and_stalls_do_not_trigger_overuse() {
    for (loss, reorder, stalls) in [
        (0.0, 0.01, false),
        (0.02, 0.01, false),
        (0.0, 0.0, true),
        (0.02, 0.01, true),
        (0.05, 0.05, true),
        (0.1, 0.01, true),
    ] {
        for wanted in [300_000, 700_000, 1_500_000] {
            let coarse = Way { grain_ms: 2, picture_ms: 66, sound: true, ..way(20_000.0) };
            let way = Way { loss, reorder, stalls, ..coarse };
            let mut link = Link::new(1_000_000);
            link.run(60, way, wanted, true);
            let least = *link.trace[100..].iter().min().unwrap();
            let context = format!("{loss} {reorder} {stalls} of {wanted}: at least {least}");
            assert!(link.mean(10, 60) > wanted / 1_000 && least > wanted / 1_600, "{context}");
        }
    }
}

#[test]
fn capacity_of_shallow_queue_link_is_found_by_loss() {
    let mut link = Link::new(800_000);
    link.run(60, Way { queue_ms: 10.0, ..way(1_000.0) }, 3_000_000, false);
    assert!((600..1_300).contains(&link.mean(20, 60)), "{}", link.mean(20, 60));
}

#[test]
fn jitter_alone_does_not_trigger_overuse() {
    let mut link = Link::new(800_000);
    link.run(60, Way { jitter_ms: 30, ..way(5_000.0) }, 2_000_000, true);
    assert!(link.mean(20, 60) > 1_200, "{}", link.mean(20, 60));
}

#[test]
fn queue_delay_stays_low_on_constant_link() {
    let mut link = Link::new(800_000);
    link.run(60, way(1_000.0), 3_000_000, true);
    let mean = link.queues[200..].iter().sum::<f64>() / 400.0;
    assert!(link.mean(20, 60) > 700, "{}", link.mean(20, 60));
    assert!(mean < 120.0, "{mean} ms");
}

#[test]
fn estimate_is_retained_while_application_limited() {
    let mut link = Link::new(800_000);
    link.run(20, way(5_000.0), 2_000_000, true);
    link.run(60, way(5_000.0), 50_000, true);
    assert!(link.mean(50, 60) > 1_500, "{}", link.mean(50, 60));
}

#[test]
fn remb_is_used_until_stale_without_twcc() {
    let begin = start();
    let mut estimator = BandwidthEstimator::new(begin, 500_000, 50_000, 5_000_000);
    estimator.remb(begin, 1_700_000);
    assert_eq!(estimator.target(begin), 1_700_000);
    assert_eq!(estimator.target(begin + ms(10_000)), 500_000, "it is old");
    estimator.remb(begin, u64::MAX);
    assert_eq!(estimator.target(begin), 5_000_000);
}

#[test]
fn receiver_report_loss_alone_adjusts_estimate() {
    let begin = start();
    let mut estimator = BandwidthEstimator::new(begin, 500_000, 50_000, 5_000_000);
    for n in 1..=10 {
        estimator.loss(begin + ms(n * 1_000), 0.0);
    }
    let grown = estimator.target(begin + ms(10_000));
    assert!((900_000..1_500_000).contains(&grown), "{grown}");
    for n in 11..=30 {
        estimator.loss(begin + ms(n * 1_000), 0.6);
    }
    assert!(estimator.target(begin + ms(30_000)) < grown / 2);
    estimator.loss(begin + ms(31_000), f32::NAN);
}

proptest! {
    /// Also with clocks that run backwards, as in Signal's fuzzer.
    #[test]
    fn arbitrary_feedback_keeps_estimate_within_bounds(
        packets in prop::collection::vec(
            (0u64..50, 0u64..10_000, prop::option::of(0u64..u64::MAX / 2_000), 0usize..70_000),
            0..300,
        ),
        size in 1usize..20,
    ) {
        let begin = start();
        let mut estimator = BandwidthEstimator::new(begin, 500_000, 50_000, 5_000_000);
        let mut now = begin;
        for (n, batch) in packets.chunks(size).enumerate() {
            let mut results: Vec<_> = batch.iter().map(|(step, sent, arrived, bytes)| {
                now += ms(*step);
                PacketResult { index: n as u64, sent: begin + ms(*sent), bytes: *bytes, arrived: arrived.map(Duration::from_micros) }
            }).collect();
            estimator.feedback(now, &mut results);
            if estimator.probe(now, 2_000_000, n as u64).is_some() {
                estimator.probed(now, n as u64 + 3);
            }
            prop_assert!((50_000..=5_000_000).contains(&estimator.target(now)));
        }
    }
}
