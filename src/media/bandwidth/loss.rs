//! Loss-based control. The thresholds are those of draft-ietf-rmcat-gcc-02 §6, applied to the loss in excess of
//! the link's inherent loss: a poor radio link must not be mistaken for a congested one. A trial with a lower
//! rate distinguishes the two.

use std::time::{Duration, Instant};

use crate::limits::{
    MAX_INHERENT_LOSS, MAX_LOSS_WINDOW, MIN_SEVERE_DECREASE_RATIO, MIN_WINDOW_PACKETS,
};

/// Loss is evaluated over a window of at least this duration and number of packets.
const LOSS_WINDOW: Duration = Duration::from_millis(500);
/// Excess loss above this starts a trial if it lasts.
const LOW_LOSS_RATIO: f64 = 0.02;
/// Excess loss above this starts a trial at once.
const HIGH_LOSS_RATIO: f64 = 0.10;
/// Number of lossy windows in a row that starts a trial.
const LOSSY_WINDOWS_BEFORE_TRIAL: u32 = 3;
/// A trial lowers the rate by this share, unless more was lost.
const DECREASE_RATIO: f64 = 0.15;
/// Number of windows that a trial lasts.
const TRIAL_WINDOWS: u32 = 2;
/// Above this loss no trial is made: the rate drops to what was received, but not below a share.
const SEVERE_LOSS_RATIO: f64 = 0.4;
/// Gain of the average of the inherent loss.
const INHERENT_LOSS_GAIN: f64 = 0.1;

/// Tests whether a lower rate reduces the loss.
#[derive(Clone, Copy, Debug)]
struct InherentLossTrial {
    bps: f64,
    loss_before: f64,
    /// The expected loss if the rate was too high.
    expected_loss: f64,
    loss_sum: f64,
    windows: u32,
    /// Feedback before this time still concerns packets from before the trial.
    starts_at: Instant,
}

/// Loss-based rate limit of one link.
#[derive(Debug)]
pub(super) struct LossController {
    inherent_loss: f64,
    trial: Option<InherentLossTrial>,
    /// Number of consecutive lossy windows, and the sum of their loss.
    lossy_windows: (u32, f64),
    window_start: Instant,
    sent: u32,
    lost: u32,
}

