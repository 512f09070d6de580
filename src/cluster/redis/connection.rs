//! The connection that everybody shares: made at need, given up after a failure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::endpoint::{RedisEndpoint, RedisLink};

/// After a failure nobody tries to connect for so long; whoever comes is refused at once.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);

/// The connection, if there is one.
pub(super) struct RedisConnectionManager {
    place: RedisEndpoint,
    now: Mutex<ConnectionSlot>,
    /// The number of the connection that failed last.
    failed: AtomicU64,
    /// The last attempt to connect failed.
    down: AtomicBool,
}

struct ConnectionSlot {
    /// Connections and attempts are counted.
    number: u64,
    link: Option<RedisLink>,
    /// Nobody connects before.
    not_before: Instant,
}

impl RedisConnectionManager {
    pub(super) fn new(place: RedisEndpoint) -> Self {
        let now = ConnectionSlot { number: 1, link: None, not_before: Instant::now() };
        let (failed, down) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { place, now: Mutex::new(now), failed, down }
    }

    /// The connection and its number; makes one if there is none.
    pub(super) async fn get(&self) -> RedisResult<(u64, RedisLink)> {
        let mut now = match self.now.try_lock() {
            Ok(now) => now,
            // Somebody connects. Whether that helps is not worth waiting for if it just did not.
            Err(_) if self.down.load(Ordering::Acquire) => return Err(away()),
            Err(_) => self.now.lock().await,
        };
        if now.number <= self.failed.load(Ordering::Acquire) {
            now.link = None;
        }
        if let Some(link) = &now.link {
            return Ok((now.number, link.clone()));
        }
        if Instant::now() < now.not_before {
            return Err(away());
        }
        now.number += 1;
        now.not_before = Instant::now() + RECONNECT_DELAY;
        let attempt = ConnectAttempt { down: &self.down, succeeded: false };
        let link = self.place.connect().await?;
        attempt.succeeds();
        now.link = Some(link.clone());
        Ok((now.number, link))
    }

    /// The connection of this number failed.
    pub(super) fn give_up(&self, number: Option<u64>) {
        if let Some(number) = number {
            self.failed.fetch_max(number, Ordering::AcqRel);
        }
    }
}

/// An attempt to connect: failed when it is dropped, be it by a deadline, unless it succeeded.
struct ConnectAttempt<'a> {
    down: &'a AtomicBool,
    succeeded: bool,
}

impl ConnectAttempt<'_> {
    fn succeeds(mut self) {
        self.succeeded = true;
    }
}

impl Drop for ConnectAttempt<'_> {
    fn drop(&mut self) {
        match (self.down.swap(!self.succeeded, Ordering::AcqRel), self.succeeded) {
            (false, false) => tracing::warn!("cache unreachable"),
            (true, true) => tracing::info!("cache reconnected"),
            _ => {}
        }
    }
}

fn away() -> RedisError {
    RedisError::from((ErrorKind::Io, "there is no connection"))
}

impl ConnectionLike for RedisLink {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(link) => link.req_packed_command(command),
            Self::Many(link) => link.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Many(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(link) => link.get_db(),
            Self::Many(link) => link.get_db(),
        }
    }
}
