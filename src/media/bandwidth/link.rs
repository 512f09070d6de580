//! A simulated downlink in virtual time: a bottleneck with a queue, a delay and a loss, a sender
//! that obeys the estimate, and a receiver that gives feedback.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{BandwidthEstimator, ProbeCluster};
use crate::twcc::{TwccReceiver, TwccSender};
use crate::virtual_time::{ms, start};

const PACKET: usize = 1_200;
const SOUND: usize = 120;
/// Header and SSRCs of a feedback packet.
const BEFORE_BODY: usize = 12;

/// What the way is like at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) bits_per_second: f64,
    pub(super) loss: f64,
    pub(super) delay_ms: u64,
    /// What does not fit into a queue of this length is dropped.
    pub(super) queue_ms: f64,
    /// Packets come up to so much later, in order.
    pub(super) jitter_ms: u64,
    /// This share of them comes 15 ms after its turn.
    pub(super) reorder: f64,
    /// They are passed on at multiples of so many ms only.
    pub(super) grain_ms: u64,
    /// Now and then nothing is passed on for 20 to 50 ms.
    pub(super) stalls: bool,
    /// There is sound as well, every 20 ms.
    pub(super) sound: bool,
    /// A picture comes so often.
    pub(super) picture_ms: u64,
}

pub(super) const WAY: Way = Way {
    bits_per_second: 10e6,
    loss: 0.0,
    delay_ms: 25,
    queue_ms: 300.0,
    jitter_ms: 0,
    reorder: 0.0,
    grain_ms: 1,
    stalls: false,
    sound: false,
    picture_ms: 33,
};

pub(super) struct Link {
    begin: Instant,
    pub(super) estimator: BandwidthEstimator,
    departures: TwccSender,
    arrivals: TwccReceiver,
    /// When the bottleneck has sent all that it took, in ms.
    busy_until: f64,
    travelling: VecDeque<(f64, u16)>,
    /// When the last packet comes of those that keep their order.
    newest: f64,
    returning: VecDeque<(u64, Vec<u8>)>,
    budget: f64,
    burst: Option<(ProbeCluster, usize, f64)>,
    random: u64,
    /// The estimate at each tenth of a second, in kbit/s.
    pub(super) trace: Vec<u64>,
    /// The longest queue of each tenth of a second, in ms.
    pub(super) queues: Vec<f64>,
}

impl Link {
    pub(super) fn new(first_bps: u64) -> Self {
        let begin = start();
        Self {
            begin,
            estimator: BandwidthEstimator::new(begin, first_bps, 50_000, 20_000_000),
            departures: TwccSender::default(),
            arrivals: TwccReceiver::new(begin),
            busy_until: 0.0,
            travelling: VecDeque::new(),
            newest: 0.0,
            returning: VecDeque::new(),
            budget: 0.0,
            burst: None,
            random: 7,
            trace: Vec::new(),
            queues: Vec::new(),
        }
    }

    /// Runs up to a time; `wanted` is all that the sender has, `frames` whether it comes in bursts
    /// of a picture each 33 ms, as it does from an unpaced server.
    pub(super) fn run(&mut self, until_s: u64, way: Way, wanted: u64, frames: bool) {
        let from = self.trace.len() as u64 * 100;
        for at in from..until_s * 1_000 {
            let now = self.begin + ms(at);
            self.send(now, at, way, wanted, frames);
            self.receive(now, at, way);
            let queue = (self.busy_until - at as f64).max(0.0);
            if at.is_multiple_of(100) {
                self.trace.push(self.estimator.target(now) / 1_000);
                self.queues.push(0.0);
            }
            let longest = self.queues.last_mut().unwrap();
            *longest = longest.max(queue);
        }
    }

    /// The mean estimate between two seconds, in kbit/s.
    pub(super) fn mean(&self, from_s: usize, until_s: usize) -> u64 {
        let part = &self.trace[from_s * 10..until_s * 10];
        part.iter().sum::<u64>() / part.len() as u64
    }

    /// How many tenths of a second after a moment the estimate is as wanted.
    pub(super) fn tenths_until(&self, from_s: usize, wanted: impl Fn(u64) -> bool) -> usize {
        self.trace[from_s * 10..].iter().position(|kbps| wanted(*kbps)).unwrap_or(usize::MAX)
    }