impl LossController {
    /// A controller that has seen no packets.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            inherent_loss: 0.0,
            trial: None,
            lossy_windows: (0, 0.0),
            window_start: now,
            sent: 0,
            lost: 0,
        }
    }

    /// The rate limit during a trial, in bits per second.
    pub(super) fn limit_bps(&self) -> Option<f64> {
        self.trial.map(|trial| trial.bps)
    }

    /// Whether the loss exceeds the inherent loss of the link.
    pub(super) fn is_excessive(&self) -> bool {
        self.trial.is_some() || self.lossy_windows.0 > 0
    }

    /// The delay shows congestion: no trial is needed, and its result would be meaningless.
    pub(super) fn on_overuse(&mut self, now: Instant) {
        self.trial = None;
        self.lossy_windows = (0, 0.0);
        self.start_window(now);
    }

    /// Records packets sent and lost; `rate` is the allowed rate in bits per second. Returns a lower rate if
    /// that one was found to be too high. Feedback takes `delay` to arrive.
    pub(super) fn on_packets(
        &mut self,
        now: Instant,
        (sent, lost): (u32, u32),
        rate: f64,
        delay: Duration,
    ) -> Option<f64> {
        if now < self.window_start {
            return None;
        }
        self.sent += sent;
        self.lost += lost;
        let elapsed = now.saturating_duration_since(self.window_start);
        let is_complete = elapsed >= LOSS_WINDOW && self.sent >= MIN_WINDOW_PACKETS;
        if self.sent == 0 || !(is_complete || elapsed >= MAX_LOSS_WINDOW) {
            return None;
        }
        let loss = f64::from(self.lost) / f64::from(self.sent);
        self.start_window(now);
        self.on_loss(now, loss.min(1.0), rate, delay)
    }

    /// Handles the loss of a whole window, as a receiver reports it; otherwise like [`Self::on_packets`].
    pub(super) fn on_loss(
        &mut self,
        now: Instant,
        loss: f64,
        rate: f64,
        delay: Duration,
    ) -> Option<f64> {
        if let Some(trial) = self.trial {
            return self.continue_trial(now, trial, loss);
        }
        let excess = loss - self.inherent_loss;
        if excess <= LOW_LOSS_RATIO {
            self.inherent_loss += excess * INHERENT_LOSS_GAIN;
            self.lossy_windows = (0, 0.0);
            return None;
        }
        self.lossy_windows = (self.lossy_windows.0 + 1, self.lossy_windows.1 + loss);
        if loss > SEVERE_LOSS_RATIO {
            self.lossy_windows = (0, 0.0);
            self.start_window(now + delay);
            return Some(rate * (1.0 - loss).max(MIN_SEVERE_DECREASE_RATIO));
        }
        if excess > HIGH_LOSS_RATIO {
            self.start_trial(now, loss, DECREASE_RATIO.max(excess / 2.0), rate, delay);
        } else if self.lossy_windows.0 >= LOSSY_WINDOWS_BEFORE_TRIAL {
            self.start_trial(
                now,
                self.lossy_windows.1 / f64::from(self.lossy_windows.0),
                DECREASE_RATIO,
                rate,
                delay,
            );
        }
        None
    }

    fn start_trial(&mut self, now: Instant, loss: f64, decrease: f64, rate: f64, delay: Duration) {
        self.trial = Some(InherentLossTrial {
            bps: rate * (1.0 - decrease),
            loss_before: loss,
            expected_loss: (1.0 - (1.0 - loss) / (1.0 - decrease)).max(self.inherent_loss),
            loss_sum: 0.0,
            windows: 0,
            starts_at: now + delay,
        });
        self.lossy_windows = (0, 0.0);
    }

    fn continue_trial(
        &mut self,
        now: Instant,
        mut trial: InherentLossTrial,
        loss: f64,
    ) -> Option<f64> {
        if now >= trial.starts_at + LOSS_WINDOW {
            trial.loss_sum += loss;
            trial.windows += 1;
        }
        if trial.windows < TRIAL_WINDOWS {
            self.trial = Some(trial);
            return None;
        }
        self.trial = None;
        let loss_after = trial.loss_sum / f64::from(trial.windows);
        let is_unchanged = loss_after > (trial.loss_before + trial.expected_loss) / 2.0;
        if is_unchanged && self.inherent_loss < MAX_INHERENT_LOSS {
            self.inherent_loss = trial.loss_before.min(loss_after).min(MAX_INHERENT_LOSS);
            return None;
        }
        Some(trial.bps)
    }

    fn start_window(&mut self, at: Instant) {
        (self.sent, self.lost) = (0, 0);
        self.window_start = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};

    /// The rate after a minute on a link with this loss at a rate, if it grows by 5 % per second without
    /// loss.
    fn after_a_minute(loss_at: impl Fn(f64) -> f64) -> f64 {
        let epoch = start();
        let mut loss = LossController::new(epoch);
        let mut rate = 2_000_000.0;
        for n in 1..60 {
            let allowed = loss.limit_bps().unwrap_or(rate);
            let reduced = loss.on_loss(epoch + ms(n * 1_000), loss_at(allowed), rate, ms(100));
            let grown = if loss.is_excessive() { rate } else { (rate * 1.05_f64).min(2_000_000.0) };
            rate = reduced.unwrap_or(grown);
        }
        rate
    }

    #[test]
    fn rate_independent_loss_does_not_lower_estimate() {
        for share in [0.0, 0.05, 0.1, 0.2] {
            assert_eq!(after_a_minute(|_| share), 2_000_000.0, "{share}");
        }
    }

    #[test]
    fn loss_estimator_converges_to_link_capacity() {
        for capacity in [200_000.0, 500_000.0, 1_500_000.0] {
            let rate = after_a_minute(|rate| (1.0 - capacity / rate).max(0.0));
            assert!((capacity * 0.8..capacity * 1.3).contains(&rate), "{rate} of {capacity}");
        }
    }

    #[test]
    fn near_total_loss_drops_rate_below_100_kbps() {
        assert!(after_a_minute(|_| 0.9) < 100_000.0);
    }
}
