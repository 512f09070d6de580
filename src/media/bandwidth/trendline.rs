//! Whether the way fills up: the slope of the delay over the last groups, against a threshold that
//! adapts itself (draft-ietf-rmcat-gcc-02 §5.4; the slope is by least squares, as in libwebrtc).

use std::collections::VecDeque;
use std::time::Duration;

use super::inter_arrival::{DelayDelta, millis};

const GROUPS: usize = 20;
const SMOOTHING: f64 = 0.9;
/// The slope is multiplied by how many groups were seen, of these at most, and by the gain.
const MAX_DELTAS: u32 = 60;
const GAIN: f64 = 4.0;
const THRESHOLD_GAIN_UP: f64 = 0.0087;
const THRESHOLD_GAIN_DOWN: f64 = 0.039;
const FIRST_THRESHOLD: f64 = 12.5;
const MIN_THRESHOLD_MS: f64 = 6.0;
const MAX_THRESHOLD_MS: f64 = 600.0;
/// A trend further above the threshold than this is an exception that must not move it.
const EXCEPTION: f64 = 15.0;
/// The way must fill up for so long, in ms.
const OVERUSE_TIME_MS: f64 = 10.0;

/// What the way does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BandwidthUsage {
    /// Its queue is steady.
    Normal,
    /// Its queue grows.
    Over,
    /// Its queue empties.
    Under,
}

#[derive(Debug)]
pub(super) struct TrendlineEstimator {
    steps: u32,
    accumulated: f64,
    smoothed: f64,
    /// When, in ms, and the smoothed delay then.
    points: VecDeque<(f64, f64)>,
    begin: Option<Duration>,
    threshold: f64,
    adapted_at: Option<Duration>,
    over_for: f64,
    over_count: u32,
    slope: f64,
    usage: BandwidthUsage,
}

impl TrendlineEstimator {
    pub(super) fn new() -> Self {
        Self {
            steps: 0,
            accumulated: 0.0,
            smoothed: 0.0,
            points: VecDeque::with_capacity(GROUPS),
            begin: None,
            threshold: FIRST_THRESHOLD,
            adapted_at: None,
            over_for: 0.0,
            over_count: 0,
            slope: 0.0,
            usage: BandwidthUsage::Normal,
        }
    }

    pub(super) fn usage(&self) -> BandwidthUsage {
        self.usage
    }

    pub(super) fn step(&mut self, step: DelayDelta) {
        let begin = *self.begin.get_or_insert(step.at);
        self.steps = (self.steps + 1).min(MAX_DELTAS);
        self.accumulated += step.arrived - step.sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        if self.points.len() == GROUPS {
            self.points.pop_front();
        }
        self.points.push_back((millis(step.at) - millis(begin), self.smoothed));
        let before = self.slope;
        if self.points.len() == GROUPS {
            self.slope = slope(&self.points).unwrap_or(self.slope);
        }
        let trend = f64::from(self.steps) * self.slope * GAIN;
        self.detect(trend, before, step.sent);
        self.adapt(trend, step.at);
    }

    fn detect(&mut self, trend: f64, slope_before: f64, apart: f64) {
        if self.steps < 2 {
            return;
        }
        if trend > self.threshold {
            self.over_for += if self.over_count == 0 { apart / 2.0 } else { apart };
            self.over_count += 1;
            if self.over_for > OVERUSE_TIME_MS && self.over_count > 1 && self.slope >= slope_before
            {
                self.over_for = 0.0;
                self.over_count = 0;
                self.usage = BandwidthUsage::Over;
            }
            return;
        }
        self.over_for = 0.0;
        self.over_count = 0;
        self.usage =
            if trend < -self.threshold { BandwidthUsage::Under } else { BandwidthUsage::Normal };
    }

    fn adapt(&mut self, trend: f64, at: Duration) {
        let since = at.saturating_sub(self.adapted_at.unwrap_or(at));
        self.adapted_at = Some(at);
        if trend.abs() > self.threshold + EXCEPTION {
            return;
        }
        let pace =
            if trend.abs() < self.threshold { THRESHOLD_GAIN_DOWN } else { THRESHOLD_GAIN_UP };
        let moved = pace * (trend.abs() - self.threshold) * millis(since).min(100.0);
        self.threshold = (self.threshold + moved).clamp(MIN_THRESHOLD_MS, MAX_THRESHOLD_MS);
    }
}

/// Least squares; `None` if all points are of one moment.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        let from = point.0 - x;
        (above + from * (point.1 - y), below + from * from)
    });
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups every 20 ms whose delay grows by so many ms each.
    fn usage_after(
        trend: &mut TrendlineEstimator,
        begin: f64,
        groups: u32,
        growth: f64,
    ) -> BandwidthUsage {
        for n in 0..groups {
            let at = Duration::from_secs_f64((begin + f64::from(n) * (20.0 + growth)) / 1_000.0);
            trend.step(DelayDelta { sent: 20.0, arrived: 20.0 + growth, at });
        }
        trend.usage()
    }

    #[test]
    fn growing_delay_is_overuse_and_shrinking_is_underuse() {
        let mut trend = TrendlineEstimator::new();
        assert_eq!(usage_after(&mut trend, 0.0, 50, 0.0), BandwidthUsage::Normal);
        assert_eq!(usage_after(&mut trend, 1_000.0, 30, 4.0), BandwidthUsage::Over);
        assert_eq!(usage_after(&mut trend, 2_000.0, 60, -4.0), BandwidthUsage::Under);
        assert_eq!(usage_after(&mut trend, 3_200.0, 100, 0.0), BandwidthUsage::Normal);
    }

    #[test]
    fn slope_requires_distinct_times() {
        assert_eq!(slope(&VecDeque::from([(1.0, 2.0), (1.0, 3.0)])), None);
        assert_eq!(slope(&VecDeque::from([(1.0, 2.0), (2.0, 4.0), (3.0, 6.0)])), Some(2.0));
    }
}
