//! Wall-clock time through one interface, so that tests control it.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: microseconds since 1970-01-01T00:00:00Z. On the wire RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(stamp) => write!(f, "{stamp}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let stamp: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(stamp.as_microsecond()))
    }
}

/// A clock: the machine's, or a fixed one for tests. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Whether it is a fixed clock.
    is_fixed: bool,
    /// The fixed time, or the offset added to the machine's clock, in microseconds.
    micros: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock, in UTC.
    pub fn wall() -> Self {
        Self::default()
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn fixed_at(time: Timestamp) -> Self {
        Self { is_fixed: true, micros: Arc::new(AtomicI64::new(time.0)) }
    }

    /// The current time of this clock.
    pub fn now(&self) -> Timestamp {
        let micros = self.micros.load(Ordering::Acquire);
        if self.is_fixed { Timestamp(micros) } else { Timestamp(wall().0.saturating_add(micros)) }
    }

    /// Advances a fixed clock; the machine's clock is not affected.
    pub fn advance(&self, by: Duration) {
        if self.is_fixed {
            self.micros.store((self.now() + by).0, Ordering::Release);
        }
    }

    /// Corrects the machine's clock by a better one that is ahead by `micros`, with an uncertainty
    /// of `uncertainty`. Smaller differences are ignored, so that time does not jitter.
    pub fn correct(&self, micros: i64, uncertainty: Duration) {
        if !self.is_fixed && Duration::from_micros(micros.unsigned_abs()) > uncertainty {
            self.micros.fetch_add(micros, Ordering::AcqRel);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
fn wall() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_round_trips_through_json() {
        let time = Timestamp::from_micros(1_790_000_000_123_456);
        let text = serde_json::to_string(&time).unwrap();
        assert_eq!(text, "\"2026-09-21T14:13:20.123456Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), time);
    }

    #[test]
    fn clock_offset_is_corrected_from_database() {
        let clock = Clock::wall();
        let before = clock.now();
        clock.correct(30_000_000, Duration::from_millis(1));
        assert!(clock.now().since(before) >= Duration::from_secs(30));
        clock.correct(500, Duration::from_millis(1));
        assert!(clock.clone().now().since(before) < Duration::from_secs(40));
    }

    #[test]
    fn manual_clock_moves_only_when_advanced() {
        let clock = Clock::fixed_at(Timestamp::from_micros(5));
        clock.advance(Duration::from_micros(7));
        assert_eq!(clock.now().micros(), 12);
    }
}
