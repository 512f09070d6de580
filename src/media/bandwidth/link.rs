//! A simulated downlink in virtual time: a bottleneck with a queue, delay and loss, a sender that follows the
//! estimate, and a receiver that sends feedback.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{BandwidthEstimator, ProbeCluster};
use crate::twcc::{TwccReceiver, TwccSender};
use crate::virtual_time::{ms, start};

/// Size of video, probe and audio packets.
const PACKET_BYTES: usize = 1_200;
const AUDIO_PACKET_BYTES: usize = 120;
/// Header and SSRCs of a feedback packet, in bytes.
const FEEDBACK_HEADER_BYTES: usize = 12;

/// Properties of the link.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkModel {
    pub(super) bits_per_second: f64,
    pub(super) loss_ratio: f64,
    pub(super) delay_ms: u64,
    /// Packets that would wait longer than this in the queue are dropped.
    pub(super) queue_ms: f64,
    /// Packets arrive up to this much later, in order.
    pub(super) jitter_ms: u64,
    /// Share of packets that arrive 15 ms late, out of order.
    pub(super) reorder_ratio: f64,
    /// Packets are delivered only at multiples of this time.
    pub(super) granularity_ms: u64,
    /// Whether nothing is delivered for 20 to 50 ms now and then.
    pub(super) has_stalls: bool,
    /// Whether there is audio as well, one packet every 20 ms.
    pub(super) has_audio: bool,
    /// Interval of video frames.
    pub(super) frame_ms: u64,
}

/// A fast link without loss and jitter.
pub(super) const DEFAULT_LINK: LinkModel = LinkModel {
    bits_per_second: 10e6,
    loss_ratio: 0.0,
    delay_ms: 25,
    queue_ms: 300.0,
    jitter_ms: 0,
    reorder_ratio: 0.0,
    granularity_ms: 1,
    has_stalls: false,
    has_audio: false,
    frame_ms: 33,
};

/// A link with its sender and receiver.
pub(super) struct Link {
    epoch: Instant,
    pub(super) estimator: BandwidthEstimator,
    twcc_sender: TwccSender,
    twcc_receiver: TwccReceiver,
    /// When the bottleneck has sent all queued packets, in ms.
    busy_until: f64,
    in_flight: VecDeque<(f64, u16)>,
    /// Arrival of the last packet that was not reordered, in ms.
    last_arrival: f64,
    feedback_in_flight: VecDeque<(u64, Vec<u8>)>,
    send_budget: f64,
    active_probe: Option<(ProbeCluster, usize, f64)>,
    rng_state: u64,
    /// The estimate at each tenth of a second, in kbit/s.
    pub(super) estimates_kbps: Vec<u64>,
    /// The longest queue in each tenth of a second, in ms.
    pub(super) max_queues_ms: Vec<f64>,
}

impl Link {
    /// An idle link; the estimate starts with `first_bps`.
    pub(super) fn new(first_bps: u64) -> Self {
        let epoch = start();
        Self {
            epoch,
            estimator: BandwidthEstimator::new(epoch, first_bps, 50_000, 20_000_000),
            twcc_sender: TwccSender::default(),
            twcc_receiver: TwccReceiver::new(epoch),
            busy_until: 0.0,
            in_flight: VecDeque::new(),
            last_arrival: 0.0,
            feedback_in_flight: VecDeque::new(),
            send_budget: 0.0,
            active_probe: None,
            rng_state: 7,
            estimates_kbps: Vec::new(),
            max_queues_ms: Vec::new(),
        }
    }

    /// Runs until a time. `wanted` is the bitrate available to send, `frames` whether it is sent in a burst
    /// per video frame, as by an unpaced server.
    pub(super) fn run(&mut self, until_s: u64, link: LinkModel, wanted: u64, frames: bool) {
        let from = self.estimates_kbps.len() as u64 * 100;
        for at in from..until_s * 1_000 {
            let now = self.epoch + ms(at);
            self.send(now, at, link, wanted, frames);
            self.receive(now, at, link);
            let queue = (self.busy_until - at as f64).max(0.0);
            if at.is_multiple_of(100) {
                self.estimates_kbps.push(self.estimator.target_bps(now) / 1_000);
                self.max_queues_ms.push(0.0);
            }
            let max_queue = self.max_queues_ms.last_mut().unwrap();
            *max_queue = max_queue.max(queue);
        }
    }

    /// Mean estimate between two times in seconds, in kbit/s.
    pub(super) fn mean_kbps(&self, from_s: usize, until_s: usize) -> u64 {
        let window = &self.estimates_kbps[from_s * 10..until_s * 10];
        window.iter().sum::<u64>() / window.len() as u64
    }

