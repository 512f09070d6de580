//! A down track: what one participant receives of one published track.

use std::time::{Duration, Instant};

use crate::api::{LayerLimit, SimulcastLayer, TrackId};
use crate::codec::Codec;
use crate::codec::vp8::Vp8Munger;
use crate::limits::MIN_FREEZE_DURATION;
use crate::rtp_munger::RtpMunger;
use crate::sdp::{ExtensionIds, PayloadFormat, SendSection};
use crate::track::PublishedTrack;

/// Number of retransmissions remembered, so that none is sent twice within a round trip.
const RTX_MEMORY_PACKETS: usize = 64;
/// A stream of which this share exceeds the budget is stopped at once instead of being replaced at the next
/// key frame.
const EXCESS_RATIO: f64 = 0.7;

/// One receiving section with the RTP stream that the subscriber sees.
pub(crate) struct DownTrack {
    /// The track that is received.
    pub(crate) track: TrackId,
    /// Slot of the track in the room.
    pub(crate) track_slot: usize,
    /// The payload format under the subscriber's payload type.
    pub(crate) format: PayloadFormat,
    /// The same for audio with redundancy (RED), if both sides support it.
    pub(crate) red_format: Option<PayloadFormat>,
    /// Header extension ids of the section.
    pub(crate) extension_ids: ExtensionIds,
    /// SSRCs and names under which the track is sent.
    pub(crate) section: SendSection,
    /// The highest layer that the subscriber wants.
    pub(crate) limit: LayerLimit,
    /// The layer that fits the downlink, whether or not it is being published; `None` if paused.
    pub(crate) allocated_layer: Option<SimulcastLayer>,
    /// The layer that is going to be allocated if nothing changes; its publisher is already asked for it.
    pub(crate) upcoming_layer: Option<SimulcastLayer>,
    /// Index of the stream to send; `None` if paused.
    pub(crate) target_stream: Option<usize>,
    /// Rewrites sequence numbers and timestamps.
    pub(crate) rtp_munger: RtpMunger,
    /// Rewrites picture ids and TL0PICIDX of VP8.
    pub(crate) vp8_munger: Vp8Munger,
    /// The forwarding segment of the packets that are being sent.
    pub(crate) segment: u32,
    /// Sending must start with a key frame, even from the same stream.
    pub(crate) awaits_key_frame: bool,
    /// Extended sequence number of the RTX stream, as SRTP counts it.
    pub(crate) rtx_index: u64,
    /// RTP packets sent.
    pub(crate) packets_sent: u32,
    /// Bytes of RTP payload sent.
    pub(crate) octets_sent: u32,
    /// The middle 32 bits of the NTP time of the last sender report, and when it was sent.
    pub(crate) last_sender_report: Option<(u32, Instant)>,
    /// When the last packet was sent; `None` after an intended interruption.
    pub(crate) last_sent: Option<Instant>,
    /// Freezes since the last quality report.
    pub(crate) freezes: u32,
    /// Share of packets lost (0 to 1) and jitter, as the subscriber reports them.
    pub(crate) reported_loss: (f32, Duration),
    recent_rtx: [(u16, Option<Instant>); RTX_MEMORY_PACKETS],
}

impl DownTrack {
    /// A down track without packets. `start` is the first sequence number.
    pub(crate) fn new(
        track: &PublishedTrack,
        track_slot: usize,
        format: PayloadFormat,
        section: SendSection,
        start: u16,
    ) -> Self {
        Self {
            track: track.id,
            track_slot,
            rtp_munger: RtpMunger::new(format.codec.clock_rate(), start),
            format,
            red_format: None,
            extension_ids: ExtensionIds::default(),
            section,
            limit: LayerLimit::UpTo(SimulcastLayer::High),
            allocated_layer: None,
            upcoming_layer: None,
            target_stream: None,
            vp8_munger: Vp8Munger::default(),
            segment: 0,
            awaits_key_frame: true,
            rtx_index: u64::from(start),
            packets_sent: 0,
            octets_sent: 0,
            last_sender_report: None,
            last_sent: None,
            freezes: 0,
            reported_loss: (0.0, Duration::ZERO),
            recent_rtx: [(0, None); RTX_MEMORY_PACKETS],
        }
    }

    /// Index of the stream that is being forwarded.
    pub(crate) fn current_stream(&self, track: &PublishedTrack) -> Option<usize> {
        let stream_id = self.rtp_munger.stream_id()?;
        track.streams.iter().position(|stream| stream.stream_id == stream_id)
    }

    /// Sets the stream to send; a paused down track resumes with a key frame.
    pub(crate) fn set_target(&mut self, target: Option<usize>) {
        if self.target_stream.is_none() && target.is_some() {
            self.awaits_key_frame = true;
            self.last_sent = None;
        }
        self.target_stream = target;
    }

    /// Stops a stream that far exceeds the budget, even if its replacement has not started yet: it would
    /// congest the link, so that the awaited key frame would be lost, too.
    pub(crate) fn stop_if_excessive(&mut self, now: Instant, track: &PublishedTrack, budget: u64) {
        let current =
            self.current_stream(track).filter(|current| self.target_stream < Some(*current));
        let stream = current.and_then(|current| track.streams.get(current));
        if stream
            .is_some_and(|current| current.meter.bitrate(now) as f64 * EXCESS_RATIO > budget as f64)
        {
            self.awaits_key_frame = true;
        }
    }

    /// Whether a retransmitted packet of this stream is useful: a video packet from before an awaited key
    /// frame is not.
    pub(crate) fn accepts_retransmission_of(&self, stream_id: u32) -> bool {
        !self.is_video() || !self.awaits_key_frame && self.rtp_munger.stream_id() == Some(stream_id)
    }

    /// The stream that must send a key frame before the subscriber sees anything, or a better layer.
    pub(crate) fn needs_key_frame(&self, track: &PublishedTrack) -> Option<usize> {
        let target = self.target_stream.filter(|_| !track.is_suppressed())?;
        let is_on_target = !self.awaits_key_frame && self.current_stream(track) == Some(target);
        let has_new_segment = track.streams.get(target)?.segment != self.segment;
        (self.is_video() && (!is_on_target || has_new_segment)).then_some(target)
    }

    /// Whether the track is video.
    pub(crate) fn is_video(&self) -> bool {
        !matches!(self.format.codec, Codec::Opus | Codec::Red)
    }

    /// Records that a packet with this many payload bytes was sent.
    pub(crate) fn on_sent(&mut self, now: Instant, octets: usize) {
        self.packets_sent = self.packets_sent.wrapping_add(1);
        self.octets_sent = self.octets_sent.wrapping_add(octets as u32);
        let previous = self.last_sent.replace(now);
        if self.is_video() && previous.is_some_and(|previous| now > previous + MIN_FREEZE_DURATION)
        {
            self.freezes += 1;
        }
    }

    /// Whether a packet may be retransmitted now: not twice within `min_interval`.
    pub(crate) fn may_retransmit(
        &mut self,
        now: Instant,
        sequence: u16,
        min_interval: Duration,
    ) -> bool {
        let entry = &mut self.recent_rtx[usize::from(sequence) % RTX_MEMORY_PACKETS];
        let recent =
            entry.0 == sequence && entry.1.is_some_and(|sent_at| now < sent_at + min_interval);
        if !recent {
            *entry = (sequence, Some(now));
        }
        !recent
    }
}
