//! The shared Redis connection: opened on demand, dropped after a failure.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::endpoint::{RedisEndpoint, RedisLink};

/// Minimum time between two attempts to connect; operations in between fail at once.
const RECONNECT_DELAY: Duration = Duration::from_millis(250);

/// Opens and shares the connection.
pub(super) struct RedisConnectionManager {
    endpoint: RedisEndpoint,
    slot: Mutex<ConnectionSlot>,
    /// Number of the connection that failed last.
    failed: AtomicU64,
    /// Whether the last attempt to connect failed.
    down: AtomicBool,
}

struct ConnectionSlot {
    /// Number of the current connection; attempts count too.
    number: u64,
    link: Option<RedisLink>,
    /// Earliest time of the next attempt to connect.
    not_before: Instant,
}

impl RedisConnectionManager {
    pub(super) fn new(endpoint: RedisEndpoint) -> Self {
        let slot = ConnectionSlot { number: 1, link: None, not_before: Instant::now() };
        let (failed, down) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { endpoint, slot: Mutex::new(slot), failed, down }
    }

    /// The connection and its number; opens one if there is none.
    pub(super) async fn get(&self) -> RedisResult<(u64, RedisLink)> {
        let mut slot = match self.slot.try_lock() {
            Ok(slot) => slot,
            // Another task is connecting. If the last attempt failed, waiting for this one is not
            // worth it.
            Err(_) if self.down.load(Ordering::Acquire) => return Err(not_connected()),
            Err(_) => self.slot.lock().await,
        };
        if slot.number <= self.failed.load(Ordering::Acquire) {
            slot.link = None;
        }
        if let Some(link) = &slot.link {
            return Ok((slot.number, link.clone()));
        }
        if Instant::now() < slot.not_before {
            return Err(not_connected());
        }
        slot.number += 1;
        slot.not_before = Instant::now() + RECONNECT_DELAY;
        let attempt = ConnectAttempt { down: &self.down, succeeded: false };
        let link = self.endpoint.connect().await?;
        attempt.set_succeeded();
        slot.link = Some(link.clone());
        Ok((slot.number, link))
    }

    /// Marks the connection with this number as failed.
    pub(super) fn mark_failed(&self, number: Option<u64>) {
        if let Some(number) = number {
            self.failed.fetch_max(number, Ordering::AcqRel);
        }
    }
}

/// An attempt to connect. Unless it succeeded, it counts as failed when it is dropped, also by a
/// time-out.
struct ConnectAttempt<'a> {
    down: &'a AtomicBool,
    succeeded: bool,
}

impl ConnectAttempt<'_> {
    fn set_succeeded(mut self) {
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

fn not_connected() -> RedisError {
    RedisError::from((ErrorKind::Io, "not connected"))
}

impl ConnectionLike for RedisLink {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(link) => link.req_packed_command(command),
            Self::Cluster(link) => link.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(link) => link.req_packed_commands(pipeline, offset, count),
            Self::Cluster(link) => link.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(link) => link.get_db(),
            Self::Cluster(link) => link.get_db(),
        }
    }
}