    /// Tenths of a second after `from_s` until the estimate satisfies the condition.
    pub(super) fn tenths_until(&self, from_s: usize, condition: impl Fn(u64) -> bool) -> usize {
        self.estimates_kbps[from_s * 10..]
            .iter()
            .position(|kbps| condition(*kbps))
            .unwrap_or(usize::MAX)
    }

    fn send(&mut self, now: Instant, at: u64, link: LinkModel, wanted: u64, frames: bool) {
        if link.has_audio && at.is_multiple_of(20) {
            self.send_one(now, at, AUDIO_PACKET_BYTES, link);
        }
        let rate = self.estimator.target_bps(now).min(wanted) as f64;
        self.send_budget += rate / 8_000.0;
        while self.send_budget >= PACKET_BYTES as f64
            && (!frames || at.is_multiple_of(link.frame_ms))
        {
            self.send_budget -= PACKET_BYTES as f64;
            self.send_one(now, at, PACKET_BYTES, link);
        }
        let frame_seconds = link.frame_ms.max(50) as f64 / 1_000.0;
        self.send_budget = self.send_budget.min(rate / 8.0 * frame_seconds + PACKET_BYTES as f64);
        let next = self.twcc_sender.next_index();
        if self.active_probe.is_none()
            && let Some(probe) = self.estimator.next_probe(now, wanted, next)
        {
            self.active_probe = Some((probe, 0, at as f64));
        }
        let Some((probe, mut sent, started_at)) = self.active_probe else { return };
        let due = (at as f64 - started_at) * probe.bps as f64 / 8_000.0;
        while sent < probe.bytes && sent as f64 <= due {
            self.send_one(now, at, PACKET_BYTES, link);
            sent += PACKET_BYTES;
        }
        self.active_probe = Some((probe, sent, started_at));
        if sent >= probe.bytes {
            self.estimator.on_probe_sent(now, self.twcc_sender.next_index());
            self.active_probe = None;
        }
    }

    fn send_one(&mut self, now: Instant, at: u64, bytes: usize, link: LinkModel) {
        let sequence = self.twcc_sender.on_sent(now, bytes);
        let at = at as f64;
        let starts = self.busy_until.max(at);
        if starts - at > link.queue_ms || self.next_random() < link.loss_ratio {
            return;
        }
        self.busy_until = starts + bytes as f64 * 8_000.0 / link.bits_per_second;
        let jitter = self.next_random() * link.jitter_ms as f64;
        let mut arrival = self.busy_until + link.delay_ms as f64 + jitter;
        if link.has_stalls {
            arrival = arrival.max(self.stalled_until(arrival));
        }
        let granularity = link.granularity_ms as f64;
        arrival = (arrival / granularity).ceil() * granularity;
        if link.reorder_ratio > 0.0 && self.next_random() < link.reorder_ratio {
            arrival += 15.0;
        } else {
            arrival = arrival.max(self.last_arrival);
            self.last_arrival = arrival;
        }
        let index = self.in_flight.partition_point(|(at, _)| *at <= arrival);
        self.in_flight.insert(index, (arrival, sequence));
    }

    /// The end of the stall that contains the time, if any: one stall in each 700 ms.
    fn stalled_until(&self, at: f64) -> f64 {
        let cycle = (at / 700.0).floor();
        let duration = 20.0 + (cycle * 17.0) % 31.0;
        let starts = cycle * 700.0 + (cycle * 137.0) % 600.0;
        if (starts..starts + duration).contains(&at) { starts + duration } else { at }
    }

    fn receive(&mut self, now: Instant, at: u64, link: LinkModel) {
        while let Some((arrival, sequence)) = self.in_flight.front().copied()
            && arrival <= at as f64
        {
            self.in_flight.pop_front();
            self.twcc_receiver
                .on_packet(self.epoch + Duration::from_secs_f64(arrival / 1_000.0), sequence);
        }
        if self.twcc_receiver.next_due().is_some_and(|next| next <= now) {
            let mut bytes = Vec::new();
            self.twcc_receiver.write(1, 2, &mut bytes);
            self.feedback_in_flight.push_back((at + link.delay_ms, bytes));
        }
        while self.feedback_in_flight.front().is_some_and(|(due, _)| *due <= at) {
            let (_, bytes) = self.feedback_in_flight.pop_front().unwrap();
            let (mut rest, mut results) = (&bytes[..], Vec::new());
            while !rest.is_empty() {
                let words = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
                let (packet, tail) = rest.split_at(4 * (words + 1));
                self.twcc_sender.on_feedback(&packet[FEEDBACK_HEADER_BYTES..], &mut results);
                rest = tail;
            }
            self.estimator.on_twcc_feedback(now, &mut results);
        }
    }

    /// A reproducible random number from 0 to 1 (linear congruential generator).
    fn next_random(&mut self) -> f64 {
        self.rng_state = self
            .rng_state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.rng_state >> 33) as f64 / f64::from(1u32 << 31)
    }
}
