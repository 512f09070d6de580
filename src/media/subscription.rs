//! What one participant receives of one track.

use std::time::{Duration, Instant};

use crate::api::{LayerLimit, SimulcastLayer, TrackId};
use crate::codec::Codec;
use crate::codec::vp8::Vp8Munger;
use crate::rtp_munger::RtpMunger;
use crate::sdp::{ExtensionIds, PayloadFormat, SendSection};
use crate::track::PublishedTrack;

/// How many retransmissions are remembered, so that none is sent twice within a round trip.
const RESENT: usize = 64;
/// If this share of a layer is more than the link carries, the link is better left empty.
const TOO_MUCH: f64 = 0.7;
/// A picture that stands still for so long is noticed.
const FREEZE: Duration = Duration::from_millis(500);

/// One receiving section, with the stream that the subscriber sees.
pub(crate) struct DownTrack {
    /// What is received.
    pub(crate) track: TrackId,
    /// Where that is.
    pub(crate) place: usize,
    /// As the subscriber calls it.
    pub(crate) format: PayloadFormat,
    /// The same for sound with redundancy, if both know it.
    pub(crate) redundant: Option<PayloadFormat>,
    /// Header extensions of the section.
    pub(crate) ids: ExtensionIds,
    /// As the subscriber sees it.
    pub(crate) sending: SendSection,
    /// The most that is wanted.
    pub(crate) limit: LayerLimit,
    /// The layer that fits the downlink, whether or not it is being published; none: paused.
    pub(crate) chosen: Option<SimulcastLayer>,
    /// What will be chosen soon if nothing changes: its publisher is asked for it already.
    pub(crate) soon: Option<SimulcastLayer>,
    /// Which stream of the track is to be sent; none: paused.
    pub(crate) target: Option<usize>,
    /// Numbers and time.
    pub(crate) rewriter: RtpMunger,
    /// The counters of VP8.
    pub(crate) munger: Vp8Munger,
    /// The run of the packets that are being forwarded.
    pub(crate) run: u32,
    /// Must begin with a key frame, even if it is the same source.
    pub(crate) waiting: bool,
    /// Counts retransmissions as SRTP does.
    pub(crate) repair_index: u64,
    /// Packets sent.
    pub(crate) packets: u32,
    /// Bytes of payload sent.
    pub(crate) octets: u32,
    /// The middle of the NTP time of the last sender report, and when it was sent.
    pub(crate) reported: Option<(u32, Instant)>,
    /// When the last packet was sent, unless sending was interrupted on purpose.
    pub(crate) last: Option<Instant>,
    /// Times that the picture stood still, since quality was told last.
    pub(crate) freezes: u32,
    /// What the subscriber reports: the share that was lost, and the jitter.
    pub(crate) suffers: (f32, Duration),
    resent: [(u16, Option<Instant>); RESENT],
}

impl DownTrack {
    /// Nothing was sent yet. `start` is where sequence numbers begin.
    pub(crate) fn new(
        track: &PublishedTrack,
        place: usize,
        format: PayloadFormat,
        sending: SendSection,
        start: u16,
    ) -> Self {
        Self {
            track: track.id,
            place,
            rewriter: RtpMunger::new(format.codec.clock_rate(), start),
            format,
            redundant: None,
            ids: ExtensionIds::default(),
            sending,
            limit: LayerLimit::Most(SimulcastLayer::High),
            chosen: None,
            soon: None,
            target: None,
            munger: Vp8Munger::default(),
            run: 0,
            waiting: true,
            repair_index: u64::from(start),
            packets: 0,
            octets: 0,
            reported: None,
            last: None,
            freezes: 0,
            suffers: (0.0, Duration::ZERO),
            resent: [(0, None); RESENT],
        }
    }

    /// The stream of the track that is being forwarded.
    pub(crate) fn current(&self, track: &PublishedTrack) -> Option<usize> {
        let source = self.rewriter.source()?;
        track.streams.iter().position(|stream| stream.source == source)
    }

    /// Chooses what is to be sent; nothing resumes without a key frame.
    pub(crate) fn aim(&mut self, target: Option<usize>) {
        if self.target.is_none() && target.is_some() {
            self.waiting = true;
            self.last = None;
        }
        self.target = target;
    }

    /// Stops what is far too much for the link, even if what is to come instead is not there yet: it
    /// would fill the link, so that the key frame that is waited for got lost, too.
    pub(crate) fn hold_back(&mut self, now: Instant, track: &PublishedTrack, budget: u64) {
        let current = self.current(track).filter(|current| self.target < Some(*current));
        let stream = current.and_then(|current| track.streams.get(current));
        if stream.is_some_and(|it| it.meter.rate(now) as f64 * TOO_MUCH > budget as f64) {
            self.waiting = true;
        }
    }

    /// Whether a packet of this source is of use: a picture from before a key frame that is waited
    /// for, or was sent already, is not.
    pub(crate) fn repairs(&self, source: u32) -> bool {
        !self.is_video() || !self.waiting && self.rewriter.source() == Some(source)
    }

    /// The stream of which a key frame is needed before anything can be seen, or seen better.
    pub(crate) fn needs_key_frame(&self, track: &PublishedTrack) -> Option<usize> {
        let target = self.target.filter(|_| !track.is_hidden())?;
        let there = !self.waiting && self.current(track) == Some(target);
        let behind = track.streams.get(target)?.run != self.run;
        (self.is_video() && (!there || behind)).then_some(target)
    }

    /// Whether it is a picture.
    pub(crate) fn is_video(&self) -> bool {
        !matches!(self.format.codec, Codec::Opus | Codec::Red)
    }

    /// A packet was sent, of so many bytes of payload.
    pub(crate) fn sent(&mut self, now: Instant, octets: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u32);
        let before = self.last.replace(now);
        if self.is_video() && before.is_some_and(|before| now > before + FREEZE) {
            self.freezes += 1;
        }
    }

    /// Whether a packet may be sent again now: not twice within `pause`.
    pub(crate) fn may_resend(&mut self, now: Instant, sequence: u16, pause: Duration) -> bool {
        let slot = &mut self.resent[usize::from(sequence) % RESENT];
        let recent = slot.0 == sequence && slot.1.is_some_and(|at| now < at + pause);
        if !recent {
            *slot = (sequence, Some(now));
        }
        !recent
    }
}
