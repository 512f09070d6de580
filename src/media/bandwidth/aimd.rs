//! AIMD rate control: the rate that the delay allows grows additively or multiplicatively and decreases
//! multiplicatively (draft-ietf-rmcat-gcc-02 §5.5, `AimdRateControl` of libwebrtc).

use std::time::{Duration, Instant};

use super::trendline::BandwidthUsage;
use crate::limits::{
    MAX_ACKED_EXCESS_BPS, MAX_ACKED_RATIO, MIN_ADDITIVE_INCREASE_BPS_PER_SECOND,
    MIN_APPLICATION_LIMITED_RATIO,
};

/// The rate after overuse, as a share of the acknowledged bitrate.
const DECREASE_FACTOR: f64 = 0.85;
/// Multiplicative increase per second, far from the link capacity.
const INCREASE_FACTOR: f64 = 1.08;
/// Size of a packet for the additive increase, in bits.
const PACKET_BITS: f64 = 9_600.0;

/// The capacity at which overuse was detected recently (`LinkCapacityEstimator` of libwebrtc).
#[derive(Clone, Copy, Debug)]
struct LinkCapacityEstimator {
    /// Mean in kbit/s.
    mean_kbps: f64,
    /// Variance divided by the mean, in kbit/s.
    variance_ratio_kbps: f64,
}

/// Whether the rate may increase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateControlState {
    Increase,
    Hold,
}

/// Delay-based rate in bits per second.
#[derive(Debug)]
pub(super) struct AimdRateControl {
    bps: f64,
    state: RateControlState,
    capacity: Option<LinkCapacityEstimator>,
    changed_at: Instant,
    decreased_at: Option<Instant>,
}

impl AimdRateControl {
    /// Starts with the given rate in bits per second.
    pub(super) fn new(now: Instant, bps: f64) -> Self {
        Self {
            bps,
            state: RateControlState::Increase,
            capacity: None,
            changed_at: now,
            decreased_at: None,
        }
    }

    /// The current rate in bits per second.
    pub(super) fn bps(&self) -> f64 {
        self.bps
    }

    /// Sets the rate from another source, a probe or loss. The link capacity must be found again.
    pub(super) fn set(&mut self, now: Instant, rate: f64) {
        self.bps = rate;
        self.changed_at = now;
        self.capacity = None;
    }

    /// Time has passed during which the rate must not grow.
    pub(super) fn hold_increase(&mut self, now: Instant) {
        self.changed_at = now;
    }

    /// Limits the rate to the given range.
    pub(super) fn clamp(&mut self, min_bps: f64, max_bps: f64) {
        self.bps = self.bps.clamp(min_bps, max_bps);
    }

    /// Updates the rate for the time since the last change. `acked` is the acknowledged bitrate in bits per
    /// second; `application_limited` tells that less was sent than the rate allows.
    pub(super) fn update(
        &mut self,
        now: Instant,
        usage: BandwidthUsage,
        acked: Option<f64>,
        round_trip: Duration,
        application_limited: bool,
    ) {
        let elapsed = now.saturating_duration_since(self.changed_at).min(Duration::from_secs(1));
        match usage {
            BandwidthUsage::Over => self.decrease(now, acked, round_trip, application_limited),
            BandwidthUsage::Under => self.hold(now),
            BandwidthUsage::Normal if self.state == RateControlState::Hold => {
                self.state = RateControlState::Increase;
                self.changed_at = now;
            }
            BandwidthUsage::Normal => self.increase(now, elapsed.as_secs_f64(), acked, round_trip),
        }
    }

    fn hold(&mut self, now: Instant) {
        self.state = RateControlState::Hold;
        self.changed_at = now;
    }

