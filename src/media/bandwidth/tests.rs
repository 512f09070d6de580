//! Tests of the estimator on simulated downlinks.

use proptest::prelude::*;

use super::link::{DEFAULT_LINK, Link, LinkModel};
use super::*;
use crate::virtual_time::{ms, start};

const KBPS: f64 = 1e3;

fn link_model(kbps: f64) -> LinkModel {
    LinkModel { bits_per_second: kbps * KBPS, ..DEFAULT_LINK }
}

#[test]
fn estimate_ramps_up_within_three_seconds() {
    for frames in [false, true] {
        let mut link = Link::new(300_000);
        link.run(10, link_model(5_000.0), 2_500_000, frames);
        let tenths = link.tenths_until(0, |kbps| kbps >= 2_500);
        assert!(tenths <= 30, "{tenths} tenths of a second");
    }
}

/// On links with a long delay, high loss, a large or small queue, jitter, and a very low capacity.
#[test]
fn estimate_adapts_to_limit_in_3_s_and_recovers_in_10_s() {
    let limit = |kbps| (LinkModel { bits_per_second: kbps * KBPS, ..DEFAULT_LINK }, kbps as u64);
    let (link_model, kbps) = limit(300.0);
    for (link_model, kbps) in [
        (link_model, kbps),
        (LinkModel { delay_ms: 100, ..link_model }, kbps),
        (LinkModel { delay_ms: 300, ..link_model }, kbps),
        (LinkModel { loss_ratio: 0.1, ..link_model }, kbps),
        (LinkModel { loss_ratio: 0.2, ..link_model }, kbps),
        (LinkModel { queue_ms: 3_000.0, ..link_model }, kbps),
        (LinkModel { queue_ms: 30.0, ..link_model }, kbps),
        (LinkModel { jitter_ms: 40, ..link_model }, kbps),
        limit(100.0),
    ] {
        for frames in [false, true] {
            let unlimited = LinkModel { bits_per_second: 5_000.0 * KBPS, ..link_model };
            let mut link = Link::new(500_000);
            link.run(20, unlimited, 2_500_000, frames);
            link.run(40, link_model, 2_500_000, frames);
            link.run(70, unlimited, 2_500_000, frames);
            let drop_tenths = link.tenths_until(20, |estimate| estimate <= kbps);
            let rise_tenths = link.tenths_until(40, |estimate| estimate > 1_500);
            let means = [(10, 20), (25, 40), (55, 70)].map(|(from, to)| link.mean_kbps(from, to));
            let context =
                format!("{link_model:?}, frames {frames}: {drop_tenths}, {rise_tenths}, {means:?}");
            assert!(drop_tenths <= 30 && rise_tenths <= 100, "{context}");
            assert!(means[0] > 1_900 && means[2] > 1_900, "{context}");
            assert!((kbps / 2..kbps * 5 / 4).contains(&means[1]), "{context}");
        }
    }
}

#[test]
fn estimate_follows_periodic_capacity_changes() {
    let mut link = Link::new(800_000);
    for cycle in 0..3 {
        link.run(cycle * 30 + 20, link_model(4_000.0), 5_000_000, true);
        link.run(cycle * 30 + 30, link_model(1_000.0), 5_000_000, true);
    }
    for cycle in 0..3 {
        let from = cycle * 30;
        assert!((2_400..4_200).contains(&link.mean_kbps(from + 10, from + 20)));
        assert!((500..1_100).contains(&link.mean_kbps(from + 23, from + 30)));
    }
}

#[test]
fn random_loss_does_not_collapse_estimate() {
    for loss in [0.02, 0.05, 0.1] {
        let mut link = Link::new(800_000);
        link.run(60, LinkModel { loss_ratio: loss, ..link_model(5_000.0) }, 2_000_000, true);
        assert!(link.mean_kbps(20, 60) > 1_400, "{loss}: {}", link.mean_kbps(20, 60));
    }
}

/// Browser video behind a coarse proxy: 15 frames per second, timers of 2 ms, stalls of 20 to 50 ms,
/// reordered packets.
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
            let proxied = LinkModel {
                granularity_ms: 2,
                frame_ms: 66,
                has_audio: true,
                ..link_model(20_000.0)
            };
            let link_model = LinkModel {
                loss_ratio: loss,
                reorder_ratio: reorder,
                has_stalls: stalls,
                ..proxied
            };
            let mut link = Link::new(1_000_000);
            link.run(60, link_model, wanted, true);
            let min_kbps = *link.estimates_kbps[100..].iter().min().unwrap();
            let context =
                format!("{loss} {reorder} {stalls} of {wanted}: minimum {min_kbps} kbit/s");
            assert!(
                link.mean_kbps(10, 60) > wanted / 1_000 && min_kbps > wanted / 1_600,
                "{context}"
            );
        }
    }
}

