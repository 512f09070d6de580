//! Short bursts at a higher rate show whether there is room for it.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::twcc::PacketResult;

/// How long a burst lasts at its rate, and how much it has at least: five packets.
const LASTS: Duration = Duration::from_millis(20);
const MIN_PROBE_BYTES: usize = 5 * 1_000;
/// A burst may be so much faster than what is known.
const FASTER: f64 = 3.0;
/// After a burst that showed no room, and at most if the next ones show none either.
const WAIT: Duration = Duration::from_millis(1_500);
const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(4);
/// Bursts that show nothing may be this share of what is sent.
const SHARE: f64 = 0.06;
/// No more than this is saved up for them, in bytes.
const SAVINGS: f64 = 10_000.0;
/// A burst that was not sent, or of which nothing was heard, is over after this time.
const PATIENCE: Duration = Duration::from_secs(1);
/// This share of the packets must have come.
const COMPLETE: f64 = 0.6;
/// If they come so much slower than they were sent, what came is all there is room for.
const MIN_RECEIVED_SENT_RATIO: f64 = 0.9;
/// Then a little less than that is taken.
const UTILIZED: f64 = 0.95;

/// A burst to be sent: `bytes` in packets that count as one with what else is sent meanwhile, paced
/// at `rate`. [`super::BandwidthEstimator::probed`] is to be told where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbeCluster {
    /// Bits per second.
    pub(crate) rate: u64,
    /// How much is to be sent, in full-sized packets.
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct ProbeInFlight {
    rate: f64,
    /// The end is not known while it is being sent; feedback may come before.
    packets: Range<u64>,
    /// Of the packets so far: first and last, sent and arrived.
    sent: Option<(Instant, Instant)>,
    arrived: Option<(Duration, Duration)>,
    bytes: usize,
    /// Of the packet that was sent last, and of the one that came first.
    last_bytes: usize,
    first_bytes: usize,
    count: u64,
    until: Instant,
}

#[derive(Debug)]
pub(super) struct ProbeController {
    flight: Option<ProbeInFlight>,
    next: Instant,
    wait: Duration,
    /// How many bytes may be spent; less than nothing after a burst.
    savings: f64,
}

impl ProbeController {
    pub(super) fn new(now: Instant) -> Self {
        Self { flight: None, next: now, wait: WAIT, savings: SAVINGS }
    }

    /// So many bytes were sent, of whatever kind.
    pub(super) fn earn(&mut self, bytes: usize) {
        self.savings = (self.savings + bytes as f64 * SHARE).min(SAVINGS);
    }

    /// A burst, if it is time for one and there is a reason; it begins with the packet `next`.
    pub(super) fn order(
        &mut self,
        now: Instant,
        rate: f64,
        wanted: f64,
        next: u64,
    ) -> Option<ProbeCluster> {
        if self.flight.as_ref().is_some_and(|flight| now >= flight.until) {
            self.failed(now);
        }
        if self.flight.is_some() || now < self.next || self.savings < 0.0 || wanted <= rate {
            return None;
        }
        // A little more than is wanted, since the result is a little less than what was sent.
        let burst = (rate * FASTER).min(wanted * 1.25);
        let bytes = ((burst * LASTS.as_secs_f64() / 8.0) as usize).max(MIN_PROBE_BYTES);
        self.savings -= bytes as f64;
        self.flight = Some(ProbeInFlight {
            rate: burst,
            packets: next..u64::MAX,
            sent: None,
            arrived: None,
            bytes: 0,
            last_bytes: 0,
            first_bytes: 0,
            count: 0,
            until: now + PATIENCE,
        });
        Some(ProbeCluster { rate: burst as u64, bytes })
    }

    /// The burst ended before the packet `end`.
    pub(super) fn sent(&mut self, now: Instant, end: u64) {
        if let Some(flight) = self.flight.as_mut() {
            flight.packets.end = end;
            flight.until = now + PATIENCE;
        }
    }

    /// The way filled up, or loses: no bursts for a while.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.next = self.next.max(now + Duration::from_millis(1_000));
    }

    /// The result of a burst, when its last packet is told of.
    pub(super) fn result(&mut self, now: Instant, packet: &PacketResult, rate: f64) -> Option<f64> {
        let flight = self.flight.as_mut()?;
        flight.take(packet);
        if packet.index.saturating_add(1) < flight.packets.end {
            return None;
        }
        let found = flight.found().filter(|found| *found > rate);
        match found {
            Some(_) => {
                self.flight = None;
                self.next = now;
                self.wait = WAIT;
                self.savings = self.savings.max(0.0); // it was worth it
            }
            None => self.failed(now),
        }
        found
    }

    fn failed(&mut self, now: Instant) {
        self.flight = None;
        self.next = now + self.wait;
        self.wait = (self.wait * 3 / 2).min(MAX_PROBE_INTERVAL);
    }
}

