//! AV1 in RTP ("RTP Payload Format For AV1", version 1.0, §4.4): parses the aggregation header.

/// Fields of the aggregation header: Z, W and N.
const CONTINUES_OBU: u8 = 0x80;
const OBU_COUNT: u8 = 0x30;
const NEW_CODED_VIDEO_SEQUENCE: u8 = 0x08;
/// OBU type of a sequence header.
const OBU_SEQUENCE_HEADER: u8 = 1;

/// Whether a packet starts a coded video sequence: the N bit is set, or its first OBU is a sequence header.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    let Some((&header, elements)) = payload.split_first() else { return false };
    if header & CONTINUES_OBU != 0 {
        return false;
    }
    if header & NEW_CODED_VIDEO_SEQUENCE != 0 {
        return !elements.is_empty();
    }
    // A single OBU element has no length prefix.
    let obu = if header & OBU_COUNT == 0x10 { Some(elements) } else { skip_leb128(elements) };
    obu.and_then(<[u8]>::first).is_some_and(|obu| obu >> 3 & 0x0f == OBU_SEQUENCE_HEADER)
}

/// The bytes behind a LEB128 number of at most eight bytes.
fn skip_leb128(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.iter().take(8).position(|byte| byte & 0x80 == 0)?;
    bytes.get(last + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn av1_sequence_header_begins_key_frame() {
        assert!(starts_key_frame(&[0x18, 0x0a, 1]), "the N bit is set");
        assert!(starts_key_frame(&[0x10, 0x0a, 1]), "one OBU, a sequence header");
        assert!(starts_key_frame(&[0x20, 0x02, 0x0a, 1, 0x30]), "the first of two OBUs");
    }

    #[test]
    fn other_av1_packets_do_not_begin_key_frame() {
        assert!(!starts_key_frame(&[0x10, 0x32, 1]), "a frame");
        assert!(!starts_key_frame(&[0x98, 0x0a, 1]), "the rest of an OBU");
        assert!(!starts_key_frame(&[0x00, 0x80, 0x80]), "an unterminated length");
        assert!(!starts_key_frame(&[0x18]), "no OBU");
    }
}
