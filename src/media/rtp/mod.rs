//! RTP packets (RFC 3550 §5.1), parsed in place without copying.

mod extension;

use std::fmt;

pub(crate) use extension::{HeaderExtensionWriter, HeaderExtensions};

/// A view of one packet; its bytes hold a complete, valid header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RtpPacket<'a> {
    bytes: &'a [u8],
    /// Offset of the payload, behind contributing sources and header extension.
    payload_start: usize,
    /// End of the payload, before the padding.
    payload_end: usize,
}

/// Why bytes are not an RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RtpParseError {
    /// Fewer bytes than the header requires.
    TooShort,
    /// The version is not 2.
    UnsupportedVersion,
    /// More padding than payload, or a padding count of zero.
    InvalidPadding,
}

impl fmt::Display for RtpParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than its header requires",
            Self::UnsupportedVersion => "not RTP version 2",
            Self::InvalidPadding => "invalid padding",
        })
    }
}

impl std::error::Error for RtpParseError {}

/// Size of the fixed header in bytes.
const FIXED_HEADER_BYTES: usize = 12;

/// Length of the header in bytes, including contributing sources and extension. Does not check the padding,
/// which is encrypted in SRTP.
///
/// # Errors
/// [`RtpParseError`], if the bytes do not hold a complete header.
pub(crate) fn header_length(bytes: &[u8]) -> Result<usize, RtpParseError> {
    let first = *bytes.first().ok_or(RtpParseError::TooShort)?;
    if first >> 6 != 2 {
        return Err(RtpParseError::UnsupportedVersion);
    }
    let mut offset = FIXED_HEADER_BYTES + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let words = bytes.get(offset + 2..offset + 4).ok_or(RtpParseError::TooShort)?;
        offset += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    if bytes.len() < offset { Err(RtpParseError::TooShort) } else { Ok(offset) }
}

impl<'a> RtpPacket<'a> {
    /// Parses a packet.
    ///
    /// # Errors
    /// [`RtpParseError`], if the bytes are not one complete packet.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, RtpParseError> {
        let payload_start = header_length(bytes)?;
        let first = bytes[0];
        let padding = match bytes.last() {
            Some(&count) if first & 0x20 != 0 => usize::from(count),
            _ => 0,
        };
        let has_padding = first & 0x20 != 0;
        if (has_padding && padding == 0) || padding > bytes.len() - payload_start {
            return Err(RtpParseError::InvalidPadding);
        }
        Ok(Self { bytes, payload_start, payload_end: bytes.len() - padding })
    }

    /// Marker bit: end of a video frame, or start of a talk spurt.
    pub(crate) fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    /// Payload type, 0 to 127; the session description assigns codecs to it.
    pub(crate) fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    /// Sequence number, modulo 2¹⁶.
    pub(crate) fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// Sampling time in ticks of the codec's clock, modulo 2³².
    pub(crate) fn timestamp(&self) -> u32 {
        self.u32_at(4)
    }

    /// Synchronization source of the stream.
    pub(crate) fn ssrc(&self) -> u32 {
        self.u32_at(8)
    }

    /// Header extension elements with their ids, in both forms (RFC 8285 §4).
    pub(crate) fn extensions(&self) -> HeaderExtensions<'a> {
        HeaderExtensions::new(&self.bytes[..self.payload_start])
    }

    /// The payload without padding.
    pub(crate) fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_start..self.payload_end]
    }

    fn u32_at(&self, at: usize) -> u32 {
        let bytes = [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]];
        u32::from_be_bytes(bytes)
    }
}

impl fmt::Debug for RtpPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpPacket")
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
    use proptest::prelude::*;

    use super::*;

    /// Version 2 with the given padding and extension, and two contributing sources.
    fn packet(extension: &[u8], payload: &[u8], padding: u8) -> Vec<u8> {
        let padding_bit = u8::from(padding > 0) << 5;
        let extension_bit = u8::from(!extension.is_empty()) << 4;
        let mut bytes = vec![0x80 | padding_bit | extension_bit | 2, 0x80 | 96, 0x12, 0x34];
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
        assert_eq!(RtpPacket::parse(&[]), Err(RtpParseError::TooShort));
        assert_eq!(RtpPacket::parse(&[0x40; 12]), Err(RtpParseError::UnsupportedVersion));
        assert_eq!(RtpPacket::parse(&[0x80; 11]), Err(RtpParseError::TooShort));
        let mut malformed = packet(&[], b"", 4);
        *malformed.last_mut().unwrap() = 200;
        assert_eq!(RtpPacket::parse(&malformed), Err(RtpParseError::InvalidPadding));
        *malformed.last_mut().unwrap() = 0;
        assert_eq!(RtpPacket::parse(&malformed), Err(RtpParseError::InvalidPadding));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic_rtp_parser(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                prop_assert!(packet.payload().len() <= bytes.len() - FIXED_HEADER_BYTES);
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
