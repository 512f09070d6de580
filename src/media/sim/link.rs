//! A downlink that carries so much and no more, with a short queue in front of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::NetworkPath;

/// What waits longer than this is dropped.
const QUEUE: Duration = Duration::from_millis(250);
/// How long everything is under way besides.
const DELAY: Duration = Duration::from_millis(20);

pub(crate) struct Link {
    rate: u64,
    /// Until when it is busy with what waits.
    busy: Option<Instant>,
    waiting: VecDeque<(Instant, NetworkPath, Vec<u8>)>,
}

impl Link {
    /// Of so many bits per second.
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate, busy: None, waiting: VecDeque::new() }
    }

    pub(crate) fn send(&mut self, now: Instant, path: NetworkPath, bytes: &[u8]) {
        let begins = self.busy.unwrap_or(now).max(now);
        if begins > now + QUEUE {
            return;
        }
        let takes = Duration::from_secs_f64(bytes.len() as f64 * 8.0 / self.rate as f64);
        self.busy = Some(begins + takes);
        self.waiting.push_back((begins + takes + DELAY, path, bytes.to_vec()));
    }

    /// What has come through.
    pub(crate) fn arrived(&mut self, now: Instant) -> Vec<(NetworkPath, Vec<u8>)> {
        let count = self.waiting.iter().take_while(|(at, _, _)| *at <= now).count();
        self.waiting.drain(..count).map(|(_, path, bytes)| (path, bytes)).collect()
    }
}
