//! What nodes share and may lose: counters of how often, and values with an end.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use base::clock::Timestamp;
use base::error::{CodedError, ErrorKind};
use metrics::counter;
use serde::{Deserialize, Serialize};

use crate::telemetry::metrics::UNCOUNTED;

/// A boxed future, so that the trait can be an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How often something may happen: `burst` at once, and one more every `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Keeps counters of different things apart.
    pub name: &'static str,
    /// The time in which one more is earned.
    pub every: Duration,
    /// How many may happen at once.
    pub burst: u32,
}

impl RateLimit {
    /// `count` a second, `burst` at once.
    pub const fn per_second(name: &'static str, count: u32, burst: u32) -> Self {
        Self { name, every: Duration::from_micros(1_000_000 / count as u64), burst }
    }

    /// `count` a minute, all of them at once if wanted.
    pub const fn per_minute(name: &'static str, count: u32) -> Self {
        Self { name, every: Duration::from_micros(60_000_000 / count as u64), burst: count }
    }

    /// `count` an hour, all of them at once if wanted.
    pub const fn per_hour(name: &'static str, count: u32) -> Self {
        Self { name, every: Duration::from_micros(3_600_000_000 / count as u64), burst: count }
    }

    /// The generic cell rate algorithm (ITU-T I.371): `due` is when the counter is empty again.
    /// Gives the new `due`, or how long to wait.
    ///
    /// # Errors
    /// The time until it would be allowed.
    pub fn take(&self, due: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Duration> {
        let due = due.map_or(now, |due| due.max(now)) + self.every;
        let ahead = due.since(now);
        let most = self.every * self.burst;
        if ahead > most { Err(ahead - most) } else { Ok(due) }
    }
}

/// Why a counter was not taken from; it travels between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RateLimitError {
    /// Too often.
    #[error("too many attempts: try again in {} s", seconds(*.0))]
    TooMany(Duration),
    /// The cache cannot be reached.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Whole seconds, rounded up: what `Retry-After` speaks.
pub const fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + (wait.subsec_nanos() > 0) as u64
}

impl CodedError for RateLimitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooMany(_) => ErrorKind::TooMany,
            Self::Cache(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooMany(_) => "limits/rate-limited",
            Self::Cache(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooMany(wait) => Some(seconds(*wait)),
            Self::Cache(_) => Some(1),
        }
    }
}

impl RateLimit {
    /// Lets through what could not be counted because the cache cannot be reached: for limits that
    /// guard our strength, not somebody's secrets.
    ///
    /// # Errors
    /// [`RateLimitError::TooMany`] as before.
    pub fn or_uncounted(&self, taken: Result<(), RateLimitError>) -> Result<(), RateLimitError> {
        match taken {
            Err(RateLimitError::Cache(CacheError)) => {
                counter!(UNCOUNTED, "limit" => self.name).increment(1);
                Ok(())
            }
            taken => taken,
        }
    }
}

/// The cache cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("cache unreachable")]
pub struct CacheError;

impl CodedError for CacheError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        "cache/unavailable"
    }
}

/// Counters and short-lived values. Losing all of it costs a little work and no truth.
pub trait Cache: Send + Sync + 'static {
    /// Takes one from the counter `limit.name` of `key`.
    fn take<'a>(
        &'a self,
        limit: RateLimit,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), RateLimitError>>;

    /// Keeps a value for `ttl` at most.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>>;

    /// The value, if its time is not over.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>>;

    /// Forgets a value.
    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), CacheError>>;

    /// Whether it answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), CacheError>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn token_bucket_allows_burst_then_steady_rate() {
        let limit = RateLimit::per_minute("t", 5);
        let mut now = Timestamp::from_micros(0);
        let mut due = None;
        for _ in 0..5 {
            due = Some(limit.take(due, now).unwrap());
        }
        assert_eq!(limit.take(due, now), Err(Duration::from_secs(12)));
        now = now + Duration::from_secs(12);
        assert!(limit.take(due, now).is_ok());
    }

    proptest! {
        #[test]
        fn token_bucket_never_exceeds_burst_plus_refill(
            waits in prop::collection::vec(0u64..5_000_000, 1..200),
            count in 1u32..20,
        ) {
            let limit = RateLimit::per_minute("t", count);
            let (mut now, mut due, mut taken) = (Timestamp::from_micros(0), None, 0u64);
            for wait in waits {
                now = now + Duration::from_micros(wait);
                if let Ok(next) = limit.take(due, now) {
                    due = Some(next);
                    taken += 1;
                }
            }
            let earned = now.micros() as u128 / limit.every.as_micros();
            prop_assert!(u128::from(taken) <= u128::from(count) + earned);
        }
    }
}
