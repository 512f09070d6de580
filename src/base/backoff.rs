//! How long to wait before trying again: exponential, capped, with jitter; pure.

use std::time::Duration;

/// Waits that double from `first` up to `most`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure; zero means never to wait.
    pub initial: Duration,
    /// No wait is longer than this.
    pub max: Duration,
}

impl Backoff {
    /// No wait at all.
    pub const NONE: Self = Self { initial: Duration::ZERO, max: Duration::ZERO };

    /// The wait after `failures` failures in a row (1 or more), shortened by up to a half by
    /// `chance` (0 to 1), so that many who failed together do not come back together.
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.initial.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(1.0 - 0.5 * chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn backoff_delay_doubles_up_to_cap() {
        let b = Backoff { initial: Duration::from_millis(20), max: Duration::from_millis(100) };
        let waits: Vec<_> = (1..=5).map(|n| b.delay(n, 0.0).as_millis()).collect();
        assert_eq!(waits, [20, 40, 80, 100, 100]);
    }

    proptest! {
        #[test]
        fn jittered_delay_is_between_half_and_full(n in 1u32..100, chance in 0.0f64..1.0) {
            let b = Backoff { initial: Duration::from_millis(10), max: Duration::from_secs(30) };
            let (wait, full) = (b.delay(n, chance), b.delay(n, 0.0));
            prop_assert!(wait <= full && wait >= full / 2);
        }
    }
}
