//! The RTP stream of one published simulcast layer: packets, missing packets, key frames and bitrate.

use std::time::{Duration, Instant};

use crate::limits::MIN_INACTIVE_KEY_FRAME_INTERVAL;
use crate::nack::NackTracker;
use crate::packet_cache::PacketCache;
use crate::reception::ReceiverStats;
use crate::rtp_munger::SenderReportTiming;

/// A layer without packets for this time is inactive.
const LAYER_INACTIVE_AFTER: Duration = Duration::from_millis(1_500);
/// A layer has stalled when it had no packet for this time while lower layers completed [`STALL_FRAMES`]
/// frames.
const STALL_TIMEOUT: Duration = Duration::from_millis(250);
/// Number of frames that lower layers must complete during a stall.
const STALL_FRAMES: u8 = 3;
/// A layer recovers from a stall after it has delivered packets without interruption for this time.
const STALL_RECOVERY: Duration = Duration::from_secs(1);
/// Window over which a bitrate is measured.
const BITRATE_WINDOW: Duration = Duration::from_millis(500);

/// One simulcast layer of a published track.
pub(crate) struct LayerStream {
    /// Identifies the stream's packets within the room; a new one whenever the publisher restarts it.
    pub(crate) stream_id: u32,
    /// The `rid` of the layer in the publisher's section (RFC 8852).
    pub(crate) rid: Option<String>,
    /// The publisher's SSRC, as announced or seen.
    pub(crate) ssrc: Option<u32>,
    /// SSRC of its retransmissions (RFC 4588).
    pub(crate) rtx_ssrc: Option<u32>,
    /// Highest extended sequence number received.
    pub(crate) highest_index: Option<u64>,
    /// Recent packets, for forwarding and retransmission.
    pub(crate) cache: PacketCache,
    /// Missing packets to request.
    pub(crate) nacks: NackTracker,
    /// Reception statistics (RFC 3550).
    pub(crate) stats: ReceiverStats,
    /// The last sender report of the publisher, and when it was received.
    pub(crate) sender_report: Option<(SenderReportTiming, Instant)>,
    /// Key frame requests to the publisher.
    pub(crate) key_frames: KeyFrameRequester,
    /// Number of the forwarding segment; it grows whenever packets were withheld from all subscribers.
    pub(crate) segment: u32,
    /// The last packet was not forwarded.
    pub(crate) is_interrupted: bool,
    /// Share of packets lost recently, before any repair, 0 to 1.
    pub(crate) loss_fraction: f32,
    /// Since when the publisher has been asked to send the layer; `None` if it is not asked to.
    pub(crate) requested_at: Option<Instant>,
    /// Since when the layer is considered unavailable because the publisher does not send it despite the
    /// request, and until when it is not expected.
    pub(crate) unavailable: Option<(Instant, Instant)>,
    /// Bitrate received from the publisher.
    pub(crate) meter: BitrateMeter,
    clock_rate: u32,
    last_packet: Option<Instant>,
    /// Frames of lower layers completed since the last packet of this layer.
    lower_layer_frames: u8,
    /// The layer has stalled while lower ones continue.
    is_stalled: bool,
    /// When packets resumed after a stall.
    resumed_at: Option<Instant>,
}

impl LayerStream {
    /// A stream without packets; the cache holds `history` packets.
    pub(crate) fn new(
        stream_id: u32,
        rid: Option<String>,
        clock_rate: u32,
        history: usize,
    ) -> Self {
        Self {
            stream_id,
            rid,
            ssrc: None,
            rtx_ssrc: None,
            highest_index: None,
            cache: PacketCache::new(history),
            nacks: NackTracker::default(),
            stats: ReceiverStats::new(clock_rate),
            sender_report: None,
            key_frames: KeyFrameRequester::default(),
            segment: 0,
            is_interrupted: false,
            loss_fraction: 0.0,
            requested_at: None,
            unavailable: None,
            meter: BitrateMeter::default(),
            clock_rate,
            last_packet: None,
            lower_layer_frames: 0,
            is_stalled: false,
            resumed_at: None,
        }
    }

    /// The publisher restarted the stream with another SSRC: forgets all packets.
    pub(crate) fn reset(&mut self, source: u32) {
        self.stream_id = source;
        self.highest_index = None;
        self.cache.clear();
        self.nacks = NackTracker::default();
        self.stats = ReceiverStats::new(self.clock_rate);
        self.sender_report = None;
    }

