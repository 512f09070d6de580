//! Virtual time of simulations: a start and durations that are added to it.

use std::time::{Duration, Instant};

/// The start of a simulation; only differences to it matter.
#[expect(clippy::disallowed_methods, reason = "an Instant cannot be constructed in another way")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// A duration of `ms` milliseconds.
pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
