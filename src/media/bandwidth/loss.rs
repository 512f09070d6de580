//! Whether less must be sent because of loss. The thresholds are those of draft-ietf-rmcat-gcc-02
//! §6, applied to what exceeds the loss that the way has at any rate: a bad radio must not look like
//! a full way. Which of the two it is, a trial shows.

use std::time::{Duration, Instant};

/// Loss is judged over a window of so long and so many packets.
const WINDOW: Duration = Duration::from_millis(500);
const ENOUGH_PACKETS: u32 = 40;
const LONGEST_WINDOW: Duration = Duration::from_millis(1_500);
/// More than this is a reason for a trial if it lasts, and much more at once.
const LOW_LOSS_RATIO: f64 = 0.02;
const HIGH_LOSS_RATIO: f64 = 0.10;
/// So many windows of some loss lead to a trial.
const PATIENCE: u32 = 3;
/// A trial lowers the rate by this much for two windows, if it is not more that was lost.
const DECREASE_RATIO: f64 = 0.15;
const TRIAL_WINDOWS: u32 = 2;
/// No way is believed to lose more than this by itself.
const MOST_INHERENT: f64 = 0.25;
/// Of so much loss no trial is made: what came is what may be sent, though no less than a share.
const OVERWHELMING: f64 = 0.4;
const LEAST_KEPT: f64 = 0.4;
/// How fast the belief follows what is seen.
const FOLLOW: f64 = 0.1;

/// Whether a lower rate makes the loss go away.
#[derive(Clone, Copy, Debug)]
struct InherentLossTrial {
    rate: f64,
    loss_before: f64,
    /// What the loss will be if it was the rate that was too high.
    loss_hoped_for: f64,
    sum: f64,
    windows: u32,
    /// Before this, what is told is still about packets from before the trial.
    begins: Instant,
}

#[derive(Debug)]
pub(super) struct LossController {
    inherent: f64,
    trial: Option<InherentLossTrial>,
    /// Windows of some loss that followed each other, and their sum.
    held: (u32, f64),
    window_began: Instant,
    sent: u32,
    lost: u32,
}

impl LossController {
    pub(super) fn new(now: Instant) -> Self {
        Self { inherent: 0.0, trial: None, held: (0, 0.0), window_began: now, sent: 0, lost: 0 }
    }

    /// What may be sent during a trial.
    pub(super) fn bound(&self) -> Option<f64> {
        self.trial.map(|trial| trial.rate)
    }

    /// Whether more is lost than the way loses by itself.
    pub(super) fn is_excessive(&self) -> bool {
        self.trial.is_some() || self.held.0 > 0
    }

    /// The delay shows that the way is full: no trial is needed, and none could be believed.
    pub(super) fn stand_back(&mut self, now: Instant) {
        self.trial = None;
        self.held = (0, 0.0);
        self.begin_window(now);
    }

    /// So many packets were sent and lost; `rate` is what may be sent at present. Gives a lower
    /// rate if that one was found to be too high. News take `delay` to come.
    pub(super) fn packets(
        &mut self,
        now: Instant,
        (sent, lost): (u32, u32),
        rate: f64,
        delay: Duration,
    ) -> Option<f64> {
        if now < self.window_began {
            return None;
        }
        self.sent += sent;
        self.lost += lost;
        let lasted = now.saturating_duration_since(self.window_began);
        let whole = lasted >= WINDOW && self.sent >= ENOUGH_PACKETS;
        if self.sent == 0 || !(whole || lasted >= LONGEST_WINDOW) {
            return None;
        }
        let loss = f64::from(self.lost) / f64::from(self.sent);
        self.begin_window(now);
        self.judge(now, loss.min(1.0), rate, delay)
    }

    /// The loss in a whole window, as a receiver reports it; otherwise like [`Self::packets`].
    pub(super) fn judge(
        &mut self,
        now: Instant,
        loss: f64,
        rate: f64,
        delay: Duration,
    ) -> Option<f64> {
        if let Some(trial) = self.trial {
            return self.continue_trial(now, trial, loss);
        }
        let excess = loss - self.inherent;
        if excess <= LOW_LOSS_RATIO {
            self.inherent += excess * FOLLOW;
            self.held = (0, 0.0);
            return None;
        }
        self.held = (self.held.0 + 1, self.held.1 + loss);
        if loss > OVERWHELMING {
            self.held = (0, 0.0);
            self.begin_window(now + delay);
            return Some(rate * (1.0 - loss).max(LEAST_KEPT));
        }
        if excess > HIGH_LOSS_RATIO {
            self.begin_trial(now, loss, DECREASE_RATIO.max(excess / 2.0), rate, delay);
        } else if self.held.0 >= PATIENCE {
            self.begin_trial(
                now,
                self.held.1 / f64::from(self.held.0),
                DECREASE_RATIO,
                rate,
                delay,
            );
        }
        None
    }

    fn begin_trial(&mut self, now: Instant, loss: f64, cut: f64, rate: f64, delay: Duration) {
        self.trial = Some(InherentLossTrial {
            rate: rate * (1.0 - cut),
            loss_before: loss,
            loss_hoped_for: (1.0 - (1.0 - loss) / (1.0 - cut)).max(self.inherent),
            sum: 0.0,
            windows: 0,
            begins: now + delay,
        });
        self.held = (0, 0.0);
    }

    fn continue_trial(
        &mut self,
        now: Instant,
        mut trial: InherentLossTrial,
        loss: f64,
    ) -> Option<f64> {
        if now >= trial.begins + WINDOW {
            trial.sum += loss;
            trial.windows += 1;
        }
        if trial.windows < TRIAL_WINDOWS {
            self.trial = Some(trial);
            return None;
        }
        self.trial = None;
        let after = trial.sum / f64::from(trial.windows);
        let unmoved = after > (trial.loss_before + trial.loss_hoped_for) / 2.0;
        if unmoved && self.inherent < MOST_INHERENT {
            self.inherent = trial.loss_before.min(after).min(MOST_INHERENT);
            return None;
        }
        Some(trial.rate)
    }

    fn begin_window(&mut self, at: Instant) {
        (self.sent, self.lost) = (0, 0);
        self.window_began = at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtual_time::{ms, start};

    /// The rate after a minute on a way that loses so much at a rate, if it grows by 5 % in each
    /// second without loss.
    fn after_a_minute(loss_at: impl Fn(f64) -> f64) -> f64 {
        let begin = start();
        let mut loss = LossController::new(begin);
        let mut rate = 2_000_000.0;
        for n in 1..60 {
            let allowed = loss.bound().unwrap_or(rate);
            let reduced = loss.judge(begin + ms(n * 1_000), loss_at(allowed), rate, ms(100));
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