    fn send(&mut self, now: Instant, at: u64, way: Way, wanted: u64, frames: bool) {
        if way.sound && at.is_multiple_of(20) {
            self.send_one(now, at, SOUND, way);
        }
        let rate = self.estimator.target(now).min(wanted) as f64;
        self.budget += rate / 8_000.0;
        while self.budget >= PACKET as f64 && (!frames || at.is_multiple_of(way.picture_ms)) {
            self.budget -= PACKET as f64;
            self.send_one(now, at, PACKET, way);
        }
        let picture = way.picture_ms.max(50) as f64 / 1_000.0;
        self.budget = self.budget.min(rate / 8.0 * picture + PACKET as f64);
        let next = self.departures.next_index();
        if self.burst.is_none()
            && let Some(probe) = self.estimator.probe(now, wanted, next)
        {
            self.burst = Some((probe, 0, at as f64));
        }
        let Some((probe, mut sent, began)) = self.burst else { return };
        let due = (at as f64 - began) * probe.rate as f64 / 8_000.0;
        while sent < probe.bytes && sent as f64 <= due {
            self.send_one(now, at, PACKET, way);
            sent += PACKET;
        }
        self.burst = Some((probe, sent, began));
        if sent >= probe.bytes {
            self.estimator.probed(now, self.departures.next_index());
            self.burst = None;
        }
    }

    fn send_one(&mut self, now: Instant, at: u64, bytes: usize, way: Way) {
        let sequence = self.departures.sent(now, bytes);
        let at = at as f64;
        let begins = self.busy_until.max(at);
        if begins - at > way.queue_ms || self.chance() < way.loss {
            return;
        }
        self.busy_until = begins + bytes as f64 * 8_000.0 / way.bits_per_second;
        let jitter = self.chance() * way.jitter_ms as f64;
        let mut arrives = self.busy_until + way.delay_ms as f64 + jitter;
        if way.stalls {
            arrives = arrives.max(self.stalled_until(arrives));
        }
        let grain = way.grain_ms as f64;
        arrives = (arrives / grain).ceil() * grain;
        if way.reorder > 0.0 && self.chance() < way.reorder {
            arrives += 15.0;
        } else {
            arrives = arrives.max(self.newest);
            self.newest = arrives;
        }
        let place = self.travelling.partition_point(|(at, _)| *at <= arrives);
        self.travelling.insert(place, (arrives, sequence));
    }

    /// The end of the stall in which a time lies: one in each 700 ms.
    fn stalled_until(&self, at: f64) -> f64 {
        let round = (at / 700.0).floor();
        let lasts = 20.0 + (round * 17.0) % 31.0;
        let begins = round * 700.0 + (round * 137.0) % 600.0;
        if (begins..begins + lasts).contains(&at) { begins + lasts } else { at }
    }

    fn receive(&mut self, now: Instant, at: u64, way: Way) {
        while let Some((arrives, sequence)) = self.travelling.front().copied()
            && arrives <= at as f64
        {
            self.travelling.pop_front();
            self.arrivals
                .received(self.begin + Duration::from_secs_f64(arrives / 1_000.0), sequence);
        }
        if self.arrivals.next().is_some_and(|next| next <= now) {
            let mut bytes = Vec::new();
            self.arrivals.write(1, 2, &mut bytes);
            self.returning.push_back((at + way.delay_ms, bytes));
        }
        while self.returning.front().is_some_and(|(due, _)| *due <= at) {
            let (_, bytes) = self.returning.pop_front().unwrap();
            let (mut rest, mut results) = (&bytes[..], Vec::new());
            while !rest.is_empty() {
                let words = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
                let (packet, behind) = rest.split_at(4 * (words + 1));
                self.departures.feedback(&packet[BEFORE_BODY..], &mut results);
                rest = behind;
            }
            self.estimator.feedback(now, &mut results);
        }
    }

    /// A number from 0 to 1, the same ones in each run (a linear congruential generator).
    fn chance(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as f64 / f64::from(1u32 << 31)
    }
}
