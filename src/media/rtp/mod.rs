//! An RTP packet as it lies in its buffer (RFC 3550 §5.1): read in place, nothing copied.

mod extension;

pub(crate) use extension::HeaderExtensionWriter;
pub(crate) use extension::HeaderExtensions;

use std::fmt;

/// A view of one packet; made only of bytes that hold a whole, sound header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtpPacket<'a> {
    bytes: &'a [u8],
    /// Where the payload begins, behind contributing sources and the extension.
    payload_at: usize,
    /// Where it ends, before the padding.
    payload_end: usize,
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RtpParseError {
    /// Fewer bytes than the header says there are.
    Short,
    /// Not version 2.
    Version,
    /// More padding than payload, or none where some is announced.
    Padding,
}

impl fmt::Display for RtpParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "shorter than its header says",
            Self::Version => "not RTP version 2",
            Self::Padding => "its padding cannot be right",
        })
    }
}

impl std::error::Error for RtpParseError {}

const FIXED_HEADER: usize = 12;

/// How long the header is, contributing sources and extension included. Says nothing of the padding,
/// which cannot be seen before the packet is decrypted.
///
/// # Errors
/// [`RtpParseError`], if the bytes hold no whole header.
pub(crate) fn header_length(bytes: &[u8]) -> Result<usize, RtpParseError> {
    let first = *bytes.first().ok_or(RtpParseError::Short)?;
    if first >> 6 != 2 {
        return Err(RtpParseError::Version);
    }
    let mut at = FIXED_HEADER + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let words = bytes.get(at + 2..at + 4).ok_or(RtpParseError::Short)?;
        at += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    if bytes.len() < at { Err(RtpParseError::Short) } else { Ok(at) }
}

impl<'a> RtpPacket<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`RtpParseError`], for any bytes that are not one whole packet.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, RtpParseError> {
        let at = header_length(bytes)?;
        let first = bytes[0];
        let padding = match bytes.last() {
            Some(&count) if first & 0x20 != 0 => usize::from(count),
            _ => 0,
        };
        let padded = first & 0x20 != 0;
        if (padded && padding == 0) || padding > bytes.len() - at {
            return Err(RtpParseError::Padding);
        }
        Ok(Self { bytes, payload_at: at, payload_end: bytes.len() - padding })
    }

    /// Marks the end of a video frame, or the start of a talk spurt.
    pub(crate) fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// Which codec, as the session agreed: 0 to 127.
    pub(crate) fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    /// Counts packets, modulo 2¹⁶.
    pub(crate) fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The moment of sampling, in the units of the codec's clock, modulo 2³².
    pub(crate) fn timestamp(&self) -> u32 {
        self.word(4)
    }

    /// The stream it belongs to.
    pub(crate) fn ssrc(&self) -> u32 {
        self.word(8)
    }

    /// The header extensions with their local identifiers, in both forms (RFC 8285 §4).
    pub(crate) fn extensions(&self) -> HeaderExtensions<'a> {
        HeaderExtensions::of(&self.bytes[..self.payload_at])
    }

    /// What the codec made, without padding.
    pub(crate) fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_at..self.payload_end]
    }

    fn word(&self, at: usize) -> u32 {
        let bytes = [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]];
        u32::from_be_bytes(bytes)
    }
}

impl fmt::Debug for RtpPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("ssrc", &self.ssrc())
            .field("sequence", &self.sequence())
            .field("timestamp", &self.timestamp())
            .field("payload_type", &self.payload_type())
            .field("marker", &self.marker())
            .field("payload_len", &self.payload().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Version 2, padding and extension as wanted, two contributing sources.
    fn packet(extension: &[u8], payload: &[u8], padding: u8) -> Vec<u8> {
        let padded = u8::from(padding > 0) << 5;
        let extended = u8::from(!extension.is_empty()) << 4;
        let mut bytes = vec![0x80 | padded | extended | 2, 0x80 | 96, 0x12, 0x34];
        bytes.extend([0, 0, 0, 7, 0xde, 0xad, 0xbe, 0xef]);
        bytes.extend([0; 8]);
        if !extension.is_empty() {
            bytes.extend([0xbe, 0xde, 0, u8::try_from(extension.len() / 4).unwrap()]);
            bytes.extend(extension);
        }
        bytes.extend(payload);
        if padding > 0 {
            bytes.extend(std::iter::repeat_n(0, usize::from(padding) - 1));
            bytes.push(padding);
        }
        bytes
    }

    #[test]
    fn rtp_packet_fields_are_parsed() {
        let bytes = packet(&[1, 2, 3, 4], b"voice", 3);
        let packet = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(
            (packet.sequence(), packet.timestamp(), packet.ssrc()),
            (0x1234, 7, 0xdead_beef)
        );
        assert_eq!((packet.marker(), packet.payload_type()), (true, 96));
        assert_eq!(packet.payload(), b"voice");
    }

    #[test]
    fn malformed_rtp_packet_is_rejected() {
        assert_eq!(RtpPacket::parse(&[]), Err(RtpParseError::Short));
        assert_eq!(RtpPacket::parse(&[0x40; 12]), Err(RtpParseError::Version));
        assert_eq!(RtpPacket::parse(&[0x80; 11]), Err(RtpParseError::Short));
        let mut lying = packet(&[], b"", 4);
        *lying.last_mut().unwrap() = 200;
        assert_eq!(RtpPacket::parse(&lying), Err(RtpParseError::Padding));
        *lying.last_mut().unwrap() = 0;
        assert_eq!(RtpPacket::parse(&lying), Err(RtpParseError::Padding));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic_rtp_parser(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                prop_assert!(packet.payload().len() <= bytes.len() - FIXED_HEADER);
                let _ = format!("{packet:?}");
            }
        }

        #[test]
        fn rtp_payload_round_trips(
            payload in prop::collection::vec(any::<u8>(), 0..50),
            words in 0usize..5,
            padding in 0u8..20,
        ) {
            let bytes = packet(&vec![7; words * 4], &payload, padding);
            prop_assert_eq!(RtpPacket::parse(&bytes).unwrap().payload(), &payload[..]);
        }
    }
}