    /// Records a received packet.
    pub(crate) fn on_packet(&mut self, now: Instant, bytes: usize) {
        if self.is_stalled {
            let has_gap = self.last_packet.is_none_or(|last| now > last + STALL_TIMEOUT);
            let resumed_at = self.resumed_at.filter(|_| !has_gap).unwrap_or(now);
            self.resumed_at = Some(resumed_at);
            self.is_stalled = now < resumed_at + STALL_RECOVERY;
        }
        self.lower_layer_frames = 0;
        self.last_packet = Some(now);
        self.meter.add(now, bytes);
    }

    /// Records that a frame of a lower layer is complete; true if this layer has just stalled.
    pub(crate) fn on_lower_layer_frame(&mut self, now: Instant) -> bool {
        self.lower_layer_frames = self.lower_layer_frames.saturating_add(1);
        let is_silent = self.last_packet.is_some_and(|last| now >= last + STALL_TIMEOUT);
        let has_stalled = !self.is_stalled && self.lower_layer_frames >= STALL_FRAMES && is_silent;
        self.is_stalled |= has_stalled;
        has_stalled
    }

    /// Records that the publisher was asked to send the layer; an earlier stall is forgotten.
    pub(crate) fn request(&mut self, now: Instant) {
        self.requested_at = Some(now);
        self.is_stalled = false;
    }

    /// Whether the layer is active and has not stalled.
    pub(crate) fn is_steady(&self, now: Instant) -> bool {
        self.is_active(now) && !self.is_stalled
    }

    /// The minimum time between two key frame requests: much longer while the stream is inactive. A paused
    /// stream resumes with a key frame by itself, but a static picture must be requested.
    pub(crate) fn key_frame_interval(&self, now: Instant, usual: Duration) -> Duration {
        if self.is_active(now) { usual } else { usual.max(MIN_INACTIVE_KEY_FRAME_INTERVAL) }
    }

    /// Whether the publisher currently sends the layer.
    pub(crate) fn is_active(&self, now: Instant) -> bool {
        self.last_packet.is_some_and(|last| now < last + LAYER_INACTIVE_AFTER)
    }
}

/// Pending key frame request of one stream: merges requests of subscribers and limits their rate.
#[derive(Default)]
pub(crate) struct KeyFrameRequester {
    is_requested: bool,
    last_request: Option<Instant>,
}

impl KeyFrameRequester {
    /// Requests a key frame.
    pub(crate) fn request(&mut self) {
        self.is_requested = true;
    }

    /// A key frame was received.
    pub(crate) fn on_key_frame(&mut self) {
        self.is_requested = false;
    }

    /// Whether a request must be sent now; if so, it counts as sent.
    pub(crate) fn take_due(&mut self, now: Instant, interval: Duration) -> bool {
        let due = self.is_requested && self.last_request.is_none_or(|last| last + interval <= now);
        if due {
            *self = Self { is_requested: false, last_request: Some(now) };
        }
        due
    }

    /// When the pending request may be sent, if one was sent before.
    pub(crate) fn next_due(&self, interval: Duration) -> Option<Instant> {
        self.last_request.filter(|_| self.is_requested).map(|last| last + interval)
    }
}

/// Measures a bitrate over windows of [`BITRATE_WINDOW`].
#[derive(Default)]
pub(crate) struct BitrateMeter {
    window_start: Option<Instant>,
    bytes: usize,
    bitrate_bps: Option<u64>,
}

impl BitrateMeter {
    /// Adds transferred bytes.
    pub(crate) fn add(&mut self, now: Instant, bytes: usize) {
        let window_start = *self.window_start.get_or_insert(now);
        self.bytes += bytes;
        let elapsed = now.saturating_duration_since(window_start);
        if elapsed >= BITRATE_WINDOW {
            // A window that contains a pause says nothing about the bitrate to expect.
            if elapsed < LAYER_INACTIVE_AFTER {
                self.bitrate_bps = Some((self.bytes as f64 * 8.0 / elapsed.as_secs_f64()) as u64);
            }
            (self.window_start, self.bytes) = (Some(now), 0);
        }
    }

    /// Bits per second as last measured; zero if nothing was transferred recently.
    pub(crate) fn bitrate(&self, now: Instant) -> u64 {
        let is_fresh = self.window_start.is_some_and(|start| now < start + LAYER_INACTIVE_AFTER);
        self.bitrate_bps.filter(|_| is_fresh).unwrap_or(0)
    }

    /// Bits per second as last measured, however long ago.
    pub(crate) fn last_bitrate(&self) -> Option<u64> {
        self.bitrate_bps
    }
}
