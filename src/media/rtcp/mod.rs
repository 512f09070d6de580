//! RTCP as it lies in its buffer (RFC 3550 §6, RFC 4585, RFC 5104): compounds read in place.

mod write;

pub(crate) use write::{CompoundWriter, ReportBlock};

/// Sender report.
pub(crate) const SENDER: u8 = 200;
/// Receiver report.
pub(crate) const RECEIVER: u8 = 201;
/// Transport layer feedback: NACK and transport-wide congestion control.
pub(crate) const TRANSPORT: u8 = 205;
/// Payload-specific feedback: PLI, FIR and REMB.
pub(crate) const PAYLOAD: u8 = 206;
/// Format of a NACK (RFC 4585 §6.2.1).
pub(crate) const NACK: u8 = 1;
/// Format of transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).
pub(crate) const TRANSPORT_WIDE: u8 = 15;
/// Format of a picture loss indication (RFC 4585 §6.3.1).
pub(crate) const PICTURE_LOSS: u8 = 1;
/// Format of a full intra request (RFC 5104 §4.3.1).
pub(crate) const FULL_INTRA: u8 = 4;
/// Format of application layer feedback: REMB (draft-alvestrand-rmcat-remb-03).
pub(crate) const APPLICATION: u8 = 15;

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtcpPacket<'a> {
    /// Count of reports, or format of feedback.
    pub(crate) count: u8,
    /// Packet type.
    pub(crate) kind: u8,
    /// What follows the first four bytes, without padding.
    pub(crate) body: &'a [u8],
}

/// The packets of a compound; ends at the first one that is not sound.
pub(crate) fn parts(compound: &[u8]) -> impl Iterator<Item = RtcpPacket<'_>> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let header = rest.get(..4)?;
        if header[0] >> 6 != 2 {
            return None;
        }
        let length = 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
        let mut body = rest.get(4..4 + length)?;
        if header[0] & 0x20 != 0 {
            let padding = usize::from(*body.last()?);
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        let part = RtcpPacket { count: header[0] & 0x1f, kind: header[1], body };
        rest = &rest[4 + length..];
        Some(part)
    })
}

/// A word of a body.
pub(crate) fn word(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?))
}

/// A sender report, without its report blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    /// Of which stream.
    pub(crate) ssrc: u32,
    /// The sender's clock: seconds since 1900, 32.32 fixed point.
    pub(crate) ntp: u64,
    /// The same moment as an RTP timestamp.
    pub(crate) timestamp: u32,
}

impl<'a> RtcpPacket<'a> {
    /// The sender's part of a sender report.
    pub(crate) fn sender_report(&self) -> Option<SenderInfo> {
        let (high, low) = (word(self.body, 4)?, word(self.body, 8)?);
        Some(SenderInfo {
            ssrc: word(self.body, 0)?,
            ntp: u64::from(high) << 32 | u64::from(low),
            timestamp: word(self.body, 12)?,
        })
    }

    /// The report blocks of a sender or receiver report.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = ReportBlock> + 'a {
        let at = if self.kind == SENDER { 24 } else { 4 };
        let blocks = self.body.get(at..).unwrap_or_default();
        blocks
            .chunks_exact(ReportBlock::LENGTH)
            .take(usize::from(self.count))
            .filter_map(ReportBlock::read)
    }

    /// The stream that feedback is about.
    pub(crate) fn media(&self) -> Option<u32> {
        word(self.body, 4)
    }

    /// The sequence numbers that a NACK asks for.
    pub(crate) fn missing(&self) -> impl Iterator<Item = u16> + 'a {
        self.body.get(8..).unwrap_or_default().chunks_exact(4).flat_map(|pair| {
            let first = u16::from_be_bytes([pair[0], pair[1]]);
            let mask = u16::from_be_bytes([pair[2], pair[3]]);
            let more = (0..16u16).filter(move |bit| mask >> bit & 1 == 1);
            std::iter::once(first).chain(more.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }

    /// The streams of which a full intra request wants a key frame.
    pub(crate) fn intra(&self) -> impl Iterator<Item = u32> + 'a {
        self.body.get(8..).unwrap_or_default().chunks_exact(8).filter_map(|entry| word(entry, 0))
    }

    /// What a REMB allows, in bits per second.
    pub(crate) fn maximum_bitrate(&self) -> Option<u64> {
        if self.body.get(8..12)? != b"REMB" {
            return None;
        }
        let value = word(self.body, 12)? & 0x00ff_ffff;
        let (exponent, mantissa) = (value >> 18, u64::from(value & 0x3ffff));
        Some(mantissa.saturating_mul(1u64.checked_shl(exponent)?))
    }
}

#[cfg(test)]
mod tests;
