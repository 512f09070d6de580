//! State that nodes share and may lose: rate-limit counters and values with an expiry.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use base::clock::Timestamp;
use base::error::{CodedError, ErrorCode, ErrorKind};
use metrics::counter;
use serde::{Deserialize, Serialize};

use crate::telemetry::metrics::RATE_LIMIT_BYPASSED;

/// A boxed future, so that traits with asynchronous methods are object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A rate limit: `burst` at once, and one more every `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Separates the counters of different limits.
    pub name: &'static str,
    /// The time in which one more use is earned.
    pub interval: Duration,
    /// How many uses are allowed at once.
    pub burst: u32,
}

impl RateLimit {
    /// `count` uses a second, up to `burst` at once.
    pub const fn per_second(name: &'static str, count: u32, burst: u32) -> Self {
        Self { name, interval: Duration::from_micros(1_000_000 / count as u64), burst }
    }

    /// `count` uses a minute, all of them at once if needed.
    pub const fn per_minute(name: &'static str, count: u32) -> Self {
        Self { name, interval: Duration::from_micros(60_000_000 / count as u64), burst: count }
    }

    /// `count` uses an hour, all of them at once if needed.
    pub const fn per_hour(name: &'static str, count: u32) -> Self {
        Self { name, interval: Duration::from_micros(3_600_000_000 / count as u64), burst: count }
    }

    /// The generic cell rate algorithm (ITU-T I.371): `due` is the time at which the counter is
    /// empty again. Returns the new `due`.
    ///
    /// # Errors
    /// The time to wait until the use would be allowed.
    pub fn take(&self, due: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Duration> {
        let due = due.map_or(now, |due| due.max(now)) + self.interval;
        let ahead = due.since(now);
        let max_ahead = self.interval * self.burst;
        if ahead > max_ahead { Err(ahead - max_ahead) } else { Ok(due) }
    }
}

/// Why a use was not allowed; sent between nodes, so the variant names are part of the bus format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RateLimitError {
    /// The limit is exceeded; the time to wait.
    #[error("too many attempts: try again in {} s", seconds(*.0))]
    #[serde(rename = "TooMany")]
    RateLimited(Duration),
    /// The cache is unreachable.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Whole seconds, rounded up, as `Retry-After` needs them.
pub const fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + (wait.subsec_nanos() > 0) as u64
}

impl RateLimitError {
    /// Its problem code; the time to wait differs.
    pub const CODE: ErrorCode = ErrorCode {
        code: "limits/rate-limited",
        kind: ErrorKind::RateLimited,
        retry_after: None,
        text: "too many attempts: try again in … s",
    };
}

impl CodedError for RateLimitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::RateLimited(_) => Self::CODE.kind,
            Self::Cache(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::RateLimited(_) => Self::CODE.code,
            Self::Cache(error) => error.code(),
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::RateLimited(wait) => Some(seconds(*wait)),
            Self::Cache(_) => Some(1),
        }
    }
}

impl RateLimit {
    /// Allows a use that could not be counted because the cache is unreachable: for limits that
    /// protect capacity, not secrets.
    ///
    /// # Errors
    /// [`RateLimitError::RateLimited`] unchanged.
    pub fn allow_uncounted(&self, taken: Result<(), RateLimitError>) -> Result<(), RateLimitError> {
        match taken {
            Err(RateLimitError::Cache(CacheError)) => {
                counter!(RATE_LIMIT_BYPASSED, "limit" => self.name).increment(1);
                Ok(())
            }
            taken => taken,
        }
    }
}

/// The cache is unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("cache unreachable")]
pub struct CacheError;

impl CacheError {
    /// Its problem code.
    pub const CODE: ErrorCode = ErrorCode {
        code: "cache/unavailable",
        kind: ErrorKind::Unavailable,
        retry_after: None,
        text: "cache unreachable",
    };
}

impl CodedError for CacheError {
    fn kind(&self) -> ErrorKind {
        Self::CODE.kind
    }

    fn code(&self) -> &'static str {
        Self::CODE.code
    }
}

/// Rate-limit counters and short-lived values. Losing all of it costs some work, but no data.
pub trait Cache: Send + Sync + 'static {
    /// Takes one use from the counter of `limit` for `key`.
    fn take<'a>(
        &'a self,
        limit: RateLimit,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), RateLimitError>>;

    /// Stores a value for at most `ttl`.
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>>;

    /// The value, if it has not expired.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>>;

    /// Removes a value.
    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), CacheError>>;

    /// Checks that the cache answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), CacheError>>;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            let earned = now.micros() as u128 / limit.interval.as_micros();
            prop_assert!(u128::from(taken) <= u128::from(count) + earned);
        }
    }
}
