//! Writes compound RTCP packets into a reused buffer.

use super::{
    APPLICATION_LAYER_FEEDBACK, NACK, PAYLOAD_FEEDBACK, PLI, RECEIVER_REPORT, SENDER_REPORT,
    SenderInfo, TRANSPORT_FEEDBACK,
};
use crate::limits::{MAX_COMPOUND_BYTES, MAX_REPORT_BLOCKS};

/// A report block about one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    /// SSRC of the stream.
    pub(crate) ssrc: u32,
    /// Share of packets lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// Packets lost since the start; negative if there were duplicates.
    pub(crate) cumulative_lost: i32,
    /// Extended highest sequence number received.
    pub(crate) highest_sequence: u32,
    /// Interarrival jitter in ticks of the RTP clock.
    pub(crate) jitter: u32,
    /// LSR: the middle 32 bits of the NTP time of the last sender report; zero without one.
    pub(crate) last_sr: u32,
    /// DLSR: time since that report was received, in 1/65536 s.
    pub(crate) delay_since_last_sr: u32,
}

impl ReportBlock {
    /// Size of a report block in bytes.
    pub(super) const LENGTH_BYTES: usize = 24;

    /// Parses a report block; `None` if it is truncated.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at| super::u32_at(bytes, at);
        let lost = word(4)?;
        Some(Self {
            ssrc: word(0)?,
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest_sequence: word(8)?,
            jitter: word(12)?,
            last_sr: word(16)?,
            delay_since_last_sr: word(20)?,
        })
    }

    fn words(&self) -> [u32; 6] {
        let lost = self.cumulative_lost.clamp(-0x0080_0000, 0x007f_ffff) as u32 & 0x00ff_ffff;
        let lost = u32::from(self.fraction_lost) << 24 | lost;
        [
            self.ssrc,
            lost,
            self.highest_sequence,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ]
    }
}

/// A compound packet that is being written.
#[derive(Default)]
pub(crate) struct CompoundWriter {
    bytes: Vec<u8>,
}

impl CompoundWriter {
    /// The bytes written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it should be sent before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() > MAX_COMPOUND_BYTES - 300
    }

    /// Removes everything.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Removes everything and returns the buffer for packets that another module writes.
    pub(crate) fn start_external(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        &mut self.bytes
    }

    /// The packets written so far, one by one.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let header = rest.get(..4)?;
            let length = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
            let (packet, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(packet)
        })
    }

    /// Adds a sender report without report blocks; with the counts of packets and of payload bytes.
    pub(crate) fn sender_report(&mut self, report: &SenderInfo, packets: u32, octets: u32) {
        let (high, low) = ((report.ntp >> 32) as u32, report.ntp as u32);
        let words = [report.ssrc, high, low, report.timestamp, packets, octets];
        self.packet(0, SENDER_REPORT, |bytes| words.iter().for_each(|word| put_u32(bytes, *word)));
    }

    /// Adds a receiver report with at most 31 blocks.
    pub(crate) fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        self.packet(blocks.len() as u8, RECEIVER_REPORT, |bytes| {
            put_u32(bytes, ssrc);
            blocks.iter().flat_map(ReportBlock::words).for_each(|word| put_u32(bytes, word));
        });
    }

    /// Adds a NACK for sequence numbers in ascending order.
    pub(crate) fn nack(&mut self, ssrc: u32, media_ssrc: u32, missing: &[u16]) {
        self.packet(NACK, TRANSPORT_FEEDBACK, |bytes| {
            put_u32(bytes, ssrc);
            put_u32(bytes, media_ssrc);
            let mut rest = missing;
            while let Some((&first, mut tail)) = rest.split_first() {
                let mut mask = 0u16;
                while let Some((next, after)) = tail.split_first() {
                    let distance = next.wrapping_sub(first);
                    if !(1..=16).contains(&distance) {
                        break;
                    }
                    mask |= 1 << (distance - 1);
                    tail = after;
                }
                put_u32(bytes, u32::from(first) << 16 | u32::from(mask));
                rest = tail;
            }
        });
    }

    /// Adds a picture loss indication.
    pub(crate) fn pli(&mut self, ssrc: u32, media_ssrc: u32) {
        self.packet(PLI, PAYLOAD_FEEDBACK, |bytes| {
            put_u32(bytes, ssrc);
            put_u32(bytes, media_ssrc);
        });
    }

    /// Adds a REMB: the maximum bitrate in bits per second for these streams together.
    pub(crate) fn remb(&mut self, ssrc: u32, bitrate: u64, media_ssrcs: &[u32]) {
        let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
        let mantissa = (bitrate >> exponent) as u32;
        let media_ssrcs = &media_ssrcs[..media_ssrcs.len().min(255)];
        self.packet(APPLICATION_LAYER_FEEDBACK, PAYLOAD_FEEDBACK, |bytes| {
            put_u32(bytes, ssrc);
            put_u32(bytes, 0);
            bytes.extend_from_slice(b"REMB");
            put_u32(bytes, (media_ssrcs.len() as u32) << 24 | exponent << 18 | mantissa);
            media_ssrcs.iter().for_each(|ssrc| put_u32(bytes, *ssrc));
        });
    }

    fn packet(&mut self, count: u8, packet_type: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0x80 | count, packet_type, 0, 0]);
        body(&mut self.bytes);
        let words = ((self.bytes.len() - start) / 4 - 1) as u16;
        self.bytes[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    }
}

fn put_u32(bytes: &mut Vec<u8>, word: u32) {
    bytes.extend_from_slice(&word.to_be_bytes());
}
