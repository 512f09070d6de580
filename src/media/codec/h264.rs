//! H.264 in RTP (RFC 6184 §5): finds sequence parameter sets and IDR slices.

/// NAL unit types (RFC 6184 §5.2).
const IDR_SLICE: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// The S bit of the FU header: the first fragment.
const FU_START: u8 = 0x80;

/// Whether a packet contains a sequence parameter set, which precedes the first picture of a sequence, or the
/// start of an IDR slice.
pub(super) fn starts_key_frame(payload: &[u8]) -> bool {
    let Some((&header, rest)) = payload.split_first() else { return false };
    match header & 0x1f {
        STAP_A => contains_sps_or_idr(rest),
        FU_A => rest
            .first()
            .is_some_and(|&fragment| fragment & FU_START != 0 && is_sps_or_idr(fragment)),
        _ => is_sps_or_idr(header),
    }
}

fn is_sps_or_idr(header: u8) -> bool {
    matches!(header & 0x1f, IDR_SLICE | SPS)
}

/// Checks the NAL units of an aggregation packet, each preceded by two bytes of length (§5.7.1).
fn contains_sps_or_idr(mut units: &[u8]) -> bool {
    while let [high, low, rest @ ..] = units {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || rest.len() < length {
            return false;
        }
        let (unit, tail) = rest.split_at(length);
        if unit.first().copied().is_some_and(is_sps_or_idr) {
            return true;
        }
        units = tail;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h264_sps_or_idr_begins_key_frame_in_any_packetization() {
        assert!(starts_key_frame(&[0x67, 1, 2, 3]), "a parameter set");
        assert!(starts_key_frame(&[0x65, 1, 2, 3]), "an IDR slice");
        assert!(starts_key_frame(&[0x78, 0, 2, 0x68, 1, 0, 2, 0x65, 1]), "aggregated");
        assert!(starts_key_frame(&[0x7c, 0x85, 1]), "the first fragment");
    }

    #[test]
    fn other_h264_units_do_not_begin_key_frame() {
        assert!(!starts_key_frame(&[0x61, 1]), "a predicted slice");
        assert!(
            !starts_key_frame(&[0x78, 0, 2, 0x68, 1, 0, 2, 0x61, 1]),
            "a predicted slice, aggregated"
        );
        assert!(!starts_key_frame(&[0x7c, 0x05, 1]), "a later fragment");
        assert!(!starts_key_frame(&[0x78, 0, 9, 0x65]), "the length exceeds the payload");
        assert!(!starts_key_frame(&[0x78, 0, 0, 0x65]), "a length of zero");
    }
}
