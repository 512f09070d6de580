//! Retry delays: exponential, capped, with jitter; pure functions.

use std::time::Duration;

/// Delays that double from `initial` up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Delay after the first failure; zero means no delay.
    pub initial: Duration,
    /// Upper bound of all delays.
    pub max: Duration,
}

impl Backoff {
    /// No delay at all.
    pub const NONE: Self = Self { initial: Duration::ZERO, max: Duration::ZERO };

    /// The delay after `failures` consecutive failures (1 or more), shortened by up to a half by
    /// `jitter` (0 to 1), so that clients that failed together do not retry together.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.initial.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(1.0 - 0.5 * jitter.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn backoff_delay_doubles_up_to_cap() {
        let b = Backoff { initial: Duration::from_millis(20), max: Duration::from_millis(100) };
        let waits: Vec<_> = (1..=5).map(|n| b.delay(n, 0.0).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 100, 100]);
    }

    proptest! {
        #[test]
        fn jittered_delay_is_between_half_and_full(n in 1u32..100, jitter in 0.0f64..1.0) {
            let b = Backoff { initial: Duration::from_millis(10), max: Duration::from_secs(30) };
            let (wait, full) = (b.delay(n, jitter), b.delay(n, 0.0));
            prop_assert!(wait <= full && wait >= full / 2);
        }
    }
}
