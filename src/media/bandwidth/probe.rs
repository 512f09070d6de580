//! Probe controller: short bursts at a higher rate test whether the link can carry it (`ProbeController` and
//! `ProbeBitrateEstimator` of libwebrtc).

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::limits::{
    MAX_PROBE_CREDIT_BYTES, MAX_PROBE_INTERVAL, MAX_PROBE_RATIO, MIN_PROBE_BYTES,
    MIN_PROBE_INTERVAL, MIN_RECEIVED_RATIO, MIN_RECEIVED_SENT_RATIO,
};
use crate::twcc::PacketResult;

/// Duration of a probe at its rate.
const PROBE_DURATION: Duration = Duration::from_millis(20);
/// Maximum share of the traffic that unsuccessful probes may take.
const PROBE_TRAFFIC_SHARE: f64 = 0.06;
/// A probe that was not sent, or for which no feedback came, fails after this time.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Then the estimate is this share of the received rate.
const TARGET_UTILIZATION: f64 = 0.95;

/// A probe to send: `bytes` in packets, which count together with all other packets sent meanwhile, paced at
/// `bps`. [`super::BandwidthEstimator::on_probe_sent`] must be called at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProbeCluster {
    /// Rate in bits per second.
    pub(crate) bps: u64,
    /// Amount to send in full-sized packets, in bytes.
    pub(crate) bytes: usize,
}

/// A probe that is being sent or awaits feedback.
#[derive(Debug)]
struct ProbeInFlight {
    bps: f64,
    /// The end is unknown while the probe is being sent; feedback may arrive before.
    packets: Range<u64>,
    /// First and last sending, and first and last arrival, of the received packets.
    send_span: Option<(Instant, Instant)>,
    arrival_span: Option<(Duration, Duration)>,
    received_bytes: usize,
    /// Sizes of the packet sent last and of the packet that arrived first.
    last_sent_bytes: usize,
    first_arrived_bytes: usize,
    received_count: u64,
    expires_at: Instant,
}

/// Decides when to probe and evaluates the results.
#[derive(Debug)]
pub(super) struct ProbeController {
    in_flight: Option<ProbeInFlight>,
    next_at: Instant,
    interval: Duration,
    /// Bytes that may be spent on probes; negative after a probe.
    credit_bytes: f64,
}

impl ProbeController {
    /// A controller that may probe at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            in_flight: None,
            next_at: now,
            interval: MIN_PROBE_INTERVAL,
            credit_bytes: MAX_PROBE_CREDIT_BYTES,
        }
    }

    /// Adds credit for bytes of any kind that were sent.
    pub(super) fn add_credit(&mut self, bytes: usize) {
        self.credit_bytes =
            (self.credit_bytes + bytes as f64 * PROBE_TRAFFIC_SHARE).min(MAX_PROBE_CREDIT_BYTES);
    }

    /// Starts a probe with the packet `next` if one is due and useful.
    pub(super) fn start_probe(
        &mut self,
        now: Instant,
        rate: f64,
        wanted: f64,
        next: u64,
    ) -> Option<ProbeCluster> {
        if self.in_flight.as_ref().is_some_and(|probe| now >= probe.expires_at) {
            self.on_failure(now);
        }
        if self.in_flight.is_some()
            || now < self.next_at
            || self.credit_bytes < 0.0
            || wanted <= rate
        {
            return None;
        }
        // A little more than wanted, since the measured rate is slightly below the sent one.
        let probe_bps = (rate * MAX_PROBE_RATIO).min(wanted * 1.25);
        let bytes =
            ((probe_bps * PROBE_DURATION.as_secs_f64() / 8.0) as usize).max(MIN_PROBE_BYTES);
        self.credit_bytes -= bytes as f64;
        self.in_flight = Some(ProbeInFlight {
            bps: probe_bps,
            packets: next..u64::MAX,
            send_span: None,
            arrival_span: None,
            received_bytes: 0,
            last_sent_bytes: 0,
            first_arrived_bytes: 0,
            received_count: 0,
            expires_at: now + PROBE_TIMEOUT,
        });
        Some(ProbeCluster { bps: probe_bps as u64, bytes })
    }

    /// The probe ended before the packet `end`.
    pub(super) fn on_sent(&mut self, now: Instant, end: u64) {
        if let Some(probe) = self.in_flight.as_mut() {
            probe.packets.end = end;
            probe.expires_at = now + PROBE_TIMEOUT;
        }
    }

    /// The link is congested or lossy: no probe for a second.
    pub(super) fn postpone(&mut self, now: Instant) {
        self.next_at = self.next_at.max(now + Duration::from_millis(1_000));
    }

    /// Records feedback of a packet; returns the measured rate once the last packet of the probe is reported.
    pub(super) fn on_packet(
        &mut self,
        now: Instant,
        packet: &PacketResult,
        rate: f64,
    ) -> Option<f64> {
        let probe = self.in_flight.as_mut()?;
        probe.add_packet(packet);
        if packet.index.saturating_add(1) < probe.packets.end {
            return None;
        }
        let measured = probe.measured_bps().filter(|measured| *measured > rate);
        match measured {
            Some(_) => {
                self.in_flight = None;
                self.next_at = now;
                self.interval = MIN_PROBE_INTERVAL;
                self.credit_bytes = self.credit_bytes.max(0.0); // a successful probe costs nothing
            }
            None => self.on_failure(now),
        }
        measured
    }

    fn on_failure(&mut self, now: Instant) {
        self.in_flight = None;
        self.next_at = now + self.interval;
        self.interval = (self.interval * 3 / 2).min(MAX_PROBE_INTERVAL);
    }
}