impl ProbeInFlight {
    fn take(&mut self, packet: &PacketResult) {
        let Some(arrived) = packet.arrived else { return };
        if !self.packets.contains(&packet.index) {
            return;
        }
        self.count += 1;
        self.bytes += packet.bytes;
        self.last_bytes = packet.bytes;
        let sent = self.sent.get_or_insert((packet.sent, packet.sent));
        sent.1 = sent.1.max(packet.sent);
        match &mut self.arrived {
            None => {
                self.arrived = Some((arrived, arrived));
                self.first_bytes = packet.bytes;
            }
            Some((first, last)) => (*first, *last) = ((*first).min(arrived), (*last).max(arrived)),
        }
    }

    /// The rate at which the burst came, at most that of the order.
    fn found(&self) -> Option<f64> {
        let length = self.packets.end.saturating_sub(self.packets.start);
        if self.count < 3 || (self.count as f64) < COMPLETE * length as f64 {
            return None;
        }
        let ((first_sent, last_sent), (first, last)) = (self.sent?, self.arrived?);
        let sent_in = last_sent.saturating_duration_since(first_sent).as_secs_f64();
        let arrived_in = last.saturating_sub(first).as_secs_f64();
        let sent = bits_in(self.bytes - self.last_bytes, sent_in).min(self.rate);
        let arrived = bits_in(self.bytes - self.first_bytes, arrived_in);
        Some(if arrived < MIN_RECEIVED_SENT_RATIO * sent {
            arrived * UTILIZED
        } else {
            arrived.min(sent)
        })
    }
}

/// What came at one and the same moment came at any rate.
fn bits_in(bytes: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};

    /// A burst of ten packets, one each 8 ms, that come `apart` ms apart; each `lost`th does not.
    fn found(apart: u64, lost: u64) -> Option<f64> {
        let begin = start();
        let mut prober = ProbeController::new(begin);
        let probe = prober.order(begin, 400_000.0, 2_000_000.0, 10).unwrap();
        assert_eq!(probe, ProbeCluster { rate: 1_200_000, bytes: 5_000 });
        (10..20).fold(None, |found, index| {
            let n = index - 10;
            let arrived = (index % lost != 0).then(|| ms(n * apart));
            if index == 15 {
                prober.sent(begin + ms(72), 20);
            }
            let packet = PacketResult { index, sent: begin + ms(n * 8), bytes: 1_200, arrived };
            found.or(prober.result(begin + ms(200), &packet, 400_000.0))
        })
    }

    #[test]
    fn undelayed_probe_reports_its_send_rate() {
        assert_eq!(found(8, 99), Some(1_200_000.0));
    }

    #[test]
    fn stretched_probe_reports_available_bandwidth() {
        assert_eq!(found(16, 99), Some(570_000.0));
        assert_eq!(found(32, 99), None, "no more than there was");
    }

    #[test]
    fn probe_with_loss_yields_no_result() {
        assert_eq!(found(8, 2), None);
    }

    /// When bursts are ordered of which nothing is heard, if so many bytes are sent each 100 ms.
    fn orders(earned: usize) -> Vec<u64> {
        let begin = start();
        let mut prober = ProbeController::new(begin);
        let times: Vec<_> = (0..25_000)
            .step_by(100)
            .filter(|at| {
                prober.earn(earned);
                let ordered = prober.order(begin + ms(*at), 1e6, 2e6, 1).is_some();
                if ordered {
                    prober.sent(begin + ms(*at), 9);
                }
                ordered
            })
            .collect();
        times
    }

    #[test]
    fn unsuccessful_probes_back_off() {
        assert_eq!(orders(20_000), [0, 2_500, 5_800, 10_200, 15_200, 20_200]);
    }

    #[test]
    fn unsuccessful_probes_stay_within_traffic_share() {
        let (per_tenth, bursts) = (500, orders(500).len());
        assert!((2..=4).contains(&bursts), "{bursts}");
        let spent = (bursts - 2) * MIN_PROBE_BYTES; // two come from savings
        assert!(spent as f64 <= SHARE * 250.0 * per_tenth as f64);
    }

    #[test]
    fn no_probe_when_estimate_meets_demand() {
        let begin = start();
        assert_eq!(ProbeController::new(begin).order(begin, 1e6, 1e6, 1), None);
    }
}
