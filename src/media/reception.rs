//! How a stream arrives (RFC 3550 §6.4 and appendix A), and the round trip that reports reveal.

use std::time::{Duration, Instant};

/// What a report block says of a stream; whose it is, the caller adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceptionStats {
    /// Lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// Lost since the beginning; 24 bits with sign on the wire, negative if packets came twice.
    pub(crate) cumulative_lost: i32,
    /// The highest sequence number, extended by its cycles.
    pub(crate) highest: u32,
    /// Mean deviation of the time between packets, in ticks of the stream's clock.
    pub(crate) jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time; 0 if there was none.
    pub(crate) last_report: u32,
    /// How long ago that was, in 1/65536 s.
    pub(crate) delay: u32,
}

/// The bookkeeping of one received stream. Retransmissions on a stream of their own do not count.
#[derive(Debug)]
pub(crate) struct ReceiverStats {
    clock_rate: u32,
    first: Option<u64>,
    highest: u64,
    received: u64,
    /// Expected and received when the last report was made.
    reported: (u64, u64),
    /// When a packet of which timestamp came last.
    last: Option<(Instant, u32)>,
    /// In ticks.
    jitter: f64,
    sender_report: Option<(Instant, u64)>,
}

impl ReceiverStats {
    /// Nothing has come yet; the stream's timestamps have `clock_rate` ticks in a second.
    pub(crate) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            first: None,
            highest: 0,
            received: 0,
            reported: (0, 0),
            last: None,
            jitter: 0.0,
            sender_report: None,
        }
    }

    /// A packet came: its extended sequence number and its timestamp.
    pub(crate) fn received(&mut self, now: Instant, index: u64, timestamp: u32) {
        let first = *self.first.get_or_insert(index);
        self.first = Some(first.min(index));
        self.highest = self.highest.max(index);
        self.received += 1;
        if let Some((before, earlier)) = self.last {
            // Packets of one picture share a timestamp: they are sent one after the other, which
            // says nothing about the path.
            let ticks = timestamp.wrapping_sub(earlier) as i32;
            if ticks == 0 {
                return;
            }
            let apart = now.saturating_duration_since(before).as_secs_f64();
            let deviation = (apart * f64::from(self.clock_rate) - f64::from(ticks)).abs();
            // A jump of the source's clock is no jitter.
            if deviation < f64::from(self.clock_rate) * 5.0 {
                self.jitter += (deviation - self.jitter) / 16.0;
            }
        }
        self.last = Some((now, timestamp));
    }

    /// The publisher sent a sender report with this NTP time.
    pub(crate) fn sender_report(&mut self, now: Instant, ntp: u64) {
        self.sender_report = Some((now, ntp));
    }

    /// What to report now; the share of loss is since the last call. `None` if nothing came yet.
    pub(crate) fn report(&mut self, now: Instant) -> Option<ReceptionStats> {
        let expected = self.highest - self.first? + 1;
        let (expected_before, received_before) = self.reported;
        self.reported = (expected, self.received);
        let expected_now = expected.saturating_sub(expected_before);
        let lost_now = expected_now.saturating_sub(self.received - received_before);
        let fraction_lost =
            lost_now.saturating_mul(256).checked_div(expected_now).unwrap_or(0).min(255);
        let lost = (expected as i64).saturating_sub(self.received as i64);
        let (last_report, delay) = self.sender_report.map_or((0, 0), |(at, ntp)| {
            ((ntp >> 16) as u32, short_time(now.saturating_duration_since(at)))
        });
        Some(ReceptionStats {
            fraction_lost: fraction_lost as u8,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest: self.highest as u32,
            jitter: self.jitter as u32,
            last_report,
            delay,
        })
    }

    /// Mean deviation of the time between packets.
    pub(crate) fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter / f64::from(self.clock_rate))
    }
}

fn short_time(time: Duration) -> u32 {
    (time.as_secs_f64() * 65_536.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};
    use proptest::prelude::*;

    #[test]
    fn reception_without_packets_yields_no_report() {
        assert_eq!(ReceiverStats::new(90_000).report(start()), None);
    }

    #[test]
    fn loss_is_counted_per_interval_and_cumulatively() {
        let now = start();
        let mut reception = ReceiverStats::new(90_000);
        for index in (65_530..65_540).filter(|index| *index != 65_535) {
            reception.received(now, index, 0);
        }
        let block = reception.report(now).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost, block.highest), (25, 1, 65_539));
        reception.received(now, 65_540, 0);
        let block = reception.report(now).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost, block.highest), (0, 1, 65_540));
        let block = reception.report(now).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1), "nothing came");
    }

    #[test]
    fn duplicate_packets_make_cumulative_loss_negative() {
        let now = start();
        let mut reception = ReceiverStats::new(90_000);
        for index in [1, 1, 2, 2] {
            reception.received(now, index, 0);
        }
        let block = reception.report(now).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -2));
    }

    #[test]
    fn jitter_is_deviation_from_regular_spacing() {
        let begin = start();
        let mut even = ReceiverStats::new(48_000);
        let mut uneven = ReceiverStats::new(48_000);
        for n in 0..500u32 {
            let at = begin + ms(u64::from(n) * 20);
            even.received(at, n.into(), n * 960);
            uneven.received(at + ms(u64::from(n % 2) * 10), n.into(), n * 960);
        }
        assert!(even.jitter() < ms(1));
        assert!((ms(9)..ms(11)).contains(&uneven.jitter()), "{:?}", uneven.jitter());
    }

    #[test]
    fn receiver_report_contains_lsr_and_dlsr() {
        let now = start();
        let mut reception = ReceiverStats::new(90_000);
        reception.received(now, 1, 1);
        reception.sender_report(now, 0x0001_0002_0003_0004);
        let block = reception.report(now + ms(1_500)).unwrap();
        assert_eq!((block.last_report, block.delay), (0x0002_0003, 98_304));
    }

    proptest! {
        #[test]
        fn arbitrary_packet_order_yields_receiver_report(
            packets in prop::collection::vec((any::<u64>(), any::<u32>(), 0u64..1000), 0..50)
        ) {
            let now = start();
            let mut reception = ReceiverStats::new(90_000);
            for (index, timestamp, at) in packets {
                reception.received(now + ms(at), index / 2, timestamp);
                prop_assert!(reception.report(now).is_some());
            }
        }
    }
}
