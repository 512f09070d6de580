//! RTCP (RFC 3550 §6, RFC 4585, RFC 5104): compound packets, parsed in place.

mod write;

pub(crate) use write::{CompoundWriter, ReportBlock};

/// Packet type of a sender report.
pub(crate) const SENDER_REPORT: u8 = 200;
/// Packet type of a receiver report.
pub(crate) const RECEIVER_REPORT: u8 = 201;
/// Packet type of transport layer feedback: NACK and transport-wide congestion control.
pub(crate) const TRANSPORT_FEEDBACK: u8 = 205;
/// Packet type of payload-specific feedback: PLI, FIR and REMB.
pub(crate) const PAYLOAD_FEEDBACK: u8 = 206;
/// Feedback message type of a NACK (RFC 4585 §6.2.1).
pub(crate) const NACK: u8 = 1;
/// Feedback message type of transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01).
pub(crate) const TWCC: u8 = 15;
/// Feedback message type of a picture loss indication (RFC 4585 §6.3.1).
pub(crate) const PLI: u8 = 1;
/// Feedback message type of a full intra request (RFC 5104 §4.3.1).
pub(crate) const FIR: u8 = 4;
/// Feedback message type of application layer feedback: REMB (draft-alvestrand-rmcat-remb-03).
pub(crate) const APPLICATION_LAYER_FEEDBACK: u8 = 15;

/// One packet of a compound packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtcpPacket<'a> {
    /// Number of report blocks, or feedback message type.
    pub(crate) count: u8,
    /// RTCP packet type.
    pub(crate) packet_type: u8,
    /// What follows the first four bytes, without padding.
    pub(crate) body: &'a [u8],
}

/// The packets of a compound packet, up to the first invalid one.
pub(crate) fn packets(compound: &[u8]) -> impl Iterator<Item = RtcpPacket<'_>> {
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
        let packet = RtcpPacket { count: header[0] & 0x1f, packet_type: header[1], body };
        rest = &rest[4 + length..];
        Some(packet)
    })
}

/// The 32-bit word at an offset of a packet body.
pub(crate) fn u32_at(body: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?))
}

/// The sender info of a sender report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SenderInfo {
    /// SSRC of the stream.
    pub(crate) ssrc: u32,
    /// NTP time of the sender: seconds since 1900 as 32.32 fixed point.
    pub(crate) ntp: u64,
    /// RTP timestamp of the same moment.
    pub(crate) timestamp: u32,
}

impl<'a> RtcpPacket<'a> {
    /// The sender info of a sender report.
    pub(crate) fn sender_info(&self) -> Option<SenderInfo> {
        let (high, low) = (u32_at(self.body, 4)?, u32_at(self.body, 8)?);
        Some(SenderInfo {
            ssrc: u32_at(self.body, 0)?,
            ntp: u64::from(high) << 32 | u64::from(low),
            timestamp: u32_at(self.body, 12)?,
        })
    }

    /// The report blocks of a sender or receiver report.
    pub(crate) fn report_blocks(&self) -> impl Iterator<Item = ReportBlock> + 'a {
        let at = if self.packet_type == SENDER_REPORT { 24 } else { 4 };
        let blocks = self.body.get(at..).unwrap_or_default();
        blocks
            .chunks_exact(ReportBlock::LENGTH_BYTES)
            .take(usize::from(self.count))
            .filter_map(ReportBlock::parse)
    }

    /// The media source SSRC of a feedback packet.
    pub(crate) fn media_ssrc(&self) -> Option<u32> {
        u32_at(self.body, 4)
    }

    /// The sequence numbers that a NACK requests.
    pub(crate) fn nack_sequences(&self) -> impl Iterator<Item = u16> + 'a {
        self.body.get(8..).unwrap_or_default().chunks_exact(4).flat_map(|pair| {
            let first = u16::from_be_bytes([pair[0], pair[1]]);
            let mask = u16::from_be_bytes([pair[2], pair[3]]);
            let following = (0..16u16).filter(move |bit| mask >> bit & 1 == 1);
            std::iter::once(first).chain(following.map(move |bit| first.wrapping_add(bit + 1)))
        })
    }

    /// The SSRCs of which a full intra request requests a key frame.
    pub(crate) fn fir_ssrcs(&self) -> impl Iterator<Item = u32> + 'a {
        self.body.get(8..).unwrap_or_default().chunks_exact(8).filter_map(|entry| u32_at(entry, 0))
    }

    /// The bitrate of a REMB, in bits per second; `None` if it is another message.
    pub(crate) fn remb_bps(&self) -> Option<u64> {
        if self.body.get(8..12)? != b"REMB" {
            return None;
        }
        let value = u32_at(self.body, 12)? & 0x00ff_ffff;
        let (exponent, mantissa) = (value >> 18, u64::from(value & 0x3ffff));
        Some(mantissa.saturating_mul(1u64.checked_shl(exponent)?))
    }
}

#[cfg(test)]
mod tests;
