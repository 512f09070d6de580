//! A downlink of limited capacity with a short queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::NetworkPath;

/// Datagrams that would wait longer than this are dropped.
const MAX_QUEUE_DELAY: Duration = Duration::from_millis(250);
/// Delay of every datagram besides queuing and transmission.
const PROPAGATION_DELAY: Duration = Duration::from_millis(20);

/// A link in virtual time.
pub(crate) struct Link {
    bps: u64,
    /// When all queued datagrams will have been transmitted.
    busy_until: Option<Instant>,
    in_flight: VecDeque<(Instant, NetworkPath, Vec<u8>)>,
}

impl Link {
    /// A link with a capacity in bits per second.
    pub(crate) fn new(bps: u64) -> Self {
        Self { bps, busy_until: None, in_flight: VecDeque::new() }
    }

    pub(crate) fn send(&mut self, now: Instant, path: NetworkPath, bytes: &[u8]) {
        let starts = self.busy_until.unwrap_or(now).max(now);
        if starts > now + MAX_QUEUE_DELAY {
            return;
        }
        let duration = Duration::from_secs_f64(bytes.len() as f64 * 8.0 / self.bps as f64);
        self.busy_until = Some(starts + duration);
        self.in_flight.push_back((starts + duration + PROPAGATION_DELAY, path, bytes.to_vec()));
    }

    /// Removes and returns the datagrams that have arrived.
    pub(crate) fn take_arrived(&mut self, now: Instant) -> Vec<(NetworkPath, Vec<u8>)> {
        let count = self.in_flight.iter().take_while(|(at, _, _)| *at <= now).count();
        self.in_flight.drain(..count).map(|(_, path, bytes)| (path, bytes)).collect()
    }
}
