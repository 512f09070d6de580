//! One layer that is published: its packets, its holes, its key frames.

use std::time::{Duration, Instant};

use crate::nack::NackTracker;
use crate::packet_cache::PacketCache;
use crate::reception::ReceiverStats;
use crate::rtp_munger::SenderReportTiming;

/// Without a packet for so long a layer is not being sent.
const LAYER_INACTIVE_AFTER: Duration = Duration::from_millis(1_500);
/// A layer without a packet for so long falls behind, if lower ones had so many pictures meanwhile.
const BEHIND: Duration = Duration::from_millis(250);
const BEHIND_PICTURES: u8 = 3;
/// It has caught up when it was not behind for so long.
const STEADY: Duration = Duration::from_secs(1);
/// How often a key frame is asked for of a stream that is not being sent.
const STILL: Duration = Duration::from_secs(2);
/// Over how long a bitrate is measured.
const MEASURED: Duration = Duration::from_millis(500);

/// A layer of a track.
pub(crate) struct LayerStream {
    /// Names this stream's packets within the room; a new one whenever the publisher begins anew.
    pub(crate) source: u32,
    /// The name of the layer in the publisher's section (RFC 8852).
    pub(crate) rid: Option<String>,
    /// What the publisher sends it with, as announced or seen.
    pub(crate) ssrc: Option<u32>,
    /// The same for its retransmissions.
    pub(crate) repair_ssrc: Option<u32>,
    /// The newest packet.
    pub(crate) newest: Option<u64>,
    /// Its packets.
    pub(crate) history: PacketCache,
    /// Its holes.
    pub(crate) missing: NackTracker,
    /// How it arrives.
    pub(crate) reception: ReceiverStats,
    /// What the publisher says of its clock, and when that came.
    pub(crate) report: Option<(SenderReportTiming, Instant)>,
    /// Requests for key frames.
    pub(crate) requests: KeyFrameRequester,
    /// Counts how often forwarding was interrupted.
    pub(crate) run: u32,
    /// The last packet was not forwarded.
    pub(crate) interrupted: bool,
    /// The share of it that was lost lately, before any repair.
    pub(crate) lost: f32,
    /// Since when its publisher is asked to send it; none: it is not.
    pub(crate) asked: Option<Instant>,
    /// Since when it is known that its publisher does not send it though it was asked to, and until
    /// when it is not expected to.
    pub(crate) refused: Option<(Instant, Instant)>,
    /// How much of it comes.
    pub(crate) meter: BitrateMeter,
    clock_rate: u32,
    last: Option<Instant>,
    /// Pictures of lower layers since its last packet.
    missed: u8,
    /// It fell behind; and since when it has been coming again.
    behind: bool,
    back: Option<Instant>,
}

impl LayerStream {
    /// Nothing came yet.
    pub(crate) fn new(source: u32, rid: Option<String>, clock_rate: u32, history: usize) -> Self {
        Self {
            source,
            rid,
            ssrc: None,
            repair_ssrc: None,
            newest: None,
            history: PacketCache::new(history),
            missing: NackTracker::default(),
            reception: ReceiverStats::new(clock_rate),
            report: None,
            requests: KeyFrameRequester::default(),
            run: 0,
            interrupted: false,
            lost: 0.0,
            asked: None,
            refused: None,
            meter: BitrateMeter::default(),
            clock_rate,
            last: None,
            missed: 0,
            behind: false,
            back: None,
        }
    }

    /// The publisher sends it with another SSRC: its packets are counted anew.
    pub(crate) fn begin_anew(&mut self, source: u32) {
        self.source = source;
        self.newest = None;
        self.history.clear();
        self.missing = NackTracker::default();
        self.reception = ReceiverStats::new(self.clock_rate);
        self.report = None;
    }

    /// A packet came, of so many bytes.
    pub(crate) fn heard(&mut self, now: Instant, bytes: usize) {
        if self.behind {
            let gap = self.last.is_none_or(|last| now > last + BEHIND);
            let back = self.back.filter(|_| !gap).unwrap_or(now);
            self.back = Some(back);
            self.behind = now < back + STEADY;
        }
        self.missed = 0;
        self.last = Some(now);
        self.meter.add(now, bytes);
    }

    /// A picture of a lower layer is complete. True if this one has just fallen behind.
    pub(crate) fn overtaken(&mut self, now: Instant) -> bool {
        self.missed = self.missed.saturating_add(1);
        let silent = self.last.is_some_and(|last| now >= last + BEHIND);
        let falls = !self.behind && self.missed >= BEHIND_PICTURES && silent;
        self.behind |= falls;
        falls
    }

    /// Its publisher is asked to send it: what was before does not count.
    pub(crate) fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
        self.behind = false;
    }

    /// Whether it comes as steadily as the layers below.
    pub(crate) fn flows(&self, now: Instant) -> bool {
        self.is_active(now) && !self.behind
    }

    /// The time between two requests for key frames: much longer while nothing comes. What is paused
    /// begins with a key frame by itself, but a picture that does not move has to be asked.
    pub(crate) fn pause(&self, now: Instant, usual: Duration) -> Duration {
        if self.is_active(now) { usual } else { usual.max(STILL) }
    }

    /// Whether the publisher sends it at present.
    pub(crate) fn is_active(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now < last + LAYER_INACTIVE_AFTER)
    }
}

/// Key frames that are wanted of one stream: requests of many become one, at a pace.
#[derive(Default)]
pub(crate) struct KeyFrameRequester {
    wanted: bool,
    last: Option<Instant>,
}

impl KeyFrameRequester {
    /// Somebody needs a key frame.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// A key frame came.
    pub(crate) fn satisfied(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask now.
    pub(crate) fn due(&mut self, now: Instant, pause: Duration) -> bool {
        let due = self.wanted && self.last.is_none_or(|last| last + pause <= now);
        if due {
            *self = Self { wanted: false, last: Some(now) };
        }
        due
    }

    /// When to ask, if later than at once.
    pub(crate) fn next(&self, pause: Duration) -> Option<Instant> {
        self.last.filter(|_| self.wanted).map(|last| last + pause)
    }
}

/// Measures bits per second.
#[derive(Default)]
pub(crate) struct BitrateMeter {
    began: Option<Instant>,
    bytes: usize,
    rate: Option<u64>,
}

impl BitrateMeter {
    /// So many bytes passed.
    pub(crate) fn add(&mut self, now: Instant, bytes: usize) {
        let began = *self.began.get_or_insert(now);
        self.bytes += bytes;
        let elapsed = now.saturating_duration_since(began);
        if elapsed >= MEASURED {
            // A pause says nothing of what there is to come.
            if elapsed < LAYER_INACTIVE_AFTER {
                self.rate = Some((self.bytes as f64 * 8.0 / elapsed.as_secs_f64()) as u64);
            }
            (self.began, self.bytes) = (Some(now), 0);
        }
    }

    /// Bits per second, as last measured; zero if nothing passed lately.
    pub(crate) fn rate(&self, now: Instant) -> u64 {
        let fresh = self.began.is_some_and(|began| now < began + LAYER_INACTIVE_AFTER);
        self.rate.filter(|_| fresh).unwrap_or(0)
    }

    /// Bits per second, as last measured, however long ago.
    pub(crate) fn last(&self) -> Option<u64> {
        self.rate
    }
}
