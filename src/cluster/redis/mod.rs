//! The cache in Redis: one server, a primary monitored by Sentinels, or a Redis Cluster.
//!
//! It connects on first use and again after any failure. A failed operation is not retried but
//! reported, after half a second at worst.

mod connection;
mod endpoint;

use std::time::Duration;

use base::secret::Secret;
use metrics::counter;
use redis::{Cmd, FromRedisValue, RedisError};
use tokio::time::timeout;

use self::connection::RedisConnectionManager;
use self::endpoint::RedisEndpoint;
use super::cache::{BoxFuture, Cache, CacheError, RateLimit, RateLimitError};
use crate::telemetry::metrics::CACHE_ERRORS;

/// How long an operation may take, connecting included.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(500);

/// The generic cell rate algorithm as in [`RateLimit::take`], but by the server's clock, since the
/// nodes' clocks may differ. Returns the time to wait in microseconds, 0 if the use is allowed.
const TAKE_SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local every, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = tonumber(redis.call('GET', KEYS[1])) or now
if due < now then due = now end
local ahead = due + every - now
if ahead > every * burst then return math.ceil(ahead - every * burst) end
redis.call('SET', KEYS[1], string.format('%.0f', due + every), 'PX', math.ceil(ahead / 1000))
return 0
";

/// Configuration of the Redis cache.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// The URL: `redis://`, `rediss://`, `redis+sentinel://`, `rediss+sentinel://`,
    /// `redis+cluster://` or `rediss+cluster://`.
    pub url: Secret<String>,
    /// CA certificates in PEM, instead of the system's.
    pub ca_pem: Option<String>,
    /// Prefix of all keys.
    pub key_prefix: String,
}

/// The cache in Redis.
pub struct RedisCache {
    connections: RedisConnectionManager,
    prefix: String,
}

impl RedisCache {
    /// The cache at this URL; it does not connect yet.
    ///
    /// # Errors
    /// A text that says why the URL is invalid.
    pub fn new(config: &RedisConfig) -> Result<Self, String> {
        let endpoint = RedisEndpoint::parse(config.url.expose(), config.ca_pem.as_deref())?;
        Ok(Self {
            connections: RedisConnectionManager::new(endpoint),
            prefix: config.key_prefix.clone(),
        })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn run<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: Cmd,
    ) -> Result<T, CacheError> {
        match self.run_with_timeout(command).await {
            Ok(value) => Ok(value),
            Err(error) => {
                counter!(CACHE_ERRORS, "operation" => name).increment(1);
                tracing::debug!(error, cache.operation = name, "cache operation failed");
                Err(CacheError)
            }
        }
    }

    /// Runs a command within the deadline. A connection on which a command failed or was too slow
    /// is dropped: its server may no longer be the primary.
    async fn run_with_timeout<T: FromRedisValue>(&self, command: Cmd) -> Result<T, String> {
        let mut used = None;
        let work = async {
            let (number, mut link) = self.connections.get().await?;
            used = Some(number);
            command.query_async::<T>(&mut link).await
        };
        let outcome = timeout(OPERATION_TIMEOUT, work).await;
        let reason = match outcome {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => describe(&error),
            Err(_) => "no response in time".to_owned(),
        };
        self.connections.mark_failed(used);
        Err(reason)
    }

    /// Checks that the server answers.
    ///
    /// # Errors
    /// A text that says why it does not.
    pub async fn check_connection(&self) -> Result<(), String> {
        self.run_with_timeout::<()>(redis::cmd("EXISTS").arg(self.key("ping")).to_owned()).await
    }
}

/// The error without the command that was sent.
fn describe(error: &RedisError) -> String {
    format!("{} {}", error.category(), error.code().unwrap_or_default())
}

impl Cache for RedisCache {
    fn take<'a>(
        &'a self,
        limit: RateLimit,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), RateLimitError>> {
        Box::pin(async move {
            let every = u64::try_from(limit.interval.as_micros()).unwrap_or(u64::MAX);
            let key = self.key(&format!("limit:{}:{key}", limit.name));
            let mut take = redis::cmd("EVAL");
            take.arg(TAKE_SCRIPT).arg(1).arg(key).arg(every).arg(limit.burst);
            match self.run("take", take).await? {
                0 => Ok(()),
                wait => Err(RateLimitError::RateLimited(Duration::from_micros(wait))),
            }
        })
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>> {
        Box::pin(async move {
            let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
            let mut put = redis::cmd("SET");
            put.arg(self.key(key)).arg(value).arg("PX").arg(millis);
            self.run("put", put).await
        })
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>> {
        Box::pin(async move {
            let mut get = redis::cmd("GET");
            get.arg(self.key(key));
            self.run("get", get).await
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), CacheError>> {
        Box::pin(async move {
            let mut remove = redis::cmd("DEL");
            remove.arg(self.key(key));
            self.run("remove", remove).await
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), CacheError>> {
        // Reads a key, so that in a Redis Cluster the server that holds it must answer.
        Box::pin(async move {
            let mut ping = redis::cmd("EXISTS");
            ping.arg(self.key("ping"));
            self.run("ping", ping).await
        })
    }
}
