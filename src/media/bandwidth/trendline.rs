//! Trendline estimator and overuse detector: the slope of the queuing delay over the last packet groups,
//! compared with an adaptive threshold (draft-ietf-rmcat-gcc-02 §5.4; least squares as in libwebrtc).

use std::collections::VecDeque;
use std::time::Duration;

use super::inter_arrival::{DelayDelta, millis};
use crate::limits::{MAX_DELTAS, MAX_THRESHOLD_EXCESS_MS, MAX_THRESHOLD_MS, MIN_THRESHOLD_MS};

/// Number of groups over which the slope is computed.
const WINDOW_GROUPS: usize = 20;
/// Weight of the previous value in the exponential smoothing of the delay.
const DELAY_SMOOTHING: f64 = 0.9;
/// Gain of the slope before it is compared with the threshold.
const TREND_GAIN: f64 = 4.0;
/// Adaptation speed of the threshold when the trend is above it, per ms.
const THRESHOLD_GAIN_UP: f64 = 0.0087;
/// Adaptation speed of the threshold when the trend is below it, per ms.
const THRESHOLD_GAIN_DOWN: f64 = 0.039;
/// Threshold before the first adaptation.
const INITIAL_THRESHOLD_MS: f64 = 12.5;
/// Overuse must last this long to be signalled, in ms.
const OVERUSE_TIME_MS: f64 = 10.0;

/// State of the bottleneck queue (`BandwidthUsage` of libwebrtc).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BandwidthUsage {
    /// The queue is stable.
    Normal,
    /// The queue grows.
    Over,
    /// The queue drains.
    Under,
}

/// Estimates the trend of the queuing delay.
#[derive(Debug)]
pub(super) struct TrendlineEstimator {
    delta_count: u32,
    accumulated_ms: f64,
    smoothed_ms: f64,
    /// Arrival time in ms and smoothed delay in ms.
    points: VecDeque<(f64, f64)>,
    first_arrival: Option<Duration>,
    threshold_ms: f64,
    adapted_at: Option<Duration>,
    overuse_ms: f64,
    overuse_count: u32,
    slope: f64,
    usage: BandwidthUsage,
}

impl TrendlineEstimator {
    /// An estimator without samples.
    pub(super) fn new() -> Self {
        Self {
            delta_count: 0,
            accumulated_ms: 0.0,
            smoothed_ms: 0.0,
            points: VecDeque::with_capacity(WINDOW_GROUPS),
            first_arrival: None,
            threshold_ms: INITIAL_THRESHOLD_MS,
            adapted_at: None,
            overuse_ms: 0.0,
            overuse_count: 0,
            slope: 0.0,
            usage: BandwidthUsage::Normal,
        }
    }

    /// The state detected by the last update.
    pub(super) fn usage(&self) -> BandwidthUsage {
        self.usage
    }

    /// Adds a delta between packet groups and updates the state.
    pub(super) fn update(&mut self, delta: DelayDelta) {
        let first = *self.first_arrival.get_or_insert(delta.arrival);
        self.delta_count = (self.delta_count + 1).min(MAX_DELTAS);
        self.accumulated_ms += delta.arrival_ms - delta.sent_ms;
        self.smoothed_ms =
            DELAY_SMOOTHING * self.smoothed_ms + (1.0 - DELAY_SMOOTHING) * self.accumulated_ms;
        if self.points.len() == WINDOW_GROUPS {
            self.points.pop_front();
        }
        self.points.push_back((millis(delta.arrival) - millis(first), self.smoothed_ms));
        let previous_slope = self.slope;
        if self.points.len() == WINDOW_GROUPS {
            self.slope = slope(&self.points).unwrap_or(self.slope);
        }
        let trend = f64::from(self.delta_count) * self.slope * TREND_GAIN;
        self.detect(trend, previous_slope, delta.sent_ms);
        self.adapt_threshold(trend, delta.arrival);
    }

    fn detect(&mut self, trend: f64, previous_slope: f64, sent_delta: f64) {
        if self.delta_count < 2 {
            return;
        }
        if trend > self.threshold_ms {
            self.overuse_ms += if self.overuse_count == 0 { sent_delta / 2.0 } else { sent_delta };
            self.overuse_count += 1;
            if self.overuse_ms > OVERUSE_TIME_MS
                && self.overuse_count > 1
                && self.slope >= previous_slope
            {
                self.overuse_ms = 0.0;
                self.overuse_count = 0;
                self.usage = BandwidthUsage::Over;
            }
            return;
        }
        self.overuse_ms = 0.0;
        self.overuse_count = 0;
        self.usage =
            if trend < -self.threshold_ms { BandwidthUsage::Under } else { BandwidthUsage::Normal };
    }

    fn adapt_threshold(&mut self, trend: f64, arrival: Duration) {
        let elapsed = arrival.saturating_sub(self.adapted_at.unwrap_or(arrival));
        self.adapted_at = Some(arrival);
        if trend.abs() > self.threshold_ms + MAX_THRESHOLD_EXCESS_MS {
            return;
        }
        let gain =
            if trend.abs() < self.threshold_ms { THRESHOLD_GAIN_DOWN } else { THRESHOLD_GAIN_UP };
        let change = gain * (trend.abs() - self.threshold_ms) * millis(elapsed).min(100.0);
        self.threshold_ms = (self.threshold_ms + change).clamp(MIN_THRESHOLD_MS, MAX_THRESHOLD_MS);
    }
}

/// Slope by least squares; `None` if all points have the same time.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let (covariance, variance) = points.iter().fold((0.0, 0.0), |(covariance, variance), point| {
        let offset = point.0 - x;
        (covariance + offset * (point.1 - y), variance + offset * offset)
    });
    (variance > 0.0).then(|| covariance / variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups every 20 ms whose delay grows by `growth` ms each.
    fn usage_after(
        trendline: &mut TrendlineEstimator,
        start_ms: f64,
        groups: u32,
        growth: f64,
    ) -> BandwidthUsage {
        for n in 0..groups {
            let at = Duration::from_secs_f64((start_ms + f64::from(n) * (20.0 + growth)) / 1_000.0);
            trendline.update(DelayDelta { sent_ms: 20.0, arrival_ms: 20.0 + growth, arrival: at });
        }
        trendline.usage()
    }

    #[test]
    fn growing_delay_is_overuse_and_shrinking_is_underuse() {
        let mut trendline = TrendlineEstimator::new();
        assert_eq!(usage_after(&mut trendline, 0.0, 50, 0.0), BandwidthUsage::Normal);
        assert_eq!(usage_after(&mut trendline, 1_000.0, 30, 4.0), BandwidthUsage::Over);
        assert_eq!(usage_after(&mut trendline, 2_000.0, 60, -4.0), BandwidthUsage::Under);
        assert_eq!(usage_after(&mut trendline, 3_200.0, 100, 0.0), BandwidthUsage::Normal);
    }

    #[test]
    fn slope_requires_distinct_times() {
        assert_eq!(slope(&VecDeque::from([(1.0, 2.0), (1.0, 3.0)])), None);
        assert_eq!(slope(&VecDeque::from([(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)])), Some(2.0));
    }
}
