//! Tests of streams that are merged into one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::virtual_time::{ms, start};

const RATE: u32 = 90_000;

/// A sender report `ms` milliseconds after an hour of NTP time, with the timestamp of that moment.
fn report(ms: u64, timestamp: u32) -> SenderReportTiming {
    SenderReportTiming { ntp: (3600 << 32) + (ms << 32) / 1000, timestamp }
}

#[test]
fn munged_stream_starts_at_given_seq_and_follows_source() {
    let now = start();
    let mut stream = RtpMunger::new(RATE, 65_535);
    assert_eq!(stream.rewrite(now, 1, 7, 100), None, "no stream was selected yet");
    stream.switch(now, 1, 1_000, 5_000, None);
    assert_eq!(
        stream.rewrite(now, 1, 1_000, 5_000),
        Some(RewrittenHeader { index: 65_535, timestamp: 5_000 })
    );
    assert_eq!(
        stream.rewrite(now, 1, 1_002, 8_000),
        Some(RewrittenHeader { index: 65_537, timestamp: 8_000 })
    );
    assert_eq!(
        stream.rewrite(now, 1, 1_001, 5_000),
        Some(RewrittenHeader { index: 65_536, timestamp: 5_000 })
    );
    assert_eq!(stream.rewrite(now, 1, 999, 4_000), None, "from before the start");

    assert_eq!(stream.origin(0), Some((1, 1_001)));
    assert_eq!(stream.origin(65_535), Some((1, 1_000)));
    assert_eq!(stream.origin(5), None, "not sent yet");
}

#[test]
fn skipped_packet_leaves_no_gap_but_missing_packet_does() {
    let now = start();
    let mut stream = RtpMunger::new(RATE, 0);
    stream.switch(now, 1, 10, 0, None);
    assert_eq!(stream.rewrite(now, 1, 10, 0).unwrap().index, 0);
    stream.skip(1, 11);
    stream.skip(1, 12);
    assert_eq!(stream.rewrite(now, 1, 14, 0).unwrap().index, 2, "13 is missing");
    assert_eq!(stream.rewrite(now, 1, 13, 0).unwrap().index, 1);
    assert_eq!(stream.rewrite(now, 1, 11, 0), None);

    assert_eq!([0, 1, 2].map(|n| stream.origin(n)), [10, 13, 14].map(|n| Some((1, n))));
}

#[test]
fn switch_without_sender_report_advances_by_elapsed_time() {
    let now = start();
    let mut stream = RtpMunger::new(RATE, 0);
    stream.switch(now, 1, 0, 1_000, None);
    stream.rewrite(now, 1, 0, 1_000);
    let later = now + ms(100);
    stream.switch(later, 2, 500, 77_777, None);

    assert_eq!(
        stream.rewrite(later, 2, 500, 77_777),
        Some(RewrittenHeader { index: 1, timestamp: 10_000 })
    );
    assert_eq!(
        stream.rewrite(later, 1, 0, 1_000),
        Some(RewrittenHeader { index: 0, timestamp: 1_000 })
    );
    assert_eq!(stream.rewrite(later, 1, 1, 4_000), None, "its sequence number is used");
    assert_eq!(stream.timestamp(77_778), Some(10_001));
}

#[test]
fn sender_reports_align_timestamps_across_sources() {
    let now = start();
    let mut stream = RtpMunger::new(RATE, 0);
    stream.switch(now, 1, 0, 10_000, None);
    stream.on_sender_report(1, report(1_000, 10_000));
    stream.rewrite(now, 1, 0, 10_000);
    // The new stream's frame was captured 33 ms later but arrived 200 ms later.
    stream.switch(now + ms(200), 2, 0, 502_970, Some(report(1_000, 500_000)));

    assert_eq!(stream.rewrite(now, 2, 0, 502_970).unwrap().timestamp, 12_970);
}