impl ProbeInFlight {
    fn add_packet(&mut self, packet: &PacketResult) {
        let Some(arrived) = packet.arrived_at else { return };
        if !self.packets.contains(&packet.index) {
            return;
        }
        self.received_count += 1;
        self.received_bytes += packet.bytes;
        self.last_sent_bytes = packet.bytes;
        let sent = self.send_span.get_or_insert((packet.sent_at, packet.sent_at));
        sent.1 = sent.1.max(packet.sent_at);
        match &mut self.arrival_span {
            None => {
                self.arrival_span = Some((arrived, arrived));
                self.first_arrived_bytes = packet.bytes;
            }
            Some((first, last)) => (*first, *last) = ((*first).min(arrived), (*last).max(arrived)),
        }
    }

    /// The rate at which the probe arrived, at most the probe rate.
    fn measured_bps(&self) -> Option<f64> {
        let packet_count = self.packets.end.saturating_sub(self.packets.start);
        if self.received_count < 3
            || (self.received_count as f64) < MIN_RECEIVED_RATIO * packet_count as f64
        {
            return None;
        }
        let ((first_sent, last_sent), (first, last)) = (self.send_span?, self.arrival_span?);
        let send_seconds = last_sent.saturating_duration_since(first_sent).as_secs_f64();
        let arrival_seconds = last.saturating_sub(first).as_secs_f64();
        let send_bps =
            bps_over(self.received_bytes - self.last_sent_bytes, send_seconds).min(self.bps);
        let arrival_bps = bps_over(self.received_bytes - self.first_arrived_bytes, arrival_seconds);
        Some(if arrival_bps < MIN_RECEIVED_SENT_RATIO * send_bps {
            arrival_bps * TARGET_UTILIZATION
        } else {
            arrival_bps.min(send_bps)
        })
    }
}

/// Bits per second; infinite if everything arrived at the same moment.
fn bps_over(bytes: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};

    /// A probe of ten packets, one every 8 ms, that arrive `gap` ms apart; each `lost`th is lost.
    fn found(gap: u64, lost: u64) -> Option<f64> {
        let epoch = start();
        let mut controller = ProbeController::new(epoch);
        let probe = controller.start_probe(epoch, 400_000.0, 2_000_000.0, 10).unwrap();
        assert_eq!(probe, ProbeCluster { bps: 1_200_000, bytes: 5_000 });
        (10..20).fold(None, |found, index| {
            let n = index - 10;
            let arrived = (index % lost != 0).then(|| ms(n * gap));
            if index == 15 {
                controller.on_sent(epoch + ms(72), 20);
            }
            let packet = PacketResult {
                index,
                sent_at: epoch + ms(n * 8),
                bytes: 1_200,
                arrived_at: arrived,
            };
            found.or(controller.on_packet(epoch + ms(200), &packet, 400_000.0))
        })
    }

    #[test]
    fn undelayed_probe_reports_its_send_rate() {
        assert_eq!(found(8, 99), Some(1_200_000.0));
    }

    #[test]
    fn stretched_probe_reports_available_bandwidth() {
        assert_eq!(found(16, 99), Some(570_000.0));
        assert_eq!(found(32, 99), None, "no more than the current estimate");
    }

    #[test]
    fn probe_with_loss_yields_no_result() {
        assert_eq!(found(8, 2), None);
    }

    /// When probes without feedback are started, if `earned` bytes are sent every 100 ms.
    fn orders(earned: usize) -> Vec<u64> {
        let epoch = start();
        let mut controller = ProbeController::new(epoch);
        let times: Vec<_> = (0..25_000)
            .step_by(100)
            .filter(|at| {
                controller.add_credit(earned);
                let started = controller.start_probe(epoch + ms(*at), 1e6, 2e6, 1).is_some();
                if started {
                    controller.on_sent(epoch + ms(*at), 9);
                }
                started
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
        let (per_tenth, probes) = (500, orders(500).len());
        assert!((2..=4).contains(&probes), "{probes}");
        let spent = (probes - 2) * MIN_PROBE_BYTES; // two are covered by the initial credit
        assert!(spent as f64 <= PROBE_TRAFFIC_SHARE * 250.0 * per_tenth as f64);
    }

    #[test]
    fn no_probe_when_estimate_meets_demand() {
        let epoch = start();
        assert_eq!(ProbeController::new(epoch).start_probe(epoch, 1e6, 1e6, 1), None);
    }
}
