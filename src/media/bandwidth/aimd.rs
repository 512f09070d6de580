//! The rate that the delay allows: it grows carefully and falls at once
//! (draft-ietf-rmcat-gcc-02 §5.5).

use std::time::{Duration, Instant};

use super::trendline::BandwidthUsage;

/// What remains of the measured rate when the way fills up.
const DECREASE_FACTOR: f64 = 0.85;
/// Growth in a second, far from the capacity.
const INCREASE_FACTOR: f64 = 1.08;
/// The rate may exceed what is measured by this factor, and a little.
const AHEAD: f64 = 1.5;
const AHEAD_BITS: f64 = 10_000.0;
/// A rate that is not used is not known to be too much: it falls by half at most.
const KEEP_UNUSED: f64 = 0.5;
const PACKET_BITS: f64 = 9_600.0;
const SLOWEST_GROWTH: f64 = 4_000.0;

/// Where the capacity was found the last times.
#[derive(Clone, Copy, Debug)]
struct LinkCapacityEstimator {
    /// In kbit/s.
    mean: f64,
    /// The variance divided by the mean, in kbit/s.
    deviation: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RateControlState {
    Grow,
    Hold,
}

#[derive(Debug)]
pub(super) struct AimdRateControl {
    rate: f64,
    phase: RateControlState,
    capacity: Option<LinkCapacityEstimator>,
    changed_at: Instant,
    reduced_at: Option<Instant>,
}

impl AimdRateControl {
    pub(super) fn new(now: Instant, rate: f64) -> Self {
        Self {
            rate,
            phase: RateControlState::Grow,
            capacity: None,
            changed_at: now,
            reduced_at: None,
        }
    }

    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// The rate is known to be this from elsewhere: a probe, or loss. The capacity must be found
    /// anew.
    pub(super) fn set(&mut self, now: Instant, rate: f64) {
        self.rate = rate;
        self.changed_at = now;
        self.capacity = None;
    }

    /// Time has passed in which it was no good to grow.
    pub(super) fn wait(&mut self, now: Instant) {
        self.changed_at = now;
    }

    pub(super) fn bound(&mut self, least: f64, most: f64) {
        self.rate = self.rate.clamp(least, most);
    }

    /// Time has passed in which the way behaved like this. `arriving` is what is measured there,
    /// `unused` whether less was sent than the rate allows.
    pub(super) fn update(
        &mut self,
        now: Instant,
        usage: BandwidthUsage,
        arriving: Option<f64>,
        round_trip: Duration,
        unused: bool,
    ) {
        let since = now.saturating_duration_since(self.changed_at).min(Duration::from_secs(1));
        match usage {
            BandwidthUsage::Over => self.reduce(now, arriving, round_trip, unused),
            BandwidthUsage::Under => self.hold(now),
            BandwidthUsage::Normal if self.phase == RateControlState::Hold => {
                self.phase = RateControlState::Grow;
                self.changed_at = now;
            }
            BandwidthUsage::Normal => self.grow(now, since.as_secs_f64(), arriving, round_trip),
        }
    }

    fn hold(&mut self, now: Instant) {
        self.phase = RateControlState::Hold;
        self.changed_at = now;
    }

    fn reduce(&mut self, now: Instant, arriving: Option<f64>, round_trip: Duration, unused: bool) {
        let wait = round_trip.clamp(Duration::from_millis(10), Duration::from_millis(200));
        let too_soon = self.reduced_at.is_some_and(|at| now.saturating_duration_since(at) < wait);
        let far_off = !unused && arriving.is_some_and(|arriving| arriving < self.rate * 0.5);
        self.hold(now);
        if too_soon && !far_off {
            return;
        }
        let mut reduced = arriving.map_or(self.rate * 0.5, |arriving| arriving * DECREASE_FACTOR);
        if unused {
            reduced = reduced.max(self.rate * KEEP_UNUSED);
        } else if let Some(arriving) = arriving {
            self.found(arriving);
        }
        self.rate = self.rate.min(reduced);
        self.reduced_at = Some(now);
    }

    fn grow(&mut self, now: Instant, seconds: f64, arriving: Option<f64>, round_trip: Duration) {
        if let (Some(arriving), Some(capacity)) = (arriving, self.capacity)
            && arriving > capacity.highest()
        {
            self.capacity = None;
        }
        let grown = if self.capacity.is_some() {
            // Near the capacity: one packet more in each time that it takes to notice.
            let response = round_trip.as_secs_f64() + 0.1;
            self.rate + (PACKET_BITS / response).max(SLOWEST_GROWTH) * seconds
        } else {
            self.rate * INCREASE_FACTOR.powf(seconds) + 1_000.0 * seconds
        };
        let most = arriving.map_or(self.rate, |arriving| arriving * AHEAD + AHEAD_BITS);
        self.rate = grown.min(most.max(self.rate));
        self.changed_at = now;
    }

    fn found(&mut self, arriving: f64) {
        let sample = arriving / 1_000.0;
        let capacity = match self.capacity {
            Some(capacity) if arriving >= capacity.lowest() => {
                let mean = 0.95 * capacity.mean + 0.05 * sample;
                let error = (mean - sample).powi(2) / mean.max(1.0);
                let deviation = (0.95 * capacity.deviation + 0.05 * error).clamp(0.4, 2.5);
                LinkCapacityEstimator { mean, deviation }
            }
            // Far below what was known: the way has changed.
            _ => LinkCapacityEstimator { mean: sample, deviation: 0.4 },
        };
        self.capacity = Some(capacity);
    }
}

impl LinkCapacityEstimator {
    fn spread(self) -> f64 {
        3.0 * (self.deviation * self.mean).sqrt()
    }

    fn highest(self) -> f64 {
        (self.mean + self.spread()) * 1_000.0
    }

    fn lowest(self) -> f64 {
        (self.mean - self.spread()) * 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};

    #[test]
    fn aimd_drops_below_throughput_then_grows_slowly() {
        let begin = start();
        let mut aimd = AimdRateControl::new(begin, 1_000_000.0);
        aimd.update(begin + ms(100), BandwidthUsage::Over, Some(800_000.0), ms(50), false);
        assert_eq!(aimd.rate(), 680_000.0);
        aimd.update(begin + ms(110), BandwidthUsage::Over, Some(700_000.0), ms(50), false);
        assert_eq!(aimd.rate(), 680_000.0, "not twice in a round trip");
        for n in 2..=11 {
            aimd.update(
                begin + ms(n * 100),
                BandwidthUsage::Normal,
                Some(680_000.0),
                ms(50),
                false,
            );
        }
        assert!((735_000.0..745_000.0).contains(&aimd.rate()), "{}", aimd.rate());
    }

    #[test]
    fn application_limited_rate_holds_and_at_most_halves() {
        let begin = start();
        let mut aimd = AimdRateControl::new(begin, 1_000_000.0);
        for n in 1..50 {
            aimd.update(begin + ms(n * 100), BandwidthUsage::Normal, Some(100_000.0), ms(50), true);
        }
        assert_eq!(aimd.rate(), 1_000_000.0);
        aimd.update(begin + ms(6_000), BandwidthUsage::Over, Some(100_000.0), ms(50), true);
        assert_eq!(aimd.rate(), 500_000.0);
    }
}