#[test]
fn capacity_of_shallow_queue_link_is_found_by_loss() {
    let mut link = Link::new(800_000);
    link.run(60, LinkModel { queue_ms: 10.0, ..link_model(1_000.0) }, 3_000_000, false);
    assert!((600..1_300).contains(&link.mean_kbps(20, 60)), "{}", link.mean_kbps(20, 60));
}

#[test]
fn jitter_alone_does_not_trigger_overuse() {
    let mut link = Link::new(800_000);
    link.run(60, LinkModel { jitter_ms: 30, ..link_model(5_000.0) }, 2_000_000, true);
    assert!(link.mean_kbps(20, 60) > 1_200, "{}", link.mean_kbps(20, 60));
}

#[test]
fn queue_delay_stays_low_on_constant_link() {
    let mut link = Link::new(800_000);
    link.run(60, link_model(1_000.0), 3_000_000, true);
    let mean = link.max_queues_ms[200..].iter().sum::<f64>() / 400.0;
    assert!(link.mean_kbps(20, 60) > 700, "{}", link.mean_kbps(20, 60));
    assert!(mean < 120.0, "{mean} ms");
}

#[test]
fn estimate_is_retained_while_application_limited() {
    let mut link = Link::new(800_000);
    link.run(20, link_model(5_000.0), 2_000_000, true);
    link.run(60, link_model(5_000.0), 50_000, true);
    assert!(link.mean_kbps(50, 60) > 1_500, "{}", link.mean_kbps(50, 60));
}

#[test]
fn remb_is_used_until_stale_without_twcc() {
    let epoch = start();
    let mut estimator = BandwidthEstimator::new(epoch, 500_000, 50_000, 5_000_000);
    estimator.on_remb(epoch, 1_700_000);
    assert_eq!(estimator.target_bps(epoch), 1_700_000);
    assert_eq!(estimator.target_bps(epoch + ms(10_000)), 500_000, "the REMB is stale");
    estimator.on_remb(epoch, u64::MAX);
    assert_eq!(estimator.target_bps(epoch), 5_000_000);
}

#[test]
fn receiver_report_loss_alone_adjusts_estimate() {
    let epoch = start();
    let mut estimator = BandwidthEstimator::new(epoch, 500_000, 50_000, 5_000_000);
    for n in 1..=10 {
        estimator.on_loss_report(epoch + ms(n * 1_000), 0.0);
    }
    let grown = estimator.target_bps(epoch + ms(10_000));
    assert!((900_000..1_500_000).contains(&grown), "{grown}");
    for n in 11..=30 {
        estimator.on_loss_report(epoch + ms(n * 1_000), 0.6);
    }
    assert!(estimator.target_bps(epoch + ms(30_000)) < grown / 2);
    estimator.on_loss_report(epoch + ms(31_000), f32::NAN);
}

proptest! {
    /// Also with clocks that run backwards, as in the fuzzer of Signal's SFU.
    #[test]
    fn arbitrary_feedback_keeps_estimate_within_bounds(
        packets in prop::collection::vec(
            (0u64..50, 0u64..10_000, prop::option::of(0u64..u64::MAX / 2_000), 0usize..70_000),
            0..300,
        ),
        size in 1usize..20,
    ) {
        let epoch = start();
        let mut estimator = BandwidthEstimator::new(epoch, 500_000, 50_000, 5_000_000);
        let mut now = epoch;
        for (n, batch) in packets.chunks(size).enumerate() {
            let mut results: Vec<_> = batch.iter().map(|(step, sent, arrived, bytes)| {
                now += ms(*step);
                PacketResult { index: n as u64, sent_at: epoch + ms(*sent), bytes: *bytes, arrived_at: arrived.map(Duration::from_micros) }
            }).collect();
            estimator.on_twcc_feedback(now, &mut results);
            if estimator.next_probe(now, 2_000_000, n as u64).is_some() {
                estimator.on_probe_sent(now, n as u64 + 3);
            }
            prop_assert!((50_000..=5_000_000).contains(&estimator.target_bps(now)));
        }
    }
}
