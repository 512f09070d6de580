//! The time of simulations: one moment to begin with, and durations to add to it.

use std::time::{Duration, Instant};

/// Some moment; it matters only what is added to it.
#[expect(clippy::disallowed_methods, reason = "an Instant can be made in no other way")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Milliseconds.
pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