#[test]
fn implausible_sender_report_is_ignored() {
    let now = start();
    let mut stream = RtpMunger::new(RATE, 0);
    stream.switch(now, 1, 0, 10_000, Some(report(1_000, 10_000)));
    stream.rewrite(now, 1, 0, 10_000);
    stream.switch(now + ms(10), 2, 0, 500_000, Some(report(999_000, 500_000)));

    assert_eq!(stream.rewrite(now, 2, 0, 500_000).unwrap().timestamp, 10_900);
}

#[test]
fn resumed_source_keeps_its_timestamps() {
    let now = start();
    let mut stream = RtpMunger::new(RATE, 0);
    stream.switch(now, 1, 0, 0, None);
    stream.rewrite(now, 1, 0, 0);
    let later = now + ms(1_000);
    stream.switch(later, 1, 40, 90_030, None);

    assert_eq!(
        stream.rewrite(later, 1, 40, 90_030),
        Some(RewrittenHeader { index: 1, timestamp: 90_030 })
    );
    assert_eq!(stream.rewrite(later, 1, 1, 3_000), None, "sent while it was paused");
}

#[derive(Clone, Debug)]
enum Step {
    Packet { source: usize, offset: i64 },
    Skip { source: usize },
    Switch { source: usize, has_report: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..3, -3i64..4).prop_map(|(source, offset)| Step::Packet { source, offset }),
        2 => (0usize..3).prop_map(|source| Step::Skip { source }),
        1 => (0usize..3, any::<bool>()).prop_map(|(source, has_report)| Step::Switch { source, has_report }),
    ]
}

proptest! {
    /// Three streams with independent clocks, reordered, switched and thinned out at random.
    #[test]
    fn munged_seq_is_unique_and_maps_back_to_source(steps in prop::collection::vec(step(), 1..300)) {
        let epoch = start();
        let mut stream = RtpMunger::new(RATE, 60_000);
        // The highest index of each stream, and the packet sent under each sequence number.
        let mut highest = [100u64, 70_000, 5];
        let mut sent: BTreeMap<u64, Option<(u32, u64)>> = BTreeMap::new();
        let mut skipped = Vec::new();
        let ts = |source: usize, index: u64| (index as u32).wrapping_mul(3_000).wrapping_add([0, 4_000_000_000, 99][source]);
        let mut newest: Option<RewrittenHeader> = None;
        for (n, step) in steps.into_iter().enumerate() {
            let now = epoch + ms(n as u64 * 10);
            match step {
                Step::Switch { source, has_report } => {
                    highest[source] += 1;
                    let (index, report) = (highest[source], report(n as u64 * 10, 5));
                    stream.switch(now, source as u32, index, ts(source, index), has_report.then_some(report));
                    let header = stream.rewrite(now, source as u32, index, ts(source, index)).unwrap();
                    if let Some(newest) = newest {
                        prop_assert!(header.timestamp.wrapping_sub(newest.timestamp) as i32 > 0, "the timestamp went backwards");
                        prop_assert_eq!(header.index, newest.index + 1, "a switch leaves no gap");
                    }
                    prop_assert!(sent.insert(header.index, Some((source as u32, index))).is_none());
                    newest = stream.newest();
                }
                Step::Packet { source, offset } => {
                    let index = highest[source].saturating_add_signed(offset);
                    highest[source] = highest[source].max(index);
                    if skipped.contains(&(source, index)) { continue }
                    if let Some(header) = stream.rewrite(now, source as u32, index, ts(source, index)) {
                        let origin = Some((source as u32, index));
                        let before = sent.insert(header.index, origin);
                        prop_assert!(before.is_none() || before == Some(origin), "a sequence number was used twice");
                    }
                    newest = stream.newest();
                }
                Step::Skip { source } => {
                    highest[source] += 1;
                    skipped.push((source, highest[source]));
                    stream.skip(source as u32, highest[source]);
                }
            }
        }
        // Fewer packets than there may be spans.
        for (index, origin) in sent.iter().rev().take(30) {
            prop_assert_eq!(stream.origin(*index as u16), *origin);
        }
    }
}
