//! Writes compounds of RTCP into memory that is used again.

use super::{APPLICATION, NACK, PAYLOAD, PICTURE_LOSS, RECEIVER, SENDER, SenderInfo, TRANSPORT};

/// What one receiver says about one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReportBlock {
    /// Which stream.
    pub(crate) ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub(crate) fraction_lost: u8,
    /// Lost in all; less than zero if there were duplicates.
    pub(crate) lost: i32,
    /// Rollovers and highest sequence number.
    pub(crate) highest: u32,
    /// Mean deviation of arrival, in units of the timestamp.
    pub(crate) jitter: u32,
    /// The middle of the NTP time of the last sender report; zero without one.
    pub(crate) last_report: u32,
    /// Since that arrived, in 65536ths of a second.
    pub(crate) delay: u32,
}

impl ReportBlock {
    /// Bytes.
    pub(super) const LENGTH: usize = 24;

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at| super::word(bytes, at);
        let lost = word(4)?;
        Some(Self {
            ssrc: word(0)?,
            fraction_lost: (lost >> 24) as u8,
            lost: ((lost << 8) as i32) >> 8,
            highest: word(8)?,
            jitter: word(12)?,
            last_report: word(16)?,
            delay: word(20)?,
        })
    }

    fn words(&self) -> [u32; 6] {
        let lost = self.lost.clamp(-0x0080_0000, 0x007f_ffff) as u32 & 0x00ff_ffff;
        let lost = u32::from(self.fraction_lost) << 24 | lost;
        [self.ssrc, lost, self.highest, self.jitter, self.last_report, self.delay]
    }
}

/// The most that goes into one datagram, before its protection.
const MAX_COMPOUND_BYTES: usize = 1150;
/// The most report blocks of one report.
const MAX_REPORT_BLOCKS: usize = 31;

/// A compound that is being written.
#[derive(Default)]
pub(crate) struct CompoundWriter {
    bytes: Vec<u8>,
}

impl CompoundWriter {
    /// What was written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it should be sent before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() > MAX_COMPOUND_BYTES - 300
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Begins anew, with packets that somebody else writes.
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        &mut self.bytes
    }

    /// What was written, packet for packet.
    pub(crate) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.bytes[..];
        std::iter::from_fn(move || {
            let header = rest.get(..4)?;
            let length = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
            let (packet, behind) = rest.split_at_checked(length)?;
            rest = behind;
            Some(packet)
        })
    }

    /// Adds a sender report without blocks, with counts of packets and of bytes of payload.
    pub(crate) fn sender(&mut self, report: &SenderInfo, packets: u32, octets: u32) {
        let (high, low) = ((report.ntp >> 32) as u32, report.ntp as u32);
        let words = [report.ssrc, high, low, report.timestamp, packets, octets];
        self.packet(0, SENDER, |bytes| words.iter().for_each(|word| put(bytes, *word)));
    }

    /// Adds a receiver report.
    pub(crate) fn receiver(&mut self, ssrc: u32, blocks: &[ReportBlock]) {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        self.packet(blocks.len() as u8, RECEIVER, |bytes| {
            put(bytes, ssrc);
            blocks.iter().flat_map(ReportBlock::words).for_each(|word| put(bytes, word));
        });
    }

    /// Adds a NACK for sequence numbers in ascending order.
    pub(crate) fn nack(&mut self, ssrc: u32, media: u32, missing: &[u16]) {
        self.packet(NACK, TRANSPORT, |bytes| {
            put(bytes, ssrc);
            put(bytes, media);
            let mut rest = missing;
            while let Some((&first, mut tail)) = rest.split_first() {
                let mut mask = 0u16;
                while let Some((next, behind)) = tail.split_first() {
                    let ahead = next.wrapping_sub(first);
                    if !(1..=16).contains(&ahead) {
                        break;
                    }
                    mask |= 1 << (ahead - 1);
                    tail = behind;
                }
                put(bytes, u32::from(first) << 16 | u32::from(mask));
                rest = tail;
            }
        });
    }

    /// Adds a picture loss indication.
    pub(crate) fn picture_loss(&mut self, ssrc: u32, media: u32) {
        self.packet(PICTURE_LOSS, PAYLOAD, |bytes| {
            put(bytes, ssrc);
            put(bytes, media);
        });
    }

    /// Adds a REMB: the most bits per second for these streams together.
    pub(crate) fn maximum_bitrate(&mut self, ssrc: u32, bitrate: u64, media: &[u32]) {
        let exponent = (64 - bitrate.leading_zeros()).saturating_sub(18);
        let mantissa = (bitrate >> exponent) as u32;
        let media = &media[..media.len().min(255)];
        self.packet(APPLICATION, PAYLOAD, |bytes| {
            put(bytes, ssrc);
            put(bytes, 0);
            bytes.extend_from_slice(b"REMB");
            put(bytes, (media.len() as u32) << 24 | exponent << 18 | mantissa);
            media.iter().for_each(|ssrc| put(bytes, *ssrc));
        });
    }

    fn packet(&mut self, count: u8, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0x80 | count, kind, 0, 0]);
        body(&mut self.bytes);
        let words = ((self.bytes.len() - start) / 4 - 1) as u16;
        self.bytes[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    }
}

fn put(bytes: &mut Vec<u8>, word: u32) {
    bytes.extend_from_slice(&word.to_be_bytes());
}