    fn decrease(
        &mut self,
        now: Instant,
        acked: Option<f64>,
        round_trip: Duration,
        application_limited: bool,
    ) {
        let min_interval = round_trip.clamp(Duration::from_millis(10), Duration::from_millis(200));
        let too_soon =
            self.decreased_at.is_some_and(|at| now.saturating_duration_since(at) < min_interval);
        let is_far_too_high =
            !application_limited && acked.is_some_and(|acked| acked < self.bps * 0.5);
        self.hold(now);
        if too_soon && !is_far_too_high {
            return;
        }
        let mut decreased = acked.map_or(self.bps * 0.5, |acked| acked * DECREASE_FACTOR);
        if application_limited {
            decreased = decreased.max(self.bps * MIN_APPLICATION_LIMITED_RATIO);
        } else if let Some(acked) = acked {
            self.on_capacity_sample(acked);
        }
        self.bps = self.bps.min(decreased);
        self.decreased_at = Some(now);
    }

    fn increase(&mut self, now: Instant, seconds: f64, acked: Option<f64>, round_trip: Duration) {
        if let (Some(acked), Some(capacity)) = (acked, self.capacity)
            && acked > capacity.upper_bound_bps()
        {
            self.capacity = None;
        }
        let increased = if self.capacity.is_some() {
            // Near the capacity: one packet more per response time.
            let response = round_trip.as_secs_f64() + 0.1;
            self.bps + (PACKET_BITS / response).max(MIN_ADDITIVE_INCREASE_BPS_PER_SECOND) * seconds
        } else {
            self.bps * INCREASE_FACTOR.powf(seconds) + 1_000.0 * seconds
        };
        let limit = acked.map_or(self.bps, |acked| acked * MAX_ACKED_RATIO + MAX_ACKED_EXCESS_BPS);
        self.bps = increased.min(limit.max(self.bps));
        self.changed_at = now;
    }

    fn on_capacity_sample(&mut self, acked: f64) {
        let sample = acked / 1_000.0;
        let capacity = match self.capacity {
            Some(capacity) if acked >= capacity.lower_bound_bps() => {
                let mean = 0.95 * capacity.mean_kbps + 0.05 * sample;
                let error = (mean - sample).powi(2) / mean.max(1.0);
                let deviation =
                    (0.95 * capacity.variance_ratio_kbps + 0.05 * error).clamp(0.4, 2.5);
                LinkCapacityEstimator { mean_kbps: mean, variance_ratio_kbps: deviation }
            }
            // Far below the previous capacity: the link has changed.
            _ => LinkCapacityEstimator { mean_kbps: sample, variance_ratio_kbps: 0.4 },
        };
        self.capacity = Some(capacity);
    }
}

impl LinkCapacityEstimator {
    fn spread_kbps(self) -> f64 {
        3.0 * (self.variance_ratio_kbps * self.mean_kbps).sqrt()
    }

    fn upper_bound_bps(self) -> f64 {
        (self.mean_kbps + self.spread_kbps()) * 1_000.0
    }

    fn lower_bound_bps(self) -> f64 {
        (self.mean_kbps - self.spread_kbps()) * 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};

    #[test]
    fn aimd_drops_below_throughput_then_grows_slowly() {
        let epoch = start();
        let mut aimd = AimdRateControl::new(epoch, 1_000_000.0);
        aimd.update(epoch + ms(100), BandwidthUsage::Over, Some(800_000.0), ms(50), false);
        assert_eq!(aimd.bps(), 680_000.0);
        aimd.update(epoch + ms(110), BandwidthUsage::Over, Some(700_000.0), ms(50), false);
        assert_eq!(aimd.bps(), 680_000.0, "at most one decrease per round trip");
        for n in 2..=11 {
            aimd.update(
                epoch + ms(n * 100),
                BandwidthUsage::Normal,
                Some(680_000.0),
                ms(50),
                false,
            );
        }
        assert!((735_000.0..745_000.0).contains(&aimd.bps()), "{}", aimd.bps());
    }

    #[test]
    fn application_limited_rate_holds_and_at_most_halves() {
        let epoch = start();
        let mut aimd = AimdRateControl::new(epoch, 1_000_000.0);
        for n in 1..50 {
            aimd.update(epoch + ms(n * 100), BandwidthUsage::Normal, Some(100_000.0), ms(50), true);
        }
        assert_eq!(aimd.bps(), 1_000_000.0);
        aimd.update(epoch + ms(6_000), BandwidthUsage::Over, Some(100_000.0), ms(50), true);
        assert_eq!(aimd.bps(), 500_000.0);
    }
}
