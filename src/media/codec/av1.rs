//! AV1 in RTP ("RTP Payload Format For AV1", version 1.0, §4.4): reads the aggregation header.

const CONTINUES_UNIT: u8 = 0x80;
const ELEMENTS: u8 = 0x30;
const NEW_SEQUENCE: u8 = 0x08;
const SEQUENCE_HEADER: u8 = 1;

/// The first packet of a coded video sequence: it says so, or its first unit is a sequence header.
pub(super) fn begins_key_frame(payload: &[u8]) -> bool {
    let Some((&header, elements)) = payload.split_first() else { return false };
    if header & CONTINUES_UNIT != 0 {
        return false;
    }
    if header & NEW_SEQUENCE != 0 {
        return !elements.is_empty();
    }
    // A single element has no length before it.
    let unit = if header & ELEMENTS == 0x10 { Some(elements) } else { behind_length(elements) };
    unit.and_then(<[u8]>::first).is_some_and(|unit| unit >> 3 & 0x0f == SEQUENCE_HEADER)
}

/// What stands behind a number in LEB128 form, of at most eight bytes.
fn behind_length(bytes: &[u8]) -> Option<&[u8]> {
    let last = bytes.iter().take(8).position(|byte| byte & 0x80 == 0)?;
    bytes.get(last + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn av1_sequence_header_begins_key_frame() {
        assert!(begins_key_frame(&[0x18, 0x0a, 1]), "marked as new");
        assert!(begins_key_frame(&[0x10, 0x0a, 1]), "one element, a sequence header");
        assert!(begins_key_frame(&[0x20, 0x02, 0x0a, 1, 0x30]), "the first of two");
    }

    #[test]
    fn other_av1_packets_do_not_begin_key_frame() {
        assert!(!begins_key_frame(&[0x10, 0x32, 1]), "a frame");
        assert!(!begins_key_frame(&[0x98, 0x0a, 1]), "the rest of a unit");
        assert!(!begins_key_frame(&[0x00, 0x80, 0x80]), "a length without end");
        assert!(!begins_key_frame(&[0x18]), "nothing");
    }
}
