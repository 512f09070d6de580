//! Reception statistics of a stream (RFC 3550 §6.4 and appendix A).

use std::time::{Duration, Instant};

/// The fields of an RTCP report block, without the SSRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceptionStats {
    /// Share of packets lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// Packets lost since the start; 24 bits with sign on the wire, negative if packets were duplicated.
    pub(crate) cumulative_lost: i32,
    /// Extended highest sequence number received.
    pub(crate) highest_sequence: u32,
    /// Interarrival jitter, in ticks of the RTP clock.
    pub(crate) jitter: u32,
    /// LSR: the middle 32 bits of the last sender report's NTP time; 0 if there was none.
    pub(crate) last_sr: u32,
    /// DLSR: the time since that sender report was received, in 1/65536 s.
    pub(crate) delay_since_last_sr: u32,
}

/// Statistics of one received stream. Retransmissions on an RTX stream do not count.
#[derive(Debug)]
pub(crate) struct ReceiverStats {
    clock_rate: u32,
    first_index: Option<u64>,
    highest_index: u64,
    packets_received: u64,
    /// Packets expected and received at the time of the last report.
    last_reported: (u64, u64),
    /// When the last packet with a new timestamp was received, and its timestamp.
    last_packet: Option<(Instant, u32)>,
    /// In ticks of the RTP clock.
    jitter: f64,
    last_sender_report: Option<(Instant, u64)>,
}

impl ReceiverStats {
    /// A stream without packets; its timestamps have `clock_rate` ticks per second.
    pub(crate) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            first_index: None,
            highest_index: 0,
            packets_received: 0,
            last_reported: (0, 0),
            last_packet: None,
            jitter: 0.0,
            last_sender_report: None,
        }
    }

    /// Records a received packet by its extended sequence number and timestamp.
    pub(crate) fn on_packet(&mut self, now: Instant, index: u64, timestamp: u32) {
        let first_index = *self.first_index.get_or_insert(index);
        self.first_index = Some(first_index.min(index));
        self.highest_index = self.highest_index.max(index);
        self.packets_received += 1;
        if let Some((previous_arrival, previous_timestamp)) = self.last_packet {
            // Packets of one frame share a timestamp: they are sent one after the other, which says nothing
            // about the path.
            let ticks = timestamp.wrapping_sub(previous_timestamp) as i32;
            if ticks == 0 {
                return;
            }
            let elapsed = now.saturating_duration_since(previous_arrival).as_secs_f64();
            let deviation = (elapsed * f64::from(self.clock_rate) - f64::from(ticks)).abs();
            // A jump of the sender's clock is not jitter.
            if deviation < f64::from(self.clock_rate) * 5.0 {
                self.jitter += (deviation - self.jitter) / 16.0;
            }
        }
        self.last_packet = Some((now, timestamp));
    }

    /// Records the NTP time of a sender report of the publisher.
    pub(crate) fn on_sender_report(&mut self, now: Instant, ntp: u64) {
        self.last_sender_report = Some((now, ntp));
    }

    /// The statistics to report now; the loss share is since the last call. `None` before the first packet.
    pub(crate) fn report(&mut self, now: Instant) -> Option<ReceptionStats> {
        let expected = self.highest_index - self.first_index? + 1;
        let (expected_before, received_before) = self.last_reported;
        self.last_reported = (expected, self.packets_received);
        let expected_in_interval = expected.saturating_sub(expected_before);
        let lost_in_interval =
            expected_in_interval.saturating_sub(self.packets_received - received_before);
        let fraction_lost = lost_in_interval
            .saturating_mul(256)
            .checked_div(expected_in_interval)
            .unwrap_or(0)
            .min(255);
        let lost = (expected as i64).saturating_sub(self.packets_received as i64);
        let (last_report, delay) = self.last_sender_report.map_or((0, 0), |(at, ntp)| {
            ((ntp >> 16) as u32, short_ntp(now.saturating_duration_since(at)))
        });
        Some(ReceptionStats {
            fraction_lost: fraction_lost as u8,
            cumulative_lost: lost.clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.highest_index as u32,
            jitter: self.jitter as u32,
            last_sr: last_report,
            delay_since_last_sr: delay,
        })
    }

    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub(crate) fn jitter(&self) -> Duration {
        Duration::from_secs_f64(self.jitter / f64::from(self.clock_rate))
    }
}

/// A duration in 1/65536 s.
fn short_ntp(time: Duration) -> u32 {
    (time.as_secs_f64() * 65_536.0) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::virtual_time::{ms, start};

    #[test]
    fn reception_without_packets_yields_no_report() {
        assert_eq!(ReceiverStats::new(90_000).report(start()), None);
    }

    #[test]
    fn loss_is_counted_per_interval_and_cumulatively() {
        let now = start();
        let mut reception = ReceiverStats::new(90_000);
        for index in (65_530..65_540).filter(|index| *index != 65_535) {
            reception.on_packet(now, index, 0);
        }
        let block = reception.report(now).unwrap();
        assert_eq!(
            (block.fraction_lost, block.cumulative_lost, block.highest_sequence),
            (25, 1, 65_539)
        );
        reception.on_packet(now, 65_540, 0);
        let block = reception.report(now).unwrap();
        assert_eq!(
            (block.fraction_lost, block.cumulative_lost, block.highest_sequence),
            (0, 1, 65_540)
        );
        let block = reception.report(now).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 1), "nothing came");
    }

    #[test]
    fn duplicate_packets_make_cumulative_loss_negative() {
        let now = start();
        let mut reception = ReceiverStats::new(90_000);
        for index in [1, 1, 2, 2] {
            reception.on_packet(now, index, 0);
        }
        let block = reception.report(now).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -2));
    }

    #[test]
    fn jitter_is_deviation_from_regular_spacing() {
        let epoch = start();
        let mut even = ReceiverStats::new(48_000);
        let mut uneven = ReceiverStats::new(48_000);
        for n in 0..500u32 {
            let at = epoch + ms(u64::from(n) * 20);
            even.on_packet(at, n.into(), n * 960);
            uneven.on_packet(at + ms(u64::from(n % 2) * 10), n.into(), n * 960);
        }
        assert!(even.jitter() < ms(1));
        assert!((ms(9)..ms(11)).contains(&uneven.jitter()), "{:?}", uneven.jitter());
    }

    #[test]
    fn receiver_report_contains_lsr_and_dlsr() {
        let now = start();
        let mut reception = ReceiverStats::new(90_000);
        reception.on_packet(now, 1, 1);
        reception.on_sender_report(now, 0x0001_0002_0003_0004);
        let block = reception.report(now + ms(1_500)).unwrap();
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0x0002_0003, 98_304));
    }

    proptest! {
        #[test]
        fn arbitrary_packet_order_yields_receiver_report(
            packets in prop::collection::vec((any::<u64>(), any::<u32>(), 0u64..1000), 0..50)
        ) {
            let now = start();
            let mut reception = ReceiverStats::new(90_000);
            for (index, timestamp, at) in packets {
                reception.on_packet(now + ms(at), index / 2, timestamp);
                prop_assert!(reception.report(now).is_some());
            }
        }
    }
}
