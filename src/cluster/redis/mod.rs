//! The cache in Redis: one server, a group that Sentinels watch, or a Redis Cluster.
//!
//! It connects when it is first needed and again after any failure; what fails is not tried again
//! but answered at once, within half a second at worst.

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
use crate::telemetry::metrics::CACHE_FAILED;

/// No operation takes longer, connecting included.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(500);

/// The generic cell rate algorithm, as [`RateLimit::take`] has it, by the server's clock: those of the
/// nodes may differ. Gives how long to wait in microseconds, 0 if it was taken.
const TAKE: &str = r"
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

/// What the cache is to know.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Where it is: `redis://`, `rediss://`, `redis+sentinel://`, `rediss+sentinel://`,
    /// `redis+cluster://` or `rediss+cluster://`.
    pub url: Secret<String>,
    /// Certificates of authorities in PEM, in place of those of the system.
    pub authorities: Option<String>,
    /// What all keys begin with.
    pub prefix: String,
}

/// The cache.
pub struct RedisCache {
    lines: RedisConnectionManager,
    prefix: String,
}

impl RedisCache {
    /// The cache at that place; it is not looked for yet.
    ///
    /// # Errors
    /// An address that cannot be read, in words.
    pub fn new(settings: &RedisConfig) -> Result<Self, String> {
        let place = RedisEndpoint::read(settings.url.expose(), settings.authorities.as_deref())?;
        Ok(Self { lines: RedisConnectionManager::new(place), prefix: settings.prefix.clone() })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn run<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: Cmd,
    ) -> Result<T, CacheError> {
        match self.within(command).await {
            Ok(done) => Ok(done),
            Err(error) => {
                counter!(CACHE_FAILED, "operation" => name).increment(1);
                tracing::debug!(error, cache.operation = name, "cache operation failed");
                Err(CacheError)
            }
        }
    }

    /// Runs a command within the deadline. A connection under which one failed or was too slow is
    /// given up: whoever was primary there perhaps is not any more.
    async fn within<T: FromRedisValue>(&self, command: Cmd) -> Result<T, String> {
        let mut used = None;
        let work = async {
            let (number, mut line) = self.lines.get().await?;
            used = Some(number);
            command.query_async::<T>(&mut line).await
        };
        let outcome = timeout(OPERATION_TIMEOUT, work).await;
        let words = match outcome {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => reason(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        self.lines.give_up(used);
        Err(words)
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// Why it does not, in words.
    pub async fn reach(&self) -> Result<(), String> {
        self.within::<()>(redis::cmd("EXISTS").arg(self.key("ping")).to_owned()).await
    }
}

/// What went wrong, without what was said to the server.
fn reason(error: &RedisError) -> String {
    format!("{} {}", error.category(), error.code().unwrap_or_default())
}

impl Cache for RedisCache {
    fn take<'a>(
        &'a self,
        limit: RateLimit,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), RateLimitError>> {
        Box::pin(async move {
            let every = u64::try_from(limit.every.as_micros()).unwrap_or(u64::MAX);
            let key = self.key(&format!("limit:{}:{key}", limit.name));
            let mut take = redis::cmd("EVAL");
            take.arg(TAKE).arg(1).arg(key).arg(every).arg(limit.burst);
            match self.run("take", take).await? {
                0 => Ok(()),
                wait => Err(RateLimitError::TooMany(Duration::from_micros(wait))),
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
        // A key is asked for, so that in a Redis Cluster whoever has it must answer.
        Box::pin(async move {
            let mut ping = redis::cmd("EXISTS");
            ping.arg(self.key("ping"));
            self.run("ping", ping).await
        })
    }
}
